"""The rules of the house: which package may import which, and what each part of the distribution pulls in."""

from __future__ import annotations

import ast
import contextlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def pulled(distribution: str, extra: str = "", seen: set[str] | None = None) -> set[str]:
    """The names of all distributions that installing this one brings along, as far as they are installed here."""
    seen = set() if seen is None else seen
    for line in requires(distribution) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            name = canonicalize_name(requirement.name)
            if name not in seen:
                seen.add(name)
                for wanted in requirement.extras or {""}:
                    with contextlib.suppress(PackageNotFoundError):
                        pulled(name, wanted, seen)
    return seen


@pytest.mark.parametrize(
    ("extra", "holds", "not_airflow", "not_singer"),
    [
        ("", "requests", True, True),
        ("tap", "singer-sdk", True, False),
        ("airflow", "apache-airflow", False, True),
        ("emulator", "starlette", True, True),
        ("webhooks", "standardwebhooks", True, True),
    ],
)
def test_extras_are_apart(extra: str, holds: str, not_airflow: bool, not_singer: bool) -> None:
    names = pulled("linq-connectors", extra)
    assert holds in names
    assert not (not_airflow and any(name.startswith("apache-airflow") for name in names))
    assert not (not_singer and any(name.startswith("singer-") for name in names))
