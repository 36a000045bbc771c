"""The pytest plugin: fixtures with a running emulator, described in docs/reference/emulator.md.

pytest loads it in every environment with linq-connectors (entry point ``pytest11``), so importing it loads nothing of
the emulator, whose extra may be missing. Only a test that asks for an emulator needs the extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from linq_emulator.testing import EmulatorOptions, EmulatorProcess

__all__ = ["linq_emulator", "linq_emulator_options", "linq_emulator_process"]


@pytest.fixture(scope="session")
def linq_emulator_options() -> EmulatorOptions:
    """Options with which the emulator is started. Override this fixture to change them."""
    return {}


@pytest.fixture(scope="session")
def linq_emulator_process(linq_emulator_options: EmulatorOptions) -> Iterator[EmulatorProcess]:
    """The one emulator of the session, with the state that earlier tests left."""
    try:
        from linq_emulator.testing import EmulatorProcess
    except ModuleNotFoundError as error:
        pytest.fail(f"the emulator needs {error.name}: install linq-connectors[emulator]", pytrace=False)
    with EmulatorProcess(**linq_emulator_options) as emulator:
        yield emulator


@pytest.fixture
def linq_emulator(linq_emulator_process: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """The emulator of the session, as if it had just been started. A test in which its process dies has an error."""
    linq_emulator_process.restart()
    yield linq_emulator_process
    linq_emulator_process.check_running()
