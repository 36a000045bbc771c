"""Where a message goes, and what the platform says when it has accepted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_linq._internal.arguments import is_nothing
from airflow_provider_linq._internal.idempotency import recipient_fingerprint
from airflow_provider_linq._internal.in_doubt import may_be_same_handle
from airflow_provider_linq._internal.xcom import send_result
from airflow_provider_linq.results import SendResult
from linq_client import InvalidRequestError, LinqClient, Message, MessageLike, check_line, check_recipients, models

if TYPE_CHECKING:
    from airflow_provider_linq.hooks.linq import LinqHook


@dataclass(frozen=True)
class Accepted:
    """
    A message that the platform has accepted, now or earlier.

    :param handles: who is in its chat, own lines left out; empty if the response does not say.
    """

    chat_id: str
    message: models.SentMessage
    idempotency_key: str
    trace_id: str | None = None
    handles: tuple[str, ...] = ()
    is_group: bool = False

    @classmethod
    def of_chat(cls, chat: models.CreatedChat, line: str) -> Accepted:
        """Return what the platform says of a message from a line to handles."""
        return cls(
            chat.id, chat.message, chat.idempotency_key, chat.trace_id, _others(chat.handles, line), chat.is_group
        )

    def result(self) -> SendResult:
        """Return what goes to XCom."""
        return send_result(self.chat_id, self.message, trace_id=self.trace_id, idempotency_key=self.idempotency_key)


@dataclass(frozen=True)
class Destination:
    """
    A chat; or handles, from a line or from whichever the platform chooses. Checked when it is made.

    :param chat_id: a chat; excludes the others.
    :param to: handles.
    :param line: own line to write to them from; None if the platform chooses.
    """

    chat_id: str | None = None
    to: tuple[str, ...] = ()
    line: str | None = None

    @classmethod
    def of(
        cls, chat_id: str | None, to: str | Sequence[str] | None, from_: str | None, default_line: str | None
    ) -> Destination:
        """
        Read the arguments that name a destination.

        :param default_line: the line to take where `from_` is None; None if there is none either.
        :raises InvalidRequestError: they name none, or two, or one that can't be.
        """
        if chat_id is not None:
            if to is not None or from_ is not None:
                raise InvalidRequestError("chat_id: excludes to and from, got it with one of them")
            if not isinstance(chat_id, str) or is_nothing(chat_id):
                raise InvalidRequestError(f"chat_id: must be an id, got {chat_id!r}")
            return cls(chat_id)
        if to is None:
            raise InvalidRequestError("chat_id: must be given, or to, got neither")
        line = default_line if from_ is None else check_line(from_)
        return cls(to=tuple(check_recipients(to)), line=line)

    @property
    def recipient(self) -> str:
        """The fingerprint of whom the message is for."""
        return recipient_fingerprint(self.chat_id, self.to)

    def check(self, message: Message) -> None:
        """
        Refuse a message that can't go there.

        :raises InvalidRequestError: it may be the first of a chat, and has what the API refuses there.
        """
        if self.line is not None:
            message.check_first_in_chat()

    def send(self, client: LinqClient, message: MessageLike) -> Accepted:
        """
        Send a message.

        :raises LinqError: see ``linq_client.errors``.
        """
        if self.chat_id is not None:
            sent = client.messages.send(self.chat_id, message)
            return Accepted(sent.chat_id, sent.message, sent.idempotency_key, sent.trace_id)
        if self.line is None:
            routed = client.messages.send_from_any_line(self.to, message)
            others = _others(routed.handles, routed.from_line)
            return Accepted(
                routed.chat_id, routed.message, routed.idempotency_key, routed.trace_id, others, routed.is_group
            )
        return Accepted.of_chat(client.chats.create(self.line, self.to, message), self.line)

    def is_of(self, accepted: Accepted) -> bool:
        """
        Whether an accepted message is for this destination, as far as the response tells.

        An idempotency key that was used for somebody else brings back their message. The platform may show a number in
        another form than it was sent to, and a group may have got a member since.
        """
        if self.chat_id is not None:
            return accepted.chat_id == self.chat_id
        if not accepted.handles:
            return True
        if accepted.is_group and len(self.to) == 1:
            return False
        return all(any(may_be_same_handle(one, other) for other in accepted.handles) for one in self.to)


def destination_of(
    hook: LinqHook,
    *,
    chat_id: str | None = None,
    to: str | Sequence[str] | None = None,
    from_: str | None = None,
    needs_line: bool = False,
) -> Destination:
    """
    Read the arguments that name a destination, for which the connection may have a line.

    :param needs_line: whether the platform may not choose the line.
    :raises InvalidRequestError: an argument is missing or wrong.
    """
    line = hook.settings.default_line
    if needs_line and from_ is None and line is None:
        raise InvalidRequestError(
            f"from: must be given, or be the default_line of connection {hook.linq_conn_id!r}, got neither"
        )
    return Destination.of(chat_id, to, from_, line)


def _others(handles: list[models.ChatHandle], line: str | None) -> tuple[str, ...]:
    return tuple(handle.handle for handle in handles if not handle.is_me and handle.handle != line)
