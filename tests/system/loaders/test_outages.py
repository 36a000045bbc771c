"""An API that is down, or asks to wait: nothing is lost, and the run ends as if nothing had been."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.hostile_api import HostileAPI, Request, Response, on, refusal, small_account
from tests.system.loaders.scenarios import MESSAGES, OUTAGES, Played, check_complete, extract


@pytest.mark.parametrize("early", [f"outage {name}" for name in OUTAGES])
def test_an_outage_that_ends_costs_nothing(early: str, played: Played) -> None:
    scenario, extraction = played(early)
    assert scenario.api.by_rules, "there was no outage"
    check_complete(extraction, scenario.api.chats)
    assert len(scenario.api.requests) < 500, "all of them asked all the time"


def test_retry_after_is_kept(tmp_path: Path) -> None:
    """By everybody, and not only by who got the answer."""
    account = small_account(60, 1)
    asked: list[float] = []

    def refuse(request: Request) -> Response | None:
        asked.append(time.monotonic())
        if len(asked) == 20:
            return Response(refusal(429, 1007).body, 429, {"Retry-After": "3"})
        return None

    check_complete(extract(HostileAPI(chats=account, rules=[on(MESSAGES, refuse)]), tmp_path, concurrency=1), account)
    assert asked[20] - asked[19] >= 2.9
