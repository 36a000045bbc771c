"""The line and the chat of a send without a ``from``.

Rules: linq-python 0.65.0 ``resources/messages/messages.py`` (create) and ``resources/available_number.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from linq_emulator.backend import Backend
from linq_emulator.domain.models import Chat, Line
from linq_emulator.errors import ApiError

__all__ = ["Route", "choose_line", "choose_route", "find_chats"]

_REPUTATION_RANK = {"HEALTHY": 0, "AT_RISK": 1, "CRITICAL": 2}


@dataclass(frozen=True, slots=True)
class Route:
    """A chat to reuse or a line for a new chat, and the documented reason."""

    line: Line
    chat: Chat | None
    reason: str
    previous: Chat | None = None


def find_chats(backend: Backend, recipients: Collection[str]) -> list[Chat]:
    """The chats with exactly these recipients, on any line, the most recently active first."""
    found = [backend.store.find_chat(line, recipients) for line in backend.store.lines.values()]
    chats = [chat for chat in found if chat is not None]
    return sorted(chats, key=lambda chat: (chat.last_activity, chat.seq), reverse=True)


def choose_line(backend: Backend, excluded: Collection[str], line_type: str | None = None) -> Line | None:
    """The least recently used of the eligible lines with the best reputation; None if no line is eligible.

    Raises:
        ApiError: 1005 if every eligible line is excluded.
    """
    eligible = [
        line
        for line in backend.store.lines.values()
        if not line.ineligible and (line_type is None or line.line_type == line_type)
    ]
    candidates = [line for line in eligible if line.phone_number not in excluded]
    if eligible and not candidates:
        raise ApiError(1005, "exclude_from leaves no line to send from")
    return min(candidates, key=lambda line: (_REPUTATION_RANK[line.reputation], line.last_use), default=None)


def choose_route(backend: Backend, recipients: Collection[str], excluded: Collection[str]) -> Route:
    """Reuse a chat, take a new line, or fail over to another line.

    Raises:
        ApiError: 1005 if exclude_from leaves no line, 2015 if no line is eligible.
    """
    chats = find_chats(backend, recipients)
    usable = [chat for chat in chats if not chat.line.ineligible]
    if usable:
        # An exclusion prefers another chat. It does not give up the only one.
        chat = next((chat for chat in usable if chat.line.phone_number not in excluded), usable[0])
        return Route(chat.line, chat, "reused_active_chat")
    line = choose_line(backend, excluded)
    if line is None:
        raise ApiError(2015, "none of your phone numbers is eligible to send")
    if chats:
        return Route(line, None, "failover_flagged", chats[0])
    return Route(line, None, "new_best_number")
