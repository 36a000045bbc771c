"""Which messages a run has emitted as the API showed them, so that their events need not be asked about again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from threading import Lock
from typing import Any, Final

from tap_linq.extraction.plan import dicts_in

__all__ = ["Sightings"]

#: Messages that are remembered; up to twice as many are. Each takes about 300 bytes. Of one that is forgotten, the API
#: is asked once more.
MAX_REMEMBERED: Final = 65_536

_STATE: Final = ("updated_at", "delivery_status", "sent_at", "delivered_at", "read_at", "reconciled_at")


class Sightings:
    """What was emitted last, by message: when the API showed it, and in which state. Safe for several threads."""

    def __init__(self) -> None:
        self._recent: dict[bytes, tuple[datetime, bytes]] = {}
        self._before: dict[bytes, tuple[datetime, bytes]] = {}
        self._lock = Lock()

    def note(self, message: Mapping[str, Any], shown_at: datetime) -> None:
        """Note a message that is emitted."""
        sighting = (shown_at, _state_of(message))
        with self._lock:
            self._recent[_key(str(message["id"]))] = sighting
            if len(self._recent) >= MAX_REMEMBERED:
                self._before, self._recent = self._recent, {}

    def shown_at(self, message_id: str) -> datetime | None:
        """Return when the API has shown a message, as it was emitted; None if that is not known."""
        found = self._find(message_id)
        return found and found[0]

    def is_emitted(self, message: Mapping[str, Any]) -> bool:
        """Whether a message was emitted just as it is."""
        found = self._find(str(message["id"]))
        return found is not None and found[1] == _state_of(message)

    def _find(self, message_id: str) -> tuple[datetime, bytes] | None:
        key = _key(message_id)
        with self._lock:
            return self._recent.get(key) or self._before.get(key)


def _key(message_id: str) -> bytes:
    return blake2b(message_id.encode(errors="replace"), digest_size=16).digest()


def _state_of(message: Mapping[str, Any]) -> bytes:
    texts = [(part.get("value"), len(dicts_in(part.get("reactions")))) for part in dicts_in(message.get("parts"))]
    state = [*(message.get(name) for name in _STATE), texts]
    return blake2b(repr(state).encode(errors="replace"), digest_size=16).digest()
