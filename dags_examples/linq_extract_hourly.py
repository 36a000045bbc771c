"""
### Extraction every hour, one task a line

Runs `tap-linq` for each line of the account side by side, keeps what it emits as JSON Lines, and fails when messages
may have expired before they were read.

* Each line has its own state, so that one line that fails does not hold the others back, and goes on where it stopped.
* The state is replaced only when the tap has finished and its output is in place. A run that is killed leaves the older
  state: the next one emits the same rows again, so load them by key and take the newest of each.
* Stagger your own windows: an hour suits one of 24 hours; every 15 minutes suits one of 1 hour.

It needs the connection `linq_default`, and `linq-connectors[tap]` with the workers: in their environment, or in one of
its own, whose `tap-linq` is then named by `TAP_LINQ`. For more than one worker, let `folder` be on a shared disk.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_linq.hooks.linq import LinqHook

TAP_LINQ = os.environ.get("TAP_LINQ", str(Path(sys.executable).with_name("tap-linq")))


@dag(
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 3, 1, tz="America/New_York"),
    catchup=False,
    max_active_runs=1,  # two runs of one line would race for its state
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"folder": Param("/tmp/linq", type="string", description="Where output and state are kept.")},
)
def linq_extract_hourly() -> None:
    @task
    def list_lines() -> list[str]:
        return [line.phone_number for line in LinqHook().client.phone_numbers.list()]

    @task(map_index_template="{{ line }}")
    def extract(line: str, params: dict[str, str], run_id: str, ti: Any = None) -> str:
        folder = Path(params["folder"]) / line.lstrip("+")
        folder.mkdir(parents=True, exist_ok=True)
        state, config = folder / "state.json", folder / "config.json"
        # A file for each try: one that moved the state and was killed then has rows that no other try emits again.
        output = folder / f"{file_name(run_id)}.{ti.try_number}.jsonl"
        config.write_text(json.dumps({"phone_numbers": [line]}))
        command = [TAP_LINQ, "--config", "ENV", "--config", str(config)]
        if state.exists():
            command += ["--state", str(state)]
        newest = read_tap(command, output.with_suffix(".partial"))
        output.with_suffix(".partial").replace(output)
        if newest is not None:
            state.with_suffix(".new").write_text(newest)
            state.with_suffix(".new").replace(state)
        return str(folder)

    @task
    def check_gaps(folders: list[str], run_id: str) -> None:
        gaps = [
            record
            for folder in folders
            for output in Path(folder).glob(f"{file_name(run_id)}.*.jsonl")
            for line in output.read_text().splitlines()
            if (record := json.loads(line))["stream"] == "extraction_gaps"
        ]
        for gap in gaps:
            print("Messages may be missing:", {name: gap["record"][name] for name in ("line", "gap_start", "gap_end")})
        if gaps:
            raise AirflowFailException(f"{len(gaps)} gaps: messages may have expired before they were read")

    check_gaps(extract.expand(line=list_lines()))


def file_name(run_id: str) -> str:
    """A run id as part of a file name, without what a file system or a pattern could take amiss."""
    return re.sub(r"[^\w-]", "-", run_id)


def read_tap(command: list[str], output: Path) -> str | None:
    """Run the tap, write its records to a file, and return its last state, if there is one."""
    settings = LinqHook().settings
    window = settings.retention_window
    environment = {
        **os.environ,
        "TAP_LINQ_API_KEY": settings.api_key,  # in the environment, where no list of processes shows it
        "TAP_LINQ_BASE_URL": settings.base_url,
        "TAP_LINQ_RETENTION_WINDOW_HOURS": "null" if window is None else str(window.hours),
    }
    newest = None
    with output.open("w") as file, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as tap:
        assert tap.stdout is not None
        for line in tap.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["type"] == "RECORD":
                file.write(line)
            elif message["type"] == "STATE":
                newest = json.dumps(message["value"])
    if tap.returncode:
        raise RuntimeError(f"tap-linq has failed with status {tap.returncode}")
    return newest


linq_extract_hourly()
