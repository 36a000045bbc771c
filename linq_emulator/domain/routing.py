"""Which line and which chat a send without a ``from`` gets.

Rules: linq-python 0.65.0 ``resources/messages/messages.py`` (create) and ``resources/available_number.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from linq_emulator.backend import World
from linq_emulator.domain.models import Chat, Line
from linq_emulator.errors import ApiError

_REPUTATION = {"HEALTHY": 0, "AT_RISK": 1, "CRITICAL": 2}


@dataclass(frozen=True, slots=True)
class Route:
    """The outcome: a chat to reuse or a line for a new one, and the documented reason."""

    line: Line
    chat: Chat | None
    reason: str
    previous: Chat | None = None


def matching_chats(world: World, recipients: Collection[str]) -> list[Chat]:
    """The chats with exactly these recipients, on any line, the most recently active first."""
    found = [world.store.find_chat(line, recipients) for line in world.store.lines.values()]
    chats = [chat for chat in found if chat is not None]
    return sorted(chats, key=lambda chat: (chat.last_activity, chat.seq), reverse=True)


def best_line(world: World, excluded: Collection[str], line_type: str | None = None) -> Line | None:
    """The eligible line of best reputation that was used least recently; None when none is eligible.

    Raises:
        ApiError: 1005 when every line that could be picked is excluded.
    """
    eligible = [
        line
        for line in world.store.lines.values()
        if not line.ineligible and (line_type is None or line.line_type == line_type)
    ]
    left = [line for line in eligible if line.phone_number not in excluded]
    if eligible and not left:
        raise ApiError(1005, "exclude_from leaves no line to send from")
    return min(left, key=lambda line: (_REPUTATION[line.reputation], line.used), default=None)


def route(world: World, recipients: Collection[str], excluded: Collection[str]) -> Route:
    """Reuse, new line or failover.

    Raises:
        ApiError: 1005 when exclude_from leaves no line, 2015 when no line is eligible.
    """
    chats = matching_chats(world, recipients)
    usable = [chat for chat in chats if not chat.line.ineligible]
    if usable:
        # An exclusion prefers another chat, and never abandons the only one.
        chat = next((one for one in usable if one.line.phone_number not in excluded), usable[0])
        return Route(chat.line, chat, "reused_active_chat")
    line = best_line(world, excluded)
    if line is None:
        raise ApiError(2015, "none of your phone numbers is eligible to send")
    if chats:
        return Route(line, None, "failover_flagged", chats[0])
    return Route(line, None, "new_best_number")
