"""Each fault that the API can have, alone and mixed: a run completes with everything, or the next one does."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import linq_client
from linq_client import LinqClient, RetrySettings
from tests.support.emulator_process import Emulator
from tests.support.running import run_tap, seed, succeed

FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "502 after": {"kind": "status", "status": 502, "when": "after"},
    "503": {"kind": "status", "status": 503, "code": 4004, "retry_after": 0},
    "429": {"kind": "status", "status": 429, "code": 1007, "retry_after": 0},
    "403": {"kind": "status", "status": 403, "code": 2005},
    "404 of a proxy": {"kind": "status", "status": 404, "envelope": False},
    "reset": {"kind": "reset"},
    "truncate": {"kind": "truncate", "when": "after"},
    "malformed": {"kind": "malformed", "when": "after"},
    "malformed before": {"kind": "malformed"},
    "latency": {"kind": "latency", "seconds": 0.05},
}
ALONE = [(name, [fault]) for name, fault in FAULTS.items()]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RetrySettings(first_wait=0.01, longest_wait=0.01)
    monkeypatch.setattr(linq_client, "LinqClient", partial(LinqClient, retry=settings))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("faults", [*(faults for _, faults in ALONE), list(FAULTS.values())], ids=[*FAULTS, "mixed"])
def test_a_run_completes_or_the_next_one_does(emulator: Emulator, faults: list[dict[str, Any]], share: float) -> None:
    seed(emulator, 40, 3)
    seed(emulator, 2, 130)
    for fault in faults:
        emulator.control("POST", "faults", {**fault, "probability": share / len(faults)})
    output = run_tap(emulator)
    everything = {row["id"] for row in emulator.ledger()}
    assert len(output.ids()) == len(set(output.ids()))
    if output.error is None:
        assert set(output.ids()) == everything
        assert set(output.bookmarks()) == set(emulator.lines)
        return
    emulator.control("DELETE", "faults")
    again = succeed(emulator, state=output.state)
    assert {*output.ids(), *again.ids()} == everything
