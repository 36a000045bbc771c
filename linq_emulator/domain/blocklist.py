"""The account's blocklist, in which e-mail addresses are in lower case.

Rules: linq-python 0.65.0 ``resources/blocked_handles.py`` and ``types/blocked_handle_entry.py``.
"""

from __future__ import annotations

from linq_emulator.backend import Backend
from linq_emulator.domain.models import Block

__all__ = ["block", "is_blocked", "unblock"]


def _key(handle: str) -> str:
    return handle.lower() if "@" in handle else handle


def is_blocked(backend: Backend, handle: str) -> bool:
    """Whether what comes from a handle is dropped."""
    return _key(handle) in backend.store.blocks


def block(backend: Backend, handle: str, reason: str | None = None) -> Block:
    """The entry of a handle, which is added if there is none."""
    key = _key(handle)
    return backend.store.blocks.setdefault(key, Block(key, backend.now(), reason))


def unblock(backend: Backend, handle: str) -> None:
    """Remove the entry of a handle, if there is one."""
    backend.store.blocks.pop(_key(handle), None)
