"""Writes what is made from the code, in the documentation and in `dbt_linq`: `python -m docs_tools`, or `make docs`."""

from __future__ import annotations

from docs_tools import dbt
from docs_tools.tables import pages

for path, text in {**pages(), **dbt.files()}.items():
    path.write_text(text, encoding="utf-8")
