"""The Linq page of Airflow's UI: campaigns and extractions, under Browse.

The page is a few plain modules of JavaScript. It draws with what Airflow's UI shares (React, Chakra UI), and reads
Airflow's public REST API, under the rights of whoever looks. Nothing runs on the server but the delivery of these
files and of what the API's error codes mean, and, where ``[linq] outcomes_under`` is set, the reading of outcomes.

Airflow loads this module by an entry point, in each of its processes and also where it is too old for the provider.
There it must be without effect, and without a traceback in the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin

_PREFIX: Final = "/linq-ui"
_OUTCOMES: Final = "/outcomes"
_CODES: Final = "/codes"


class _App:
    """An ASGI application: the folder `static`, codes and outcomes. It imports what it needs with the first request."""

    def __init__(self) -> None:
        self._outcomes: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = str(scope.get("path", "")).removeprefix(str(scope.get("root_path", "")))
        if path == _OUTCOMES:
            app = self._outcomes_app()
        elif path == _CODES:
            app = _codes()
        else:
            from starlette.staticfiles import StaticFiles

            app, send = StaticFiles(directory=Path(__file__).parent / "static"), _checked_again(send)
        await app(scope, receive, send)

    def _outcomes_app(self) -> Any:
        if self._outcomes is None:
            from airflow_provider_linq._internal.mounted_outcomes import OutcomesApp

            self._outcomes = OutcomesApp()
        return self._outcomes


def _checked_again(send: Any) -> Any:
    """Let the browser ask whether a file is still the same: modules of two versions don't fit together."""

    async def send_with_header(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"cache-control", b"no-cache")]
        await send(message)

    return send_with_header


def _codes() -> Any:
    """Return the response that says what each error code of the API means, and what to do."""
    from starlette.responses import JSONResponse

    from linq_client.errors import ErrorCode

    return JSONResponse({int(code): {"meaning": code.meaning, "remedy": code.remedy} for code in ErrorCode})


def _has_pages() -> bool:
    """Whether this Airflow can show the page: 3.3 has the task state stores that it reads."""
    try:
        from airflow_provider_linq._internal.version_compat import HAS_STATE_STORES
    except ImportError:  # Airflow 3.0
        return False
    return HAS_STATE_STORES


def _url_of(file: str) -> str:
    """Where the browser gets a file from, relative to the root of the UI; another one with each version of it."""
    from airflow_provider_linq import __version__

    return f"{_PREFIX.lstrip('/')}/{file}?version={__version__}"


class LinqUIPlugin(AirflowPlugin):
    """Adds the page *Browse, Linq*."""

    name = "linq_ui"
    if _has_pages():
        fastapi_apps = [{"app": _App(), "url_prefix": _PREFIX, "name": "Linq UI"}]
        react_apps = [
            {
                "name": "Linq",
                "bundle_url": _url_of("linq.js"),
                "icon": _url_of("linq.svg"),
                "destination": "nav",
                "category": "browse",
                "url_route": "linq",
            }
        ]
