"""The example DAGs, from what stands at their heads."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

EXAMPLES: Final = Path(__file__).parents[1] / "dags_examples"


def sections() -> str:
    """Return a section for each example: what it does and needs, and a link, behind which the site puts the file."""
    found = []
    for path in sorted(EXAMPLES.glob("*.py")):
        head = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        title, _, text = head.removeprefix("### ").partition("\n")
        found.append(f"## {title}\n\n{text.strip()}\n\n[{path.name}](../../{EXAMPLES.name}/{path.name})\n")
    return "\n".join(found)
