"""One message to one recipient: looked up where it may have been sent before, else sent, and what the answer means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Literal

from airflow_provider_linq._internal.fail_fast import REFUSALS, refusal
from airflow_provider_linq._internal.uploads import check_message, names_files, upload, with_uploads
from airflow_provider_linq.campaigns.lines import Lines
from airflow_provider_linq.campaigns.lookup import Finding, Found, look_up
from airflow_provider_linq.campaigns.model import Outcome, Recipient
from airflow_provider_linq.campaigns.recipients import Render
from linq_client import (
    AuthenticationError,
    Effect,
    InvalidRequestError,
    LineNotPermittedError,
    LinqClient,
    LinqError,
    Message,
    MessageLike,
    RetentionWindow,
)
from linq_client.times import format_datetime

#: For how long the platform is trusted to know a key. How long it does is not documented; a look into the chat costs
#: two requests, and only for who is in doubt, so it need not be trusted for long.
KEY_TRUST: Final = timedelta(minutes=30)


@dataclass(slots=True)
class Errand:
    """A recipient who is not settled.

    :param line: own line to send from; None if the platform chooses.
    :param is_new: whether the message will begin a chat, as far as known.
    :param in_doubt_since: when a request may have been made of whose outcome nothing is known, by the API's clock;
        None if it is certain that there was none.
    :param line_is_known: whether that request went from `line`.
    :param begun: since when it is on record that there may be a request, by the API's clock.
    :param asked: when a request was made whose answer has not been looked at, by the API's clock.
    :param tries: how often there was no usable answer in this stretch.
    :param waits: how often the API said to wait.
    """

    recipient: Recipient
    line: str | None = None
    is_new: bool = False
    in_doubt_since: datetime | None = None
    line_is_known: bool = True
    begun: datetime | None = None
    asked: datetime | None = None
    tries: int = 0
    waits: int = 0


class Courier:
    """Sends, in any number of threads.

    :param client: makes the sends; without retries of its own, since the campaign decides what comes next.
    :param reader: makes the reads and uploads.
    :param retention: how long the platform keeps a message; None if for ever.
    """

    def __init__(
        self,
        client: LinqClient,
        reader: LinqClient,
        lines: Lines,
        render: Render,
        retention: RetentionWindow | None,
    ) -> None:
        self._client = client
        self._reader = reader
        self._lines = lines
        self._render = render
        self._retention = retention
        self._attachments: dict[str, str] = {}
        self._upload_locks: defaultdict[str, Lock] = defaultdict(Lock)

    def deliver(self, errand: Errand, now: datetime, exclude: Sequence[str] = ()) -> Outcome | LinqError:
        """
        Send the message of a recipient, unless it was sent already.

        :param now: by the API's clock.
        :param exclude: lines that the platform shall not choose.
        :return: what became of the recipient; or, if that is not settled, the error: ``errand.in_doubt_since`` then
            says whether the message may have been sent.
        """
        try:
            rendered = self._render(errand.recipient.row)
            content = check_message(rendered)
        except InvalidRequestError as error:  # it was right before: something in the template has changed its mind
            if errand.in_doubt_since is None:
                return _outcome(errand, "failed", "refused", errand.line, detail=str(error))
            return _outcome(errand, "unknown", "unsettled", errand.line, detail=str(error))
        try:
            if errand.in_doubt_since is not None and self._must_look(errand, now):
                settled = self._settled_by_look(errand, content, now)
                if settled is not None:
                    return settled
            return self._send(errand, rendered, content, exclude)
        except LinqError as error:
            return self._after(error, errand, content, now)

    def upload_files_of(self, recipient: Recipient) -> None:
        """
        Upload the files of a message before anything is sent: mostly all recipients get the same.

        :raises InvalidRequestError: a file is not there, or not one that can be sent.
        """
        with_uploads(self._render(recipient.row), self._attachment_of)

    def _must_look(self, errand: Errand, now: datetime) -> bool:
        """Whether the key alone would not keep the message from being sent a second time."""
        assert errand.in_doubt_since is not None
        return errand.line is None or not errand.line_is_known or now - errand.in_doubt_since > KEY_TRUST

    def _send(self, errand: Errand, rendered: MessageLike, content: Message, exclude: Sequence[str]) -> Outcome:
        recipient = errand.recipient
        built = with_uploads(rendered, self._attachment_of) if names_files(content) else content
        # Only the key is new, and it is ours: to check all of the message once more would be for nothing.
        message = built.model_copy(update={"idempotency_key": recipient.key})
        if errand.line is None:
            routed = self._client.messages.send_from_any_line(recipient.to, message, exclude_from=exclude)
            chat_id, line, sent = routed.chat_id, routed.from_line, routed.message
            errand.is_new = routed.created_new_chat
        else:
            chat = self._client.chats.create(errand.line, recipient.to, message)
            chat_id, line, sent = chat.id, errand.line, chat.message
        return _sent(errand, Found(line, chat_id, sent.id, format_datetime(sent.created_at)))

    def _after(self, error: LinqError, errand: Errand, content: Message, now: datetime) -> Outcome | LinqError:
        if error.effect is Effect.DONE_BEFORE:
            # The platform knows the key: the message was sent, and was deleted or has expired since.
            return _outcome(errand, "sent", "gone", errand.line)
        if error.effect is Effect.UNKNOWN:
            if error.idempotency_key is not None:  # of a send, and not of a read or an upload
                errand.in_doubt_since = errand.in_doubt_since or errand.asked
            return error
        if error.retryable or (error.code is None and error.status is not None):
            return error  # a refusal without its code is garbled, or a proxy's: it settles nothing
        if errand.in_doubt_since is not None:
            try:
                settled = self._settled_by_look(errand, content, now)
            except LinqError as unread:
                if not isinstance(unread, LineNotPermittedError):
                    return unread
                detail = "The line has left the account, so its chat can't be read"
                return _outcome(errand, "unknown", "unsettled", errand.line, detail=detail)
            if settled is not None:
                return settled
        if isinstance(error, AuthenticationError | LineNotPermittedError) or not error.permanent:
            return error  # it is not about the recipient, or passes
        if isinstance(error, REFUSALS):
            return _outcome(errand, "skipped", refusal(error), errand.line, code=error.code)
        return _outcome(errand, "failed", "refused", errand.line, code=error.code, detail=str(error))

    def _settled_by_look(self, errand: Errand, content: Message, now: datetime) -> Outcome | None:
        """Look into the chat. What was certainly not sent is in doubt no more, and can be sent."""
        assert errand.in_doubt_since is not None
        found = look_up(
            self._reader,
            errand.recipient.to,
            content,
            line=errand.line if errand.line_is_known else None,
            own=self._lines.own,
            since=errand.in_doubt_since,
            now=now,
            retention=self._retention,
        )
        if isinstance(found, Found):
            return _sent(errand, found)
        if found is Finding.UNCLEAR:
            return _outcome(errand, "unknown", "unsettled", errand.line, detail="The chat does not tell if it was sent")
        errand.in_doubt_since, errand.line_is_known = None, True
        return None

    def _attachment_of(self, path: str) -> str:
        """Upload a file once, however many messages it is in."""
        with self._upload_locks[path]:
            if path not in self._attachments:
                self._attachments[path] = upload(path, self._reader)
            return self._attachments[path]


def _sent(errand: Errand, found: Found) -> Outcome:
    recipient = errand.recipient
    return Outcome(
        recipient.number,
        recipient.to,
        "sent",
        idempotency_key=recipient.key,
        line=found.line,
        chat_id=found.chat_id,
        message_id=found.message_id,
        created_at=found.created_at,
    )


def _outcome(
    errand: Errand,
    status: Literal["sent", "skipped", "failed", "unknown"],
    reason: str,
    line: str | None,
    *,
    code: int | None = None,
    detail: str | None = None,
) -> Outcome:
    recipient = errand.recipient
    return Outcome(recipient.number, recipient.to, status, reason, detail, code, recipient.key, line)
