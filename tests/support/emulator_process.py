"""The emulator under the names that these tests use; `linq_emulator.testing` has all of it."""

from __future__ import annotations

from linq_emulator.testing import EmulatorProcess as Emulator

__all__ = ["Emulator", "running_emulator"]


def running_emulator(*options: str) -> Emulator:
    """Start an emulator with command line options that take one value each. It is a context manager, which ends it."""
    names = (name.removeprefix("--").replace("-", "_") for name in options[::2])
    return Emulator(**dict(zip(names, options[1::2], strict=True)))  # type: ignore[arg-type]
