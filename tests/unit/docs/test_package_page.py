"""The README as the project's page on a package index, which knows no other files of the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatch_build import ReadmeHook

ROOT = Path(__file__).parents[3]
REPOSITORY = "https://forge.example/linq-connectors"


def test_every_link_leads_out_of_the_page() -> None:
    metadata: dict[str, Any] = {"urls": {"Repository": REPOSITORY}}
    ReadmeHook(str(ROOT), {}).update(metadata)
    links = re.findall(r"\]\(([^)\s]+)\)", metadata["readme"]["text"])
    assert not [link for link in links if not link.startswith("https://")]
    files = [link.removeprefix(f"{REPOSITORY}/blob/main/") for link in links if link.startswith(REPOSITORY)]
    assert "docs/tutorial/index.md" in files
    assert all((ROOT / file).exists() for file in files)
