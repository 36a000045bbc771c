"""Airflow with CeleryExecutor, from an environment of its own; `LINQ_DRILLS=full` runs all drills."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import Redis
from tests.support.emulator_process import Emulator
from tests.support.environments import kept_environment
from tests.support.postgres import new_database
from tests.system.celery.cluster import Cluster, ObjectStore

ROOT = Path(__file__).parents[3]

#: What the workers have besides our own: the executor, drivers of PostgreSQL, and Airflow's file system of S3.
REQUIREMENTS = (
    "apache-airflow-providers-celery==3.26.0",
    "apache-airflow-providers-amazon[s3fs]==9.39.0",
    "asyncpg==0.32.0",
    "celery==5.6.3",  # 5.7 lacks what that provider imports
    "psycopg[binary]==3.3.6",
    "s3fs==2026.9.0",
)


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> Path:
    """The environment of all components, kept for the next session."""
    kept = request.config.cache.mkdir("celery")
    pins = kept / "constraints.txt"
    # s3fs does without the newest dateutil (aiobotocore 3.10 wants one below 3).
    tested = (ROOT / "constraints.txt").read_text().splitlines()
    pins.write_text("\n".join(line for line in tested if not line.startswith("python-dateutil==")) + "\n")
    return kept_environment(kept, *REQUIREMENTS, "--constraint", str(pins), "--editable", f"{ROOT}[airflow,tap]")


@pytest.fixture(scope="session")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server, whose libraries conflict with those of the workers."""
    programs = kept_environment(request.config.cache.mkdir("celery"), "moto[s3,server]==5.2.5")
    started = ObjectStore(programs / "moto_server", tmp_path_factory.mktemp("store"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    started = Redis(tmp_path_factory.mktemp("redis"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def celery_emulator() -> Iterator[Emulator]:
    """An emulator on the real time of a day that begins at noon, for all tests."""
    with Emulator() as started:
        started.set_clock(now=started.now().replace(hour=12, minute=0))
        yield started


@pytest.fixture(scope="session")
def cluster(
    programs: Path,
    store: ObjectStore,
    broker: Redis,
    celery_emulator: Emulator,
    postgres_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("cluster")
    database = new_database(postgres_server)
    dags = Path(__file__).parent / "dags"
    started = Cluster(home, celery_emulator, dags, programs, database=database, broker=broker, store=store)
    try:
        started.start()
        yield started
    finally:
        started.stop()
