"""Where inbound messages are waited for, and which of them match."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib import import_module
from typing import Any

from airflow_provider_linq._internal.text_search import TextSearch
from airflow_provider_linq._internal.xcom import inbound_message
from linq_client import InvalidRequestError, check_handle, check_line, check_sender, comparable_handle, handle_forms
from linq_client.models import Message


@dataclass(frozen=True)
class MessageFilter:
    """
    Where messages are waited for, and which. Checked when it is made.

    :param chat_id: in this chat.
    :param from_handle: from this sender, in any chat if none is given: a handle, a short code or a sender id.
    :param line: to this own line.
    :param text_matches: regular expression that is searched in the text, see `TextSearch`.
    :param predicate: dotted path of a function that takes an ``InboundMessage`` and says whether it matches.
    :param anywhere: whether none of the three places may be given: on every line then.
    :raises InvalidRequestError: an argument is wrong.
    """

    chat_id: str | None = None
    from_handle: str | None = None
    line: str | None = None
    text_matches: str | None = None
    predicate: str | None = None
    anywhere: bool = False

    def __post_init__(self) -> None:
        if self.chat_id is None and self.from_handle is None and self.line is None and not self.anywhere:
            raise InvalidRequestError("chat_id: must be given, or from_handle or line, got none of them")
        if self.chat_id is not None and (not isinstance(self.chat_id, str) or not self.chat_id.strip()):
            raise InvalidRequestError(f"chat_id: must be an id, got {self.chat_id!r}")
        if self.chat_id is not None and self.line is not None:
            raise InvalidRequestError("chat_id: excludes line, got both")
        if self.from_handle is not None:
            check_sender(self.from_handle, "from_handle")
        if self.line is not None:
            check_line(self.line, "line")
        _ = self._search, self._function

    def __str__(self) -> str:
        """Say where and which, for a log."""
        words = [
            "any chat" if self.chat_id is None else f"chat {self.chat_id}",
            "" if self.from_handle is None else f"from {self.from_handle}",
            "" if self.line is None else f"to line {self.line}",
            "" if self.text_matches is None else f"with text that matches {self.text_matches!r}",
            "" if self.predicate is None else f"that {self.predicate} accepts",
        ]
        return " ".join(filter(None, words))

    def is_in_place(self, chat_id: str, line: str | None) -> bool:
        """Whether a message of this chat and line came where it should, for those that were not read there."""
        return self.chat_id in (None, chat_id) and self.line in (None, line)

    def matches(self, message: Message) -> bool:
        """
        Whether a message came in from whom and with what text it should. Some items nobody wrote.

        :raises InvalidRequestError: the predicate raised.
        """
        if message.is_from_me or not message.is_written:
            return False
        if self.from_handle is not None and not _is_from(message, self.from_handle):
            return False
        if self._search is None and self._function is None:
            return True
        made = inbound_message(message)
        if self._search is not None and (made["text"] is None or not self._search.finds(made["text"], message.id)):
            return False
        if self._function is None:
            return True
        try:
            return bool(self._function(made))
        except Exception as error:
            # Its own words may quote the message, and end in a log.
            raise InvalidRequestError(f"predicate: {self.predicate} raised {type(error).__name__}") from None

    def earliest(self, messages: Iterable[Message], since: datetime) -> Message | None:
        """Return the first matching message at or after a moment, whatever the order of the list."""
        found = (message for message in messages if message.created_at >= since and self.matches(message))
        return min(found, key=lambda message: (message.created_at, message.id), default=None)

    @cached_property
    def listed_by(self) -> tuple[str, ...]:
        """
        The sender, in each form that the API may know, if it lists the chats with them; else empty.

        It takes handles, and a short code is none.
        """
        if self.from_handle is None:
            return ()
        try:
            given = check_handle(self.from_handle)
        except InvalidRequestError:
            return ()
        forms = handle_forms(given)
        return forms if len(forms) > 1 else (given,)

    @cached_property
    def _search(self) -> TextSearch | None:
        return None if self.text_matches is None else TextSearch(self.text_matches)

    @cached_property
    def _function(self) -> Callable[[Any], object] | None:
        if self.predicate is None:
            return None
        try:
            module, _, name = self.predicate.rpartition(".")
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            found = None
        if not callable(found):
            raise InvalidRequestError(f"predicate: must be the path of a function, got {self.predicate!r}")
        return found  # type: ignore[no-any-return]


def _is_from(message: Message, handle: str) -> bool:
    sender = message.from_handle
    return sender is not None and comparable_handle(sender.handle) == comparable_handle(handle)
