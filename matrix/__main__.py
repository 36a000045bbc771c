"""Runs the tests in one environment after the other, and writes what came of it into results.json and its table.

What has passed is not run again until a file changes that it depends on: a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import datetime, timezone
from typing import Any, Final

from matrix.environments import ENVIRONMENTS, FOLDER, ROOT, Environment

RESULTS: Final = ROOT / "matrix" / "results.json"
FORMAT: Final = 1

#: All unit tests, and of the provider those with an emulator that start no run of a DAG.
TESTS: Final = (
    "tests/unit",
    *(
        f"tests/integration/provider/test_{name}.py"
        for name in ("campaigns", "events", "hook", "once", "operators_and_sensor", "provider_info", "waiting")
    ),
)

#: Seconds that one of them may take, also on a busy machine.
LIMIT: Final = 600

#: Those with a real Airflow: scheduler, triggerer, API server and workers. They wait for nothing for ever.
LIVE_TESTS: Final = ("tests/system/airflow/test_airflow.py",)

#: What a result depends on.
_SOURCES: Final = (
    "airflow_provider_linq",
    "benchmarks/airflow_process.py",
    "dags_examples",
    "linq_client",
    "linq_emulator",
    "linq_webhooks",
    "tap_linq",
    "tests",
    "pyproject.toml",
    "constraints.txt",
)


def digest() -> str:
    """What tells one state of the sources from another."""
    found = hashlib.sha256()
    for name in _SOURCES:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return found.hexdigest()[:16]


def run(environment: Environment, live: bool) -> dict[str, Any]:
    """Install an environment, unless it is there, and run the tests in it."""
    folder = FOLDER / environment.name
    if not (folder / "installed").exists():
        try:
            environment.install()
        except subprocess.CalledProcessError:
            return {"outcome": "not installed"}
        (folder / "installed").touch()
    log_name = "live" if live else "pytest"
    report = folder / f"{log_name}.xml"
    report.unlink(missing_ok=True)
    command = [environment.interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    if live:
        command += LIVE_TESTS
    else:
        command += ["--numprocesses", "2", "--dist", "loadfile"]
        # A test that hangs ends its process, with the stacks of all threads in the log, and has failed; the rest run.
        command += ["-o", f"faulthandler_timeout={LIMIT}", "-o", "faulthandler_exit_on_timeout=true", *TESTS]
    path = f"{environment.interpreter.parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / f"{log_name}.log").open("wb") as log:
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, stdout=log, stderr=log).returncode
    if not report.exists():
        return {"outcome": f"pytest ended with {code}"}
    suite = next(ET.parse(report).iter("testsuite"))
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return {
        "outcome": "passed" if code == 0 else "failed",
        "passed": count["tests"] - failed - count["skipped"],
        "failed": failed,
        "skipped": count["skipped"],
    }


def versions(environment: Environment) -> dict[str, str]:
    """The versions of what matters most in an environment."""
    names = ("apache-airflow", "singer-sdk", "pydantic", "requests", "pyarrow")
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    found = subprocess.run([environment.interpreter, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(found.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(prog="matrix", description=__doc__)
    parser.add_argument(
        "--live", action="store_true", help="run the tests that start a real Airflow, and not the others"
    )
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="choose environments: those whose name has one of them"
    )
    options = parser.parse_args()
    stored = {"results": {}, "live": {}, **json.loads(RESULTS.read_text())}
    results = stored["live" if options.live else "results"]
    state, bad = digest(), 0
    for environment in ENVIRONMENTS:
        name = environment.name
        if options.words and not any(word in name for word in options.words):
            continue
        if results.get(name, {}).get("outcome") == "passed" and results[name].get("sources") == state:
            print(f"{name}: passed before")
            continue
        print(f"{name}: running", flush=True)
        result = run(environment, options.live)
        if result["outcome"] != "not installed":
            result["versions"] = versions(environment)
        day = datetime.now(timezone.utc).date().isoformat()
        results[name] = {**result, "day": day, "sources": state}
        RESULTS.write_text(json.dumps({**stored, "format": FORMAT}, indent=1, sort_keys=True) + "\n")
        # A test of the next environment compares the table with the results.
        subprocess.run([sys.executable, "-m", "docs_tools"], cwd=ROOT, check=True)
        print(f"{name}: {result}", flush=True)
        bad += result["outcome"] != "passed"
    print("The logs are in .matrix, the table is in docs/reference/versions.md.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
