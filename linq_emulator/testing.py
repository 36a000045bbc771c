"""The emulator in tests: start it, control it, and pytest fixtures.

``EmulatorProcess`` and ``EmulatorThread`` start an emulator on a free port of loopback. Both are an `Emulator`, which
has the commands of the control API::

    with EmulatorProcess(freeze="2026-03-01T12:00:00Z") as emulator:
        send_reminders(emulator.base_url, emulator.api_key)
        emulator.advance(60)
        assert [message["text"] for message in emulator.ledger()] == ["See you at ten"]

For the fixtures ``linq_emulator``, ``linq_emulator_process`` and ``linq_emulator_options``, name this module in
``conftest.py`` at the top of the tests: ``pytest_plugins = ["linq_emulator.testing"]``. It is no plugin that pytest
loads by itself: that would load it in every environment with linq-connectors, also without the ``emulator`` extra,
whose absence would then break tests that never asked for an emulator.

PYTEST_DONT_REWRITE: this module has no asserts, and ``conftest.py`` may import from it first.
"""

from __future__ import annotations

from linq_emulator._control_client import ControlError, Emulator
from linq_emulator._test_servers import EmulatorOptions, EmulatorProcess, EmulatorThread

__all__ = ["ControlError", "Emulator", "EmulatorOptions", "EmulatorProcess", "EmulatorThread"]

# pytest follows this from plugin to plugin. Programs that are no tests need no pytest.
pytest_plugins = ["linq_emulator._fixtures"]
