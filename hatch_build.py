"""The project's page on a package index: the README, whose links work there, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK: Final = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)")


def file_url(repository: str, path: str) -> str:
    """Where a file or folder of the repository, and a heading in it, can be seen."""
    return f"{repository.rstrip('/')}/blob/main/{path}"


class ReadmeHook(MetadataHookInterface):
    """Makes the field `readme`: links to files become links into the `Repository` of [project.urls]."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme; hatchling calls this for each build."""
        repository = metadata["urls"]["Repository"]
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = _RELATIVE_LINK.sub(lambda link: f"]({file_url(repository, link[1])})", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
