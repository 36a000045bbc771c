"""One emulator for all tests of the tap."""

from __future__ import annotations

from tests.support.tap import after_each_page, emulator, emulator_process

__all__ = ["after_each_page", "emulator", "emulator_process"]
