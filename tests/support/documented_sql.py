"""The SQL of docs/explanation/extraction.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sql(dialect: str) -> str:
    """The statements of the only block for this dialect."""
    page = (ROOT / "docs" / "explanation" / "extraction.md").read_text()
    (found,) = re.findall(rf"```sql {dialect}\n(.*?)```", page, re.DOTALL)
    return str(found)
