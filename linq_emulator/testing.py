"""The emulator in tests: start it and control it.

pytest needs no more than the fixture ``linq_emulator``, which an installed linq-connectors brings along::

    def test_a_reminder(linq_emulator):
        send_reminders(linq_emulator.base_url, linq_emulator.api_key)
        linq_emulator.advance(hours=25)
        assert [message["text"] for message in linq_emulator.ledger()] == ["See you at ten"]

``EmulatorProcess`` and ``EmulatorThread`` start an emulator elsewhere, on a free port of loopback. Both are an
`Emulator`, which has the commands of the control API::

    with EmulatorProcess(freeze="2026-03-01T12:00:00Z") as emulator:
        ...
"""

from __future__ import annotations

from linq_emulator._control_client import ControlError, Emulator
from linq_emulator._test_servers import EmulatorOptions, EmulatorProcess, EmulatorThread

__all__ = ["ControlError", "Emulator", "EmulatorOptions", "EmulatorProcess", "EmulatorThread"]
