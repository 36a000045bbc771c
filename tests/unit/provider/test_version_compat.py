"""What is the same on each version of Airflow, and what is said on one that is too old."""

from __future__ import annotations

import importlib.metadata
import runpy
from pathlib import Path

import airflow
import pytest

from airflow_provider_linq._internal import version_compat
from airflow_provider_linq._internal.version_compat import connection_of, storage_path
from airflow_provider_linq.get_provider_info import get_provider_info


@pytest.mark.parametrize("version", ["2.11.2", "3.0.6"])
def test_an_airflow_that_is_too_old_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(airflow, "__version__", version)
    with pytest.raises(ImportError, match=rf"needs Apache Airflow 3\.1 or later, this is {version}\."):
        runpy.run_path(version_compat.__file__)


@pytest.mark.parametrize(
    ("version", "supported"), [(None, False), ("3.0.6", False), ("3.1.0", True), ("4.0.0b1", True)]
)
def test_an_airflow_that_is_too_old_is_given_no_class_to_import(
    monkeypatch: pytest.MonkeyPatch, version: str | None, supported: bool
) -> None:
    def version_of(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr("airflow_provider_linq.get_provider_info.version", version_of)
    info = get_provider_info()
    assert ("airflow_provider_linq" in str(info)) is supported
    assert info["package-name"] == "linq-connectors"


def test_a_relative_path_begins_in_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("to\n")
    monkeypatch.chdir(tmp_path)
    assert storage_path("rows.csv").read_text() == storage_path(f"file://{tmp_path}/rows.csv").read_text() == "to\n"


@pytest.mark.parametrize(("path", "connection"), [("s3://shop@bucket/a", "shop"), ("s3://bucket/a", None), ("a", None)])
def test_the_connection_of_a_path(path: str, connection: str | None) -> None:
    assert connection_of(storage_path(path)) == connection
