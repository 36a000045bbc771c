"""Writes the tables of the documentation that are made from the code: `python -m docs_tools`, or `make docs`."""

from __future__ import annotations

from docs_tools.tables import pages

for path, text in pages().items():
    path.write_text(text, encoding="utf-8")
