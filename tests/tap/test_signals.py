"""A run that is told to end says so in its exit code, and leaves whole lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.emulator_process import Emulator
from tests.tap.running import FIRST_LINE, TAP, config_for, run_tap, seed


@pytest.mark.parametrize(("sign", "unbuffered"), [(signal.SIGTERM, "1"), (signal.SIGINT, "")])
def test_a_signal_while_the_pipe_is_full(
    emulator: Emulator, tmp_path: Path, sign: signal.Signals, unbuffered: str
) -> None:
    seed(emulator, 40, 60, lines=[FIRST_LINE])
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_for(emulator)))
    with subprocess.Popen(
        [TAP, "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        time.sleep(2)  # nobody reads: the tap waits in a write
        process.send_signal(sign)
        time.sleep(0.5)
        rest = process.stdout.read()
        assert process.wait(timeout=30) == 128 + sign
    lines = (b"{" + rest).splitlines(keepends=True)
    assert lines[-1].endswith(b"\n")
    messages = [json.loads(line) for line in lines]
    assert 20 < len(lines) == len(set(lines)) < 2400, "some, none twice, and not all"
    assert [one for one in messages if one["type"] == "STATE" and "swept_at" in json.dumps(one)] == []


def test_state_that_belongs_to_no_line_is_passed_over(emulator: Emulator) -> None:
    output = run_tap(emulator, state={"bookmarks": {"messages": {"partitions": [{}]}}})
    assert output.error is None
    assert set(output.bookmarks()) == set(emulator.lines)
