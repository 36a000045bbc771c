"""What the aliases take from the distribution that they stand for: its version, and the requirement of that alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class AliasHook(MetadataHookInterface):
    """Sets `version`, `dependencies` and `urls`; hatchling calls this for each build."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Take them from the pyproject.toml of the repository."""
        project = tomllib.loads((Path(self.root).parents[1] / "pyproject.toml").read_text())["project"]
        metadata["version"] = project["version"]
        metadata["dependencies"] = [f"{project['name']}[{self.config['extra']}]=={project['version']}"]
        metadata["requires-python"] = project["requires-python"]
        metadata["urls"] = project["urls"]
        metadata["authors"] = project["authors"]
