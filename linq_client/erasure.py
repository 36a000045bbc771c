"""What Linq still holds of one person, and deleting it: messages and files through the API, with a report.

The API deletes messages and files for good, each by its id. It deletes neither chats nor who is in them, and no
reaction of somebody else; the report says how much of that there is. What is deleted stays on people's phones.

Nothing is remembered from one call to the next: what is left is what the API still shows. So a call that ends with an
error is made again, and continues.

Source: API reference, "Messages", "Attachments" and "Chats".
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from linq_client import models
from linq_client._checks import check_sender
from linq_client._handles import comparable_handle, handle_forms, shown_handle
from linq_client.client import LinqClient
from linq_client.errors import AuthenticationError, ErrorCode, InvalidRequestError, LinqError, NotFoundError
from linq_client.sync import StableListReader, read_stable

__all__ = ["ErasureReport", "NotDeleted", "erase_person"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NotDeleted:
    """Something that the API refused to delete.

    Attributes:
        kind: "message" or "attachment".
        reason: the API's error, by name.
    """

    kind: str
    id: str
    reason: str


@dataclass
class ErasureReport:
    """What Linq held of a person, and what became of it. It has no text, no file name and no handle.

    Attributes:
        person: the handle as far as a report may show it.
        is_dry_run: whether nothing was deleted.
        direct_chats: ids of the chats with this person alone. They stay, without messages.
        group_chats: ids of the groups that they are or were in. They stay, and so do the messages of others.
        chats_passed_over: ids of the chats that were listed or given, and in which the API shows no such person.
            Nothing was read or deleted there.
        messages: number of messages found that are to go: all of the direct chats, and theirs in groups.
        messages_deleted: how many of them were deleted.
        attachments: number of files found that are to go: those that they have sent.
        attachments_deleted: how many of them were deleted. What the API no longer knew is in neither of the two.
        empty_messages: messages that are listed without content: deleted before, or changes of a group.
        files_of_yours: ids of files that you sent in direct chats. They stay, as other messages may carry them.
        reactions_left: number of their reactions to messages of others in groups, which nobody else can take back.
        mentions_left: number of mentions of them in such messages.
        not_deleted: what the API refused to delete.
    """

    person: str
    is_dry_run: bool
    direct_chats: list[str] = field(default_factory=list)
    group_chats: list[str] = field(default_factory=list)
    chats_passed_over: list[str] = field(default_factory=list)
    messages: int = 0
    messages_deleted: int = 0
    attachments: int = 0
    attachments_deleted: int = 0
    empty_messages: int = 0
    files_of_yours: list[str] = field(default_factory=list)
    reactions_left: int = 0
    mentions_left: int = 0
    not_deleted: list[NotDeleted] = field(default_factory=list)


def erase_person(
    client: LinqClient, handle: str, *, chat_ids: Iterable[str] = (), dry_run: bool = False
) -> ErasureReport:
    """Delete the messages and files of a person that Linq still holds, or list them.

    Of a chat with this person alone, every message goes, and every file that they have sent. In a group, their own
    messages and files go. Each chat is read to its end before anything in it is deleted.

    Args:
        handle: a phone number in E.164 form, an e-mail address, or what else a message can come from.
        chat_ids: further chats to look into, such as groups that the person has left, which the API may not list.
        dry_run: only count.

    Raises:
        InvalidRequestError: it is no handle, or one of your own lines.
        LinqError: the API could not be asked, or gave no verdict on something that was to be deleted. What was deleted
            is deleted; call again to continue.
    """
    check_sender(handle, "handle")
    person = comparable_handle(handle)
    own = {comparable_handle(line.phone_number) for line in client.phone_numbers.list() if line.phone_number}
    if person in own:
        raise InvalidRequestError("handle: must be that of a person, got a line of this account")
    report = ErasureReport(shown_handle(person), dry_run)
    # Whether the API compares addresses in one case is not documented.
    spellings = dict.fromkeys((handle, *handle_forms(handle)))
    chats = {chat.id: chat for one in spellings for chat in read_stable(client.chats.list(to=one))}
    for chat_id in chat_ids:
        if chat_id not in chats:
            chats[chat_id] = client.chats.get(chat_id)
    for chat in chats.values():
        others = {comparable_handle(one.handle) for one in chat.handles if not one.is_me} - own
        # A list that came unfiltered, through a proxy say, or an id with a typo must not cost others their messages.
        if person not in others:
            log.warning("Chat %s is passed over: %s is not in it", chat.id, report.person)
            report.chats_passed_over.append(chat.id)
            continue
        _Chat(client, chat, person, report, is_direct=not chat.is_group and others == {person}).erase()
    return report


class _Chat:
    """A chat that the person is in."""

    def __init__(
        self, client: LinqClient, chat: models.Chat, person: str, report: ErasureReport, *, is_direct: bool
    ) -> None:
        self._client = client
        self._id = chat.id
        self._person = person
        self._report = report
        self._is_direct = is_direct
        self._messages: dict[str, list[str]] = {}

    def erase(self) -> None:
        """Find what is to go, and delete it: files first, since only their messages name them."""
        (self._report.direct_chats if self._is_direct else self._report.group_chats).append(self._id)
        for message in StableListReader.of(self._client.messages.list(self._id)):
            self._note(message)
        self._report.messages += len(self._messages)
        self._report.attachments += sum(map(len, self._messages.values()))
        if self._report.is_dry_run:
            return
        for message_id, files in self._messages.items():
            for file in files:
                self._report.attachments_deleted += self._is_deleted("attachment", file)
            self._report.messages_deleted += self._is_deleted("message", message_id)

    def _note(self, message: Mapping[str, Any]) -> None:
        parts = [part for part in message.get("parts") or () if isinstance(part, dict)]
        if not parts:
            self._report.empty_messages += 1
            return
        sender = self._handle_of(message.get("from_handle")) or self._handle_of(message.get("from"))
        is_theirs = sender == self._person or (self._is_direct and message.get("is_from_me") is False)
        files = [str(part["id"]) for part in parts if part.get("type") == "media" and part.get("id")]
        if self._is_direct and not is_theirs:
            self._report.files_of_yours += files
            files = []
        if self._is_direct or is_theirs:
            self._messages[message["id"]] = files
            return
        for part in parts:
            self._report.reactions_left += self._count(part.get("reactions"))
            self._report.mentions_left += self._count(part.get("mentions") or [{"handle": part.get("mention")}])

    def _count(self, found: object) -> int:
        """Return how many of some reactions or mentions are the person's."""
        items = found if isinstance(found, list) else ()
        return sum(self._handle_of(one.get("handle")) == self._person for one in items if isinstance(one, dict))

    @staticmethod
    def _handle_of(value: object) -> str | None:
        text = value.get("handle") if isinstance(value, dict) else value
        return comparable_handle(text) if isinstance(text, str) else None

    def _is_deleted(self, kind: str, id_: str) -> bool:
        delete = self._client.messages.delete if kind == "message" else self._client.attachments.delete
        try:
            delete(id_)
        except NotFoundError as error:
            if not error.verdict:  # a proxy's page says nothing of the message
                raise
            return False
        except AuthenticationError:
            raise
        except LinqError as error:
            if not error.permanent:
                raise
            self._report.not_deleted.append(NotDeleted(kind, id_, _reason(error)))
            return False
        return True


def _reason(error: LinqError) -> str:
    """Name an error without its words, which may quote."""
    if error.code is None:
        return type(error).__name__
    known = ErrorCode.find(error.code)
    return known.name.lower() if known else f"code {error.code}"
