"""What the Airflow of this environment has, without importing it."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

from packaging.version import Version

__all__ = ["HAS_CONNECTIONS_IN_PATHS", "HAS_CONNECTION_FORMS", "HAS_STATE_STORES", "NEEDS_SUPERVISOR"]

_RELEASE: Final = Version(version("apache-airflow-core")).release

#: Whether tasks and assets have state stores.
HAS_STATE_STORES: Final = _RELEASE >= (3, 3)

#: Whether connections have forms, of any provider: Airflow before 3.1.3 has no stand-in for WTForms.
HAS_CONNECTION_FORMS: Final = _RELEASE >= (3, 1, 3) or find_spec("wtforms") is not None

#: Whether a path may name a connection: with universal-pathlib 0.3, that of Airflow 3.1.0 looks for it without end.
HAS_CONNECTIONS_IN_PATHS: Final = _RELEASE >= (3, 1, 1) or Version(version("universal-pathlib")).release < (0, 3)

#: Whether triggers find a connection only beside a supervisor, even if it is in the environment.
NEEDS_SUPERVISOR: Final = _RELEASE < (3, 1, 1)
