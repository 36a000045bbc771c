"""Programs of this environment, and what the demo says meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
#: Of all that a demo leaves behind, until the next one.
HOME: Final = ROOT / ".demo"
_STARTED: Final = time.monotonic()


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:5.1f} s] {text}", flush=True)


def attempt(command: Sequence[str], settings: Mapping[str, str], log: Path) -> int:
    """Run a program to its end, with its output in a file, and return its exit code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**_index(), **os.environ, "PATH": path, **settings}
    with log.open("w") as output:
        return subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT).returncode


def run(command: Sequence[str], settings: Mapping[str, str], log: Path) -> None:
    """Run a program to its end, with its output in a file that is shown if it fails.

    Raises:
        SystemExit: it failed.
    """
    status = attempt(command, settings, log)
    if status:
        say(f"{' '.join(command)} ended with {status}:")
        print(*log.read_text().splitlines()[-40:], sep="\n", file=sys.stderr)
        raise SystemExit(1)


@cache
def _index() -> dict[str, str]:
    """The index that pip is configured for, as uv takes it: Meltano installs with uv, which asks another one."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = os.environ.get("PIP_INDEX_URL") or subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return {"UV_DEFAULT_INDEX": found} if found else {}
