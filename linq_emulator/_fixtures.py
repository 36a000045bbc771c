"""The pytest fixtures of `linq_emulator.testing`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from linq_emulator._test_servers import EmulatorOptions, EmulatorProcess

__all__ = ["linq_emulator", "linq_emulator_options", "linq_emulator_process"]


@pytest.fixture(scope="session")
def linq_emulator_options() -> EmulatorOptions:
    """Options with which the emulator is started. Override this fixture to change them."""
    return {}


@pytest.fixture(scope="session")
def linq_emulator_process(linq_emulator_options: EmulatorOptions) -> Iterator[EmulatorProcess]:
    """The one emulator of the session, with the state that earlier tests left."""
    with EmulatorProcess(**linq_emulator_options) as emulator:
        yield emulator


@pytest.fixture
def linq_emulator(linq_emulator_process: EmulatorProcess) -> EmulatorProcess:
    """The emulator of the session, as if it had just been started."""
    linq_emulator_process.restart()
    return linq_emulator_process
