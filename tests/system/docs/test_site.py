"""`make docs`: the site is built, and the build fails for a broken link or reference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_site(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stderr[-3000:]
    api = (tmp_path / "site" / "reference" / "client-endpoints.html").read_text()
    assert 'id="linq_client.resources.Chats.create"' in api
    examples = (tmp_path / "site" / "how-to" / "examples.html").read_text()
    assert examples.count("LinqCreateChatOperator") > 1, "the examples themselves"
    assert json.loads((tmp_path / "site" / "reference" / "openapi.json").read_text())["openapi"] == "3.1.0"
    assert 'href="openapi.json"' in (tmp_path / "site" / "reference" / "emulator.html").read_text()
    assert "https://" not in "".join(line for line in api.splitlines() if "<script" in line or "stylesheet" in line), (
        "nothing is fetched from other hosts"
    )
