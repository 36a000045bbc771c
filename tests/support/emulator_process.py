"""The emulator under the name that these tests use."""

from __future__ import annotations

from linq_emulator.testing import EmulatorProcess as Emulator

__all__ = ["Emulator"]
