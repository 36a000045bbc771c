"""Hooks of mkdocs: the address of the repository, links to its files, example DAGs, the OpenAPI document."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs_tools import emulator
from docs_tools.examples import EXAMPLES
from hatch_build import file_url

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
#: Roles of reStructuredText, as Airflow's docstrings have them.
_ROLE: Final = re.compile(r":\w+:(?:<code>|`)~?(?:[\w.]+\.)?(\w+)(?:</code>|`)")
#: A line that is nothing but a link to an example.
_EXAMPLE: Final = re.compile(rf"^\[[\w.]+\]\(\S+/{EXAMPLES.name}/([\w.]+)\)$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the address of the repository from pyproject.toml, the one place that has it."""
    config.repo_url = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    config.repo_name = "Repository"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the OpenAPI document beside the page that names it."""
    files.append(File.generated(config, "reference/openapi.json", content=emulator.openapi()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Point links that leave the documentation (an example, the code) into the repository, and show examples.

    In the repository a reader follows the link to an example, so the pages do not repeat it.

    Raises:
        PluginError: no such file is there.
    """

    def outside(link: re.Match[str]) -> str:
        target = (DOCS / page.file.src_uri).parent.joinpath(link[1]).resolve()
        if target.is_relative_to(DOCS):
            return link[0]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri} links to {link[1]}, which does not exist")
        return f"]({file_url(config.repo_url or '', target.relative_to(ROOT).as_posix())}{link[2] or ''})"

    if page.file.src_uri == "reference/emulator.md":
        markdown = markdown.replace("`openapi.json`", "[`openapi.json`](openapi.json)")
    return _EXAMPLE.sub(_with_text, _LINK.sub(outside, markdown))


def _with_text(example: re.Match[str]) -> str:
    return f"{example[0]}\n\n```python\n{(EXAMPLES / example[1]).read_text(encoding='utf-8')}```"


def on_page_content(html: str, **_: Any) -> str:
    """Show the name alone of what a docstring refers to by a role."""
    return _ROLE.sub(r"<code>\1</code>", html)
