"""Airflow's own UI, with answers that are given: neither its API server nor a database runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import airflow
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from airflow_provider_linq.ui import LinqUIPlugin

_DIST = Path(airflow.__file__).parent / "ui" / "dist"

#: What the UI asks for before it shows a page of a plugin.
_FRAME: dict[str, Any] = {
    "/ui/config": {
        "instance_name": "Airflow",
        "auto_refresh_interval": 3,
        "fallback_page_limit": 50,
        "dashboard_alert": [],
        "theme": None,
    },
    "/ui/auth/menus": {"authorized_menu_items": [], "extra_menu_items": []},
    "/ui/auth/me": {"id": "1", "username": "viewer"},
    "/api/v2/version": {"version": "3", "git_version": None},
    "/api/v2/plugins": {
        "plugins": [
            {
                "name": "linq_ui",
                "appbuilder_menu_items": [],
                "appbuilder_views": [],
                "external_views": [],
                "fastapi_apps": [],
                "react_apps": LinqUIPlugin.react_apps,
            }
        ],
        "total_entries": 1,
    },
}


class AirflowUI:
    """
    A server of what pages ask for: files of Airflow and of our plugin as they are, and of the REST API what is given.

    Attributes:
        app: the ASGI application.
        api: answers, or functions that make them of the query, by the path of the request; what is not there is not
            found.
    """

    def __init__(self) -> None:
        self.api: dict[str, Any] = dict(_FRAME)
        (app,) = LinqUIPlugin.fastapi_apps
        index = (_DIST / "index.html").read_text().replace("{{ backend_server_base_url }}", "/")
        self.app = Starlette(
            routes=[
                Mount("/static", StaticFiles(directory=_DIST)),
                Mount(app["url_prefix"], app["app"]),
                Route("/ui/{rest:path}", self._answer),
                Route("/api/{rest:path}", self._answer),
                Route("/{rest:path}", lambda request: HTMLResponse(index)),
            ]
        )

    def _answer(self, request: Request) -> Response:
        if request.url.path not in self.api:
            return JSONResponse({"detail": "Not found"}, 404)
        found = self.api[request.url.path]
        return JSONResponse(found(request.query_params) if callable(found) else found)
