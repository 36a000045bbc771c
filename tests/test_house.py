"""The rules of the house: which package may import which, and what each part of the distribution pulls in."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"linq_client", "linq_emulator", "airflow_provider_linq", "tap_linq"}
FRAMEWORKS = {"airflow", "singer_sdk"}

MAY_IMPORT = {
    "linq_client": set(),
    "linq_emulator": set(),
    "airflow_provider_linq": {"linq_client", "airflow"},
    "tap_linq": {"linq_client", "singer_sdk"},
}


def imported(package: str) -> set[str]:
    """The top-level names that the modules of a package import, anywhere in them."""
    names: set[str] = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                names.add((node.module or "").split(".")[0])
    return names - {package}


@pytest.mark.parametrize("package", sorted(OURS))
def test_arrows_run_down_only(package: str) -> None:
    assert imported(package) & (OURS | FRAMEWORKS) <= MAY_IMPORT[package]


@pytest.mark.parametrize("package", sorted(OURS))
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_the_client_loads_no_framework() -> None:
    """Also not by way of a library: importing Airflow costs seconds."""
    code = "import sys, linq_client; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not FRAMEWORKS & set(loaded)


def test_extras_are_apart() -> None:
    """`[tap]` must not pull Airflow, nor `[airflow]` the Singer SDK, nor the base either."""
    by_extra: dict[str, set[str]] = {}
    for requirement in requires("linq-connectors") or []:
        name, _, marker = requirement.partition(";")
        extra = marker.split("==")[1].strip().strip("'\"") if "extra ==" in marker else "base"
        by_extra.setdefault(extra, set()).add(name.strip())
    assert any(name.startswith("apache-airflow") for name in by_extra["airflow"])
    assert any(name.startswith("singer-sdk") for name in by_extra["tap"])
    for extra in ("base", "tap", "emulator", "webhooks"):
        assert not any("airflow" in name for name in by_extra[extra]), extra
    for extra in ("base", "airflow", "emulator", "webhooks"):
        assert not any("singer" in name for name in by_extra[extra]), extra
