"""Every link of a document leads somewhere, heading included."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[3]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(document: Path) -> str:
    """The text of a document without its code."""
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(`+)[^`].*?\1", "", text)


@cache
def anchors(document: Path) -> set[str]:
    """The ids that the headings of a document get, on the site and on a forge."""
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = [re.sub(r"[`*]", "", heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    shown = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    return {slugify(heading, "-") for heading in headings} | set(shown)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in LINK.findall(prose(document)):
        if re.match(r"https?://", link):
            assert re.fullmatch(r"https://[\w.-]+\.\w+(/\S*)?", link), link
            continue
        path, _, heading = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_a_forge_shows_what_the_site_shows(document: Path) -> None:
    """Markdown that only the site understands is in no document, but for signatures, which say so."""
    assert not re.search(r"^ *(!!!|\?\?\?|--8<--|===) ", document.read_text(), re.MULTILINE)
    if re.search("^::: ", document.read_text(), re.MULTILINE):
        assert "The site" in document.read_text()
