"""Tables of the documentation that are made from the code.

A page has a table between two comments, ``<!-- made by `make docs`: NAME -->`` and ``<!-- end -->``. The text around it
is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs_tools import emulator, errors, examples, settings, streams, versions, webhooks

DOCS: Final = Path(__file__).parents[1] / "docs"

TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "codes": errors.codes,
    "emulator-operations": emulator.operations,
    "emulator-switches": emulator.switches,
    "error-classes": errors.classes,
    "examples": examples.sections,
    "settings": settings.table,
    "streams": streams.table,
    "streams-in-short": streams.overview,
    "versions": versions.tested,
    "webhook-commands": webhooks.commands,
}

_BLOCK: Final = re.compile(r"(<!-- made by `make docs`: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Return each page that has tables, as it should be.

    Raises:
        KeyError: a page has a table of a name that is not known.
    """
    found = {}
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if _BLOCK.search(text):
            found[path] = _BLOCK.sub(lambda block: f"{block[1]}\n{TABLES[block[2]]().strip()}\n\n{block[3]}", text)
    return found
