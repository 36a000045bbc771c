"""Pages of the documentation, as a reader follows them: their files are saved, their commands run in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[2] / "docs"
TUTORIAL: Final = (DOCS / "tutorial" / "index.md").read_text()
TEST_DAGS: Final = (DOCS / "how-to" / "test-dags.md").read_text()
_BLOCK: Final = re.compile(r'^```(sh|python title="(.+?)")\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def save_files(page: str, folder: Path) -> None:
    """Save the files that the page names, below the folder."""
    for _, name, text in _BLOCK.findall(page):
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def commands_of(page: str) -> str:
    """The commands of the page, in their order."""
    return "\n".join(text for kind, _, text in _BLOCK.findall(page) if kind == "sh")


def run_commands(commands: str, folder: Path) -> str:
    """Run them in one shell, which ends with the first that fails, and return what they print."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-eux", "-o", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    logs = "".join(log.read_text()[-3000:] for log in folder.glob("*.log"))
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-3000:]}\n{logs}"
    return done.stdout
