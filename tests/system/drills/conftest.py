"""Fixtures of the drills. `LINQ_DRILLS=full` runs them at their full length."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from tests.support.contract_server import ContractServer


@pytest.fixture
def is_full() -> bool:
    return os.environ.get("LINQ_DRILLS") == "full"


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Start what campaigns are tried in, with an Airflow that is nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
            patch.delenv(name)
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.support.forked_imports"])
        forkserver.ensure_running()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ContractServer]]:
    """Serve the contract with these knobs."""
    servers = []

    def serve(**knobs: Any) -> ContractServer:
        servers.append(ContractServer(tmp_path, **knobs))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()
