"""The examples of docs/reference/emulator.md run as they stand, at another address.

`test_testing` has those for tests.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

DOCS = (Path(__file__).parents[3] / "docs" / "reference" / "emulator.md").read_text()


def examples(language, server):
    origin = server.base_url.removesuffix("/api/partner")
    return [
        block.replace("http://127.0.0.1:8181", origin)
        for block in re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    ]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
def test_the_shell(server):
    script = "".join(examples("shell", server)).replace("curl -s", "curl -sf")
    assert script.count("curl -sf") > 25
    done = subprocess.run(
        ["bash", "-eux", "-o", "pipefail", "-c", script], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr


def test_the_vendor_sdk(server):
    names = {}
    exec(examples("python", server)[0], names)
    names["client"].close()  # or its connection is left to the garbage collector, within another test
    assert [message["text"] for message in server.ledger()] == ["Hello"]
