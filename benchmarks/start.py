"""What it takes to start: the tap beside its SDK, the operators beside what Airflow's DAG processor imports itself."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.account import account
from benchmarks.measure import PLAIN_TAP, ROOT, TAP, RunError, run
from benchmarks.table import Found, at_most, beside

#: Programs take turns, so that what else the machine does meets all of them.
ROUNDS = 10

_DAG_PROCESSOR = "import airflow.dag_processing.processor"
_OPERATORS = "import airflow_provider_linq.operators.campaigns, airflow_provider_linq.operators.messages"


def start(quick: bool) -> Found:
    """CPU of a start, the median of processes that take turns; nothing is compiled, since each was run before."""
    rounds = 2 if quick else ROUNDS
    with account(0, 0) as emulator:
        seconds = _medians(
            {
                "singer_sdk": lambda: _cpu([sys.executable, "-c", "import singer_sdk"]),
                "--version": lambda: _cpu([*TAP, "--version"]),
                "--about": lambda: _cpu([*TAP, "--about"]),
                "--discover": lambda: _cpu([*TAP, "--discover"]),
                "plain tap --discover": lambda: _cpu([*PLAIN_TAP, "--discover"]),
                "nothing to do": lambda: run(TAP, emulator).cpu,
                "plain tap, nothing to do": lambda: run(PLAIN_TAP, emulator).cpu,
                "DAG processor": lambda: _cpu([sys.executable, "-c", _DAG_PROCESSOR]),
                "with operators": lambda: _cpu([sys.executable, "-c", f"{_DAG_PROCESSOR}; {_OPERATORS}"]),
            },
            rounds,
        )
    found = Found()
    sdk = seconds["singer_sdk"]
    found.rows = [
        at_most("CPU: tap-linq --version / import singer_sdk", 1.15, seconds["--version"] / sdk),
        beside("CPU: tap-linq --about / import singer_sdk", seconds["--about"] / sdk),
        beside("CPU: --discover, tap / plain tap", seconds["--discover"] / seconds["plain tap --discover"]),
        beside(
            "CPU: a run on an account without chats, tap / plain tap",
            seconds["nothing to do"] / seconds["plain tap, nothing to do"],
        ),
        at_most(
            "CPU: imports of the DAG processor, with the operators / without",
            1.1,
            seconds["with operators"] / seconds["DAG processor"],
        ),
    ]
    found.figures = [f"{name}: {value:.2f} s of CPU" for name, value in seconds.items()]
    return found


def _medians(programs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Run programs in turn, the first time to compile what they import, and return the medians of what they took."""
    for program in programs.values():
        program()
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            taken[name].append(program())
    return {name: statistics.median(values) for name, values in taken.items()}


def _cpu(command: Sequence[str]) -> float:
    """Run a program to its end, and return its seconds of CPU, user and system.

    Raises:
        RunError: it failed.
    """
    # Compiled modules are what users have.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise RunError(f"{command[:3]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
