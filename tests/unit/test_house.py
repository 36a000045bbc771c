"""The rules of the house: which package may import which, and what each part of the distribution pulls in."""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from linq_client import ErrorCode

ROOT = Path(__file__).parents[2]
OURS = {"linq_client", "linq_emulator", "linq_webhooks", "airflow_provider_linq", "tap_linq"}
FRAMEWORKS = {"airflow", "singer_sdk"}

MAY_IMPORT = {
    "linq_client": set(),
    "linq_emulator": set(),
    "linq_webhooks": {"linq_client"},
    "airflow_provider_linq": {"linq_client", "linq_webhooks", "airflow"},
    "tap_linq": {"linq_client", "linq_webhooks", "singer_sdk"},
}


class References(NamedTuple):
    """What a file imports, anywhere in it, and which attributes of which names it reads.

    Attributes:
        modules: of ``import module``, the module and the name that it has there.
        members: of ``from module import member``, the module, the member and the name that it has there.
    """

    modules: list[tuple[str, str]]
    members: list[tuple[str, str, str]]
    attributes: set[tuple[str, str]]


@cache
def references(file: Path) -> References:
    """Those of a file. They are kept, and not its tree: so many trees keep the garbage collector busy for seconds."""
    found = References([], [], set())
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.modules.extend((alias.name, alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            found.members.extend((module, alias.name, alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.attributes.add((node.value.id, node.attr))
    return found


def imported(package: str) -> set[str]:
    """The top-level names that the modules of a package import, anywhere in them."""
    files = [references(file) for file in (ROOT / package).rglob("*.py")]
    paths = {module for file in files for module, *_ in (*file.modules, *file.members)}
    return {path.split(".")[0] for path in paths} - {package}


@pytest.mark.parametrize("package", sorted(OURS))
def test_arrows_run_down_only(package: str) -> None:
    assert imported(package) & (OURS | FRAMEWORKS) <= MAY_IMPORT[package]


@pytest.mark.parametrize("folder", ["demo", "benchmarks"])
def test_what_users_may_run_needs_no_tests(folder: str) -> None:
    assert "tests" not in imported(folder)


DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]
CHANGELOG = ROOT / "CHANGELOG.md"  # which speaks of what there was


@cache
def python_files() -> list[str]:
    folders = (folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    return [f"/{file.relative_to(ROOT)}" for folder in folders for file in folder.rglob("*.py")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_documents_name_what_exists(document: Path) -> None:
    """Modules, and targets of make."""
    text = document.read_text()
    modules = set() if document == CHANGELOG else set(re.findall(r"`((?:\w+/)*\w+\.py)`", text))
    assert {module for module in modules if not any(file.endswith(f"/{module}") for file in python_files())} == set()
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`(?:\w+=\S+ )?make (\w+)`", text)) <= set(targets)


@pytest.mark.parametrize("package", ["airflow_provider_linq/_internal", "tap_linq/extraction"])
def test_a_package_names_its_modules(package: str) -> None:
    words = re.findall(r"`(\w+)`", (ROOT / package / "__init__.py").read_text())
    assert {file.stem for file in (ROOT / package).glob("*.py")} - {"__init__"} <= set(words)


def test_python_is_tested_in_each_version_that_is_claimed() -> None:
    claimed = re.findall(r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    (tested,) = re.findall(r"python-version: \[(.+)\]", (ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert tested == ", ".join(f'"{version}"' for version in claimed)


def test_the_same_duckdb_writes_and_reads() -> None:
    """dbt has an environment of its own."""
    lines = [
        {line for line in (ROOT / name).read_text().splitlines() if line.startswith("duckdb==")}
        for name in ("constraints.txt", "constraints-dbt.txt")
    ]
    assert lines[0] == lines[1] != set()


def test_every_decision_is_listed() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    assert re.findall(r"\(../adr/(.+?)\) \|$", page, re.MULTILINE) == sorted(
        file.name for file in (ROOT / "docs" / "adr").iterdir()
    )


def names_of_airflow(file: Path) -> set[str]:
    """What a file imports of Airflow as `module.name`."""
    members = references(file).members
    return {f"{module}.{name}" for module, name, _ in members if module.split(".")[0] == "airflow"}


def test_what_differs_between_versions_of_airflow_comes_from_one_module() -> None:
    compat = ROOT / "airflow_provider_linq" / "_internal" / "version_compat.py"
    types = {"airflow.sdk.ObjectStoragePath", "airflow.triggers.base.BaseEventTrigger"}
    differing = names_of_airflow(compat) - types
    assert "airflow.sdk.conf" in differing
    for file in (ROOT / "airflow_provider_linq").rglob("*.py"):
        if file != compat:
            assert not names_of_airflow(file) & differing, file
            assert "ObjectStoragePath(" not in file.read_text(), f"{file}: on Airflow 3.1 it takes a.csv for /a.csv"


#: Tests of what is inside a package, which no public name shows well enough, and what they import of it.
TESTS_OF_INTERNALS = {
    # How many reads are allowed after which responses: through requests, it would be a matter of timing.
    "tests/integration/client/test_concurrency.py": {"linq_client._concurrency", "linq_client._deadline"},
    # A `Date` that is far off, and what the clock makes of the next one: no clock has to wait for it.
    "tests/integration/client/test_clock.py": {"linq_client._clock"},
    # Something happens just before a pass becomes a sweep: no run from outside can choose that time.
    "tests/integration/tap/test_passes.py": {"tap_linq.extraction.line_pass.LinePass._turn_into_sweep"},
    # A spool that was written with another key: the receiver of these tests is in this process, and takes a cipher.
    "tests/integration/webhooks/test_receiver.py": {"linq_webhooks._encryption"},
    # Where the drills against the contract shorten pauses.
    "tests/support/provider.py": {
        "airflow_provider_linq.campaigns._dispatcher",
        "airflow_provider_linq.campaigns._state",
    },
}

#: Unit tests may look inside their package. So may those of the provider that need an emulator, and what they share:
#: they are about decisions that Airflow's door shows only at the price of a task for each case.
UNIT_TESTS = {
    "tests/unit/client": "linq_client",
    "tests/unit/tap": "tap_linq",
    "tests/unit/emulator": "linq_emulator",
    "tests/unit/provider": "airflow_provider_linq",
    "tests/integration/provider": "airflow_provider_linq",
    "tests/support/airflow.py": "airflow_provider_linq",
    "tests/support/campaign_drills.py": "airflow_provider_linq",
    "tests/support/campaign_samples.py": "airflow_provider_linq",
    "tests/support/campaigns.py": "airflow_provider_linq",
    "tests/support/interrupts.py": "airflow_provider_linq",
    "tests/support/looks.py": "airflow_provider_linq",
    "tests/support/task_child.py": "airflow_provider_linq",
}


def private_imports(file: Path) -> set[str]:
    """What a file uses of the private parts of our packages, its own package excepted."""
    found = references(file)
    names = {name: module for module, name in found.modules}
    names |= {name: f"{module}.{member}" for module, member, name in found.members}
    used = {module for module, _ in found.modules} | {f"{module}.{member}" for module, member, _ in found.members}
    used |= {f"{names[name]}.{attribute}" for name, attribute in found.attributes if name in names}
    private = set()
    for path in used:
        package, *rest = path.split(".")
        underscored = [step for step in rest if re.match("_(?!_)", step)]
        if underscored and package in OURS - {file.relative_to(ROOT).parts[0]}:
            private.add(path.partition(f".{underscored[0]}")[0] + f".{underscored[0]}")
    return private


def test_nothing_outside_imports_what_is_private() -> None:
    found = {}
    for folder in (*OURS, "tests", "demo", "benchmarks", "dags_examples"):
        for file in (ROOT / folder).rglob("*.py"):
            name = str(file.relative_to(ROOT))
            own = UNIT_TESTS.get(name.rpartition("/")[0]) or UNIT_TESTS.get(name)
            private = {path for path in private_imports(file) if path.partition(".")[0] != own}
            if private:
                found[name] = private
    assert found == TESTS_OF_INTERNALS


def public_modules(package: str) -> list[str]:
    """The names of all modules of a package without an underscore, the package included."""
    paths = (file.relative_to(ROOT).with_suffix("").parts for file in (ROOT / package).rglob("*.py"))
    modules = {tuple(part for part in path if part != "__init__") for path in paths}
    return sorted(".".join(path) for path in modules if not any(part.startswith("_") for part in path))


@pytest.mark.parametrize("name", public_modules("linq_client"))
def test_a_public_module_says_what_is_in_it(name: str) -> None:
    module = importlib.import_module(name)
    made_here = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    }
    assert made_here <= set(module.__all__), "all that is public"
    assert all(hasattr(module, name) for name in module.__all__), "and nothing else"


def test_error_codes_are_named_in_one_place() -> None:
    """Everywhere else, their names are used, or better what an error says: its class, `verdict`, `effect`."""
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in (ROOT / "linq_client").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and node.value in set(ErrorCode) and file.name != "errors.py"
    ]
    assert found == []


@pytest.mark.parametrize("package", sorted(OURS))
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("package", sorted(OURS))
def test_packages_know_their_version(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__version__ == version("linq-connectors")
    assert not hasattr(module, "version")


def test_the_client_loads_no_framework() -> None:
    """Also not by way of a library: importing Airflow costs seconds."""
    assert not FRAMEWORKS & loaded_by("from linq_client import *")


def test_programs_start_without_what_few_runs_need() -> None:
    """These take a third of a start: models, databases, and the client of webhooks, which also brings a terminal."""
    loaded = loaded_by("import linq_emulator.cli, linq_webhooks.cli, tap_linq.tap")
    assert not {"pydantic", "pendulum", "sqlalchemy", "httpx", "rich"} & loaded


def loaded_by(code: str) -> set[str]:
    """The names of all libraries that a Python which runs this has loaded."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


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
        ("webhooks", "prometheus-client", True, True),
    ],
)
def test_extras_are_apart(extra: str, holds: str, not_airflow: bool, not_singer: bool) -> None:
    names = pulled("linq-connectors", extra)
    assert holds in names
    assert not (not_airflow and any(name.startswith("apache-airflow") for name in names))
    assert not (not_singer and any(name.startswith("singer-") for name in names))
