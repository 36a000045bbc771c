"""HTTP and `linq_emulator.testing` are the only ways into the emulator, and nothing of the project is a way out."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "linq_emulator"
# What may start an emulator. Packages that users install are not among them.
USERS = ("tests", "demo", "benchmarks")
# The files that may import other modules, for what HTTP cannot show.
INTERNAL_TESTS = (
    ROOT / "tests" / "unit" / "emulator" / "test_internals.py",
    ROOT / "tests" / "integration" / "emulator" / "test_cli.py",
    ROOT / "tests" / "integration" / "emulator" / "test_contract.py",
    ROOT / "tests" / "integration" / "emulator" / "test_refusals.py",
    ROOT / "tests" / "support" / "emulator_world.py",
)


def sources(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it; ``from a import b`` counts as ``a.b``."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def our_packages() -> set[str]:
    return {marker.parent.name for marker in ROOT.glob("*/__init__.py")}


def test_it_imports_no_other_package_of_the_project() -> None:
    others = (our_packages() | {"tests"}) - {PACKAGE.name}
    assert {"linq_client", "tap_linq", "airflow_provider_linq"} <= others
    found = {(file.name, name) for file in sources(PACKAGE.name) for name in imports(file)}
    assert not {(file, name) for file, name in found if name.split(".")[0] in others}


def test_no_package_for_users_imports_it() -> None:
    packages = our_packages() - {PACKAGE.name, *USERS, "docs_tools"}  # the last makes documents, and is not installed
    assert len(packages) >= 3
    found = {(file, name) for file in sources(*packages, "dags_examples") for name in imports(file)}
    assert not {(file, name) for file, name in found if name.split(".")[0] == PACKAGE.name}


def test_tests_demo_and_benchmarks_import_only_its_testing_module() -> None:
    found = {
        (file, name)
        for file in sources(*USERS)
        for name in imports(file)
        if name.split(".")[0] == PACKAGE.name and file not in INTERNAL_TESTS
    }
    assert found, "nobody uses it: this test looks in the wrong place"
    assert not {(file, name) for file, name in found if f"{name}.".split("linq_emulator.testing.")[0]}


def test_the_testing_module_exports_what_it_documents() -> None:
    import linq_emulator.testing as testing

    assert all(getattr(testing, name).__doc__ for name in testing.__all__)


@pytest.mark.parametrize("unneeded", ["pytest", "starlette", "uvicorn", "click"])
def test_starting_a_process_loads_neither_pytest_nor_the_server(unneeded: str) -> None:
    """Programs that are no tests start emulators, too, and the server belongs to the other process."""
    code = f"import sys, linq_emulator.testing; sys.exit({unneeded!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_domain_knows_no_http() -> None:
    http = ("starlette", "uvicorn", "linq_emulator.server", "linq_emulator.control")
    found = {(file.name, name) for file in sources("linq_emulator/domain") for name in imports(file)}
    assert found
    assert not {(file, name) for file, name in found if name.startswith(http)}


def test_the_store_knows_no_rules() -> None:
    allowed = ("linq_emulator.domain.models.", "linq_emulator.domain.ordered_index.")
    found = {name for name in imports(PACKAGE / "store.py") if name.startswith("linq_emulator.")}
    assert found
    assert not {name for name in found if not name.startswith(allowed)}
