"""The SQL of the how-to guides."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sql(dialect: str, page: str = "extract.md") -> str:
    """The statements of the only block for this dialect in a how-to guide."""
    text = (ROOT / "docs" / "how-to" / page).read_text()
    (found,) = re.findall(rf"```sql {dialect}\n(.*?)```", text, re.DOTALL)
    return str(found)
