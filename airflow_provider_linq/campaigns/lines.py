"""Which own line writes to whom."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from linq_client import InvalidRequestError, LinqClient, models

log = logging.getLogger(__name__)

#: A line whose reputation is at risk gets half of the new recipients that a healthy one gets.
AT_RISK_SHARE: Final = 0.5

Recipients = tuple[str, ...]


class Lines:
    """The lines that a campaign sends from, and the choice among them.

    The choice depends on nothing that another try, or another task with the same campaign key, would see otherwise:
    the line that already talks to the recipients (of several, the one that began first), else the one that a hash of
    line and key prefers. Only lines that can't be used at present are passed over.

    :param pool: own lines; none if the platform chooses.
    """

    def __init__(self, client: LinqClient, pool: Sequence[str]) -> None:
        self._client = client
        self.pool = tuple(pool)
        self._chats: dict[Recipients, list[str]] = {}
        self._left_out: dict[str, str] = {}
        self._weights: dict[str, float] = {}
        self.own: frozenset[str] = frozenset()
        self.refresh()
        unknown = [line for line in self.pool if line not in self.own]
        if unknown:
            raise InvalidRequestError(f"from_: must be lines of this account, got {', '.join(unknown)}")

    def refresh(self) -> None:
        """Ask for the lines' reputation; those that are CRITICAL are left out from now on."""
        lines = self._client.phone_numbers.list()
        self.own = frozenset(line.phone_number for line in lines)
        for line in lines:
            status = line.reputation.status if line.reputation else None
            self._weights[line.phone_number] = AT_RISK_SHARE if status == "AT_RISK" else 1.0
            if status == "CRITICAL":
                self.leave_out(line.phone_number, "its reputation is CRITICAL")

    def leave_out(self, line: str, why: str) -> None:
        """Use a line no more in this try."""
        if line not in self._left_out:
            self._left_out[line] = why
            if not self.pool or line in self.pool:
                log.warning("Line %s is left out from now on: %s", line, why)

    @property
    def left_out(self) -> dict[str, str]:
        """The lines that are not used, and why."""
        return self._left_out

    @property
    def usable(self) -> list[str]:
        """The lines that can be used, of the pool or, if the platform chooses, of the account."""
        return [line for line in self.pool or sorted(self.own) if line not in self._left_out]

    def find_chats(self, wanted: Collection[Recipients]) -> None:
        """Read which lines talk to these recipients already: two requests for each 100 chats of the lines.

        Twice, since a chat that somebody writes in meanwhile may move to a page that was read before. Another task of
        the same campaign, which sees it, would send from another line than this one.
        """
        found = {
            chat.id: (chat.created_at, line, others)
            for line in (self.pool or (None,)) * 2
            for chat in self._client.chats.list(from_=line)
            if (others := others_of(chat, self.own)) in wanted
        }
        for _, line, others in sorted(found.values(), key=lambda chat: (chat[0], chat[1] or "")):
            self._chats.setdefault(others, []).append(line or "")

    def talks_to(self, to: Recipients, line: str | None) -> bool:
        """Whether there is a chat with the recipients, as far as chats have been read."""
        return (line or "") in self._chats.get(to, ())

    def choose(self, to: Recipients, key: str) -> str | None:
        """Return the line to send from; None if the platform chooses, or if no line is left (see `usable`)."""
        if not self.pool:
            return None
        usable = self.usable
        talking = [line for line in self._chats.get(to, ()) if line in usable]
        return talking[0] if talking else max(usable, key=lambda line: self._rank(line, key), default=None)

    def _rank(self, line: str, key: str) -> float:
        """Weighted rendezvous hashing: each key prefers lines in an order of its own, heavier ones more often."""
        digest = hashlib.sha256(f"{line} {key}".encode()).digest()
        share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
        return -self._weights.get(line, 1.0) / math.log(share)


def others_of(chat: models.Chat, own: Iterable[str]) -> Recipients:
    """Return the handles of the other side, as a `Recipient` has them; an own line may be there, too."""
    mine = {handle.handle for handle in chat.handles if handle.is_me} or set(own)
    return tuple(sorted({handle.handle.lower() for handle in chat.handles if handle.handle not in mine}))


def line_of(chat: models.Chat, own: Collection[str]) -> str | None:
    """Return the own line of a chat."""
    mine = [handle.handle for handle in chat.handles if handle.is_me]
    return next(iter(mine or [handle.handle for handle in chat.handles if handle.handle in own]), None)
