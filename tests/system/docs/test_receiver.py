"""The guide to the receiver of webhooks, where it is tried without an account: its commands run in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.ports import free_port
from linq_emulator.testing import EmulatorProcess
from linq_webhooks.archive import open_archive

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "webhooks.md"


def test_the_receiver_against_the_emulator(tmp_path: Path) -> None:
    (commands,) = re.findall(r"^### Try it without an account\n.*?^```sh\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
    port = str(free_port())
    with EmulatorProcess() as emulator:
        here = emulator.base_url.removesuffix("/api/partner")
        commands = commands.replace("http://127.0.0.1:8181", here).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        commands = commands.replace("serve --archive", f"serve --port {port} --archive")
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-eu", "-c", f"{commands}\nkill $!\nwait"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    types = {event.event_type for event, _ in open_archive(str(tmp_path / "linq-webhooks")).read()}
    assert "message.received" in types
