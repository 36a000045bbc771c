"""Tables of the documentation are what the code declares: `make docs` writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs_tools.tables import DOCS, TABLES, pages
from tap_linq.tap import TapLinq

PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_is_up_to_date(page: Path) -> None:
    assert page.read_text() == PAGES[page], "run `make docs`"


def test_each_table_is_in_a_page() -> None:
    text = "".join(PAGES.values())
    assert set(re.findall(r"<!-- made by `make docs`: (\S+) -->", text)) == TABLES.keys()


def test_all_settings_are_in_the_table() -> None:
    """Those of the SDK, too."""
    TapLinq.append_builtin_config(TapLinq.config_jsonschema)
    listed = re.findall(r"^\| `([\w.]+)` \|", TABLES["settings"](), re.MULTILINE)
    assert TapLinq.config_jsonschema["properties"].keys() == {name.partition(".")[0] for name in listed}


#: Shown with the package that exports all of it, or a command, which is no API.
REEXPORTED = r"linq_webhooks\.cli|linq_client\.(client|errors|resources\.\w+)|airflow_provider_linq\.campaigns\.config"


@pytest.mark.parametrize("package", ["linq_client", "linq_webhooks", "airflow_provider_linq"])
def test_every_public_module_is_in_the_reference(package: str) -> None:
    """With its signatures and docstrings."""
    text = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    shown = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    for file in (DOCS.parent / package).rglob("*.py"):
        path = file.relative_to(DOCS.parent).with_suffix("").parts
        name = ".".join(part for part in path if part != "__init__")
        if "__all__" in file.read_text() and not re.search(r"\._", name):
            assert name in shown or re.fullmatch(REEXPORTED, name), name
