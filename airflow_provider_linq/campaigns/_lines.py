"""Which own line writes to whom."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Sequence
from typing import Final, TypedDict

from airflow_provider_linq._internal.in_doubt import Handles, others_of
from airflow_provider_linq._internal.version_compat import AirflowException
from airflow_provider_linq.campaigns._model import compared
from linq_client import InvalidRequestError, LinqClient, LinqError
from linq_client.sync import read_stable

log = logging.getLogger(__name__)

#: A line whose reputation is at risk gets half of the new recipients that a healthy one gets.
AT_RISK_SHARE: Final = 0.5


class LineHealth(TypedDict):
    """
    How a line is, for people.

    :param reputation: as the API names it (HEALTHY, AT_RISK, CRITICAL); None if it does not.
    :param share: of the new recipients that this line is to get, 0 to 1; None if the platform chooses.
    :param excluded: why it is not used; None if it is.
    """

    reputation: str | None
    share: float | None
    excluded: str | None


class NoLineError(AirflowException):
    """None of the lines can be used at present; another try asks again."""


class Lines:
    """The lines that a campaign sends from, and the choice among them.

    A recipient is written to from the line that already has a chat with them (of several, the oldest chat's), else
    from the one that a hash of line and key prefers. Only lines that can't be used at present are passed over.

    :param pool: own lines; none if the platform chooses.
    :param weighs_reputation: whether lines at risk get fewer recipients. Reputation changes, so two tasks that share a
        campaign key would choose differently by it.
    """

    def __init__(self, client: LinqClient, pool: Sequence[str], *, weighs_reputation: bool = True) -> None:
        self._client = client
        self._weighs_reputation = weighs_reputation
        self.pool = tuple(pool)
        self._chats: dict[Handles, list[str]] = {}
        self._excluded: dict[str, str] = {}
        self._weights: dict[str, float] = {}
        self._reputations: dict[str, str | None] = {}
        self.own: frozenset[str] = frozenset()
        self.refresh()
        unknown = [line for line in self.pool if line not in self.own]
        if unknown:
            raise InvalidRequestError(f"from_: must be lines of this account, got {', '.join(unknown)}")

    def refresh(self) -> None:
        """Read the lines' reputation; those that are CRITICAL are excluded from now on."""
        lines = self._client.phone_numbers.list()
        self.own = frozenset(line.phone_number for line in lines)
        for line in lines:
            status = line.reputation.status if line.reputation else None
            self._reputations[line.phone_number] = status
            is_light = self._weighs_reputation and status == "AT_RISK"
            self._weights[line.phone_number] = AT_RISK_SHARE if is_light else 1.0
            if status == "CRITICAL":
                self.exclude(line.phone_number, "its reputation is CRITICAL")

    def try_refresh(self) -> None:
        """Read the lines' reputation if the API answers; else what was known stays."""
        try:
            self.refresh()
        except LinqError as error:
            log.warning("The lines' reputation could not be read: %s", error)

    def exclude(self, line: str, why: str) -> None:
        """Don't use a line any more in this try."""
        if line not in self._excluded:
            self._excluded[line] = why
            if not self.pool or line in self.pool:
                log.warning("Line %s is excluded from now on: %s", line, why)

    @property
    def excluded(self) -> dict[str, str]:
        """The lines that are not used, and why."""
        return self._excluded

    @property
    def usable(self) -> list[str]:
        """The lines that can be used, of the pool or, if the platform chooses, of the account."""
        return [line for line in self.pool or sorted(self.own) if line not in self._excluded]

    @property
    def health(self) -> dict[str, LineHealth]:
        """How each line is that can be chosen."""
        excluded = dict(self._excluded)
        lines = self.pool or sorted(self.own)
        weights = {line: 0.0 if line in excluded else self._weights.get(line, 1.0) for line in lines}
        total = sum(weights.values())
        return {
            line: LineHealth(
                reputation=self._reputations.get(line),
                share=round(weight / total, 4) if self.pool and total else None,
                excluded=excluded.get(line),
            )
            for line, weight in weights.items()
        }

    def find_chats(self, wanted: Collection[Handles]) -> None:
        """Read which lines have chats with these recipients; it takes a request for each 100 chats of the lines."""
        people = set(map(compared, wanted))
        found = {
            chat.id: (chat.created_at, line, others)
            for line in self.pool or (None,)
            for chat in read_stable(self._client.chats.list(from_=line))
            if (others := compared(others_of(chat, self.own))) in people
        }
        for _, line, others in sorted(found.values(), key=lambda chat: (chat[0], chat[1] or "")):
            self._chats.setdefault(others, []).append(line or "")

    def has_chat_with(self, to: Handles, line: str | None) -> bool:
        """Whether there is a chat with the recipients, as far as chats have been read."""
        return (line or "") in self._chats.get(compared(to), ())

    def check_usable(self) -> None:
        """
        Refuse to continue without a line.

        :raises NoLineError: none is left.
        """
        if not self.usable:
            why = "; ".join(f"{line}: {reason}" for line, reason in self._excluded.items())
            raise NoLineError(f"No line is left to send from: {why}")

    def choose(self, to: Handles, key: str) -> str | None:
        """Return the line to send from; None if the platform chooses, or if no line is left (see `usable`)."""
        if not self.pool:
            return None
        usable = self.usable
        known = [line for line in self._chats.get(compared(to), ()) if line in usable]
        return known[0] if known else max(usable, key=lambda line: self._rank(line, key), default=None)

    def _rank(self, line: str, key: str) -> float:
        """Weighted rendezvous hashing: each key prefers lines in an order of its own, heavier ones more often."""
        digest = hashlib.sha256(f"{line} {key}".encode()).digest()
        share = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
        return -self._weights.get(line, 1.0) / math.log(share)
