"""The SQL of docs/extraction.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sql(dialect: str) -> str:
    """The statements of the only block for this dialect."""
    (found,) = re.findall(rf"```sql {dialect}\n(.*?)```", (ROOT / "docs" / "extraction.md").read_text(), re.DOTALL)
    return str(found)
