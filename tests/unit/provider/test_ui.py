"""The plugin that brings the Linq page to Airflow's UI. tests/system/airflow looks at the page itself."""

from __future__ import annotations

import asyncio
import re
import sys
from importlib import metadata
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from airflow_provider_linq import ui
from airflow_provider_linq._internal.version_compat import HAS_STATE_STORES
from airflow_provider_linq.get_provider_info import get_provider_info
from linq_client.errors import ErrorCode


def get(path: str) -> httpx.Response:
    """Ask a server that has mounted the plugin's application, as Airflow's has."""
    server = Starlette(routes=[Mount("/linq-ui", ui._App())])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://airflow") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_airflow_finds_it_by_its_entry_point() -> None:
    (entry,) = metadata.distribution("linq-connectors").entry_points.select(group="airflow.plugins")
    assert entry.load() is ui.LinqUIPlugin
    # Airflow would load it twice if it stood there, too.
    assert entry.name not in {plugin["name"] for plugin in get_provider_info()["plugins"]}


@pytest.mark.skipif(not HAS_STATE_STORES, reason="there is no page before Airflow 3.3")
def test_the_page_is_where_it_says() -> None:
    (app,), (page,) = ui.LinqUIPlugin.fastapi_apps, ui.LinqUIPlugin.react_apps
    assert app["url_prefix"] == "/linq-ui"
    found = get("/" + urlsplit(page["bundle_url"]).path)
    assert found.status_code == 200
    assert found.headers["content-type"].partition(";")[0] in ("text/javascript", "application/javascript")
    assert "export default Linq" in found.text
    assert found.headers["cache-control"] == "no-cache"
    modules = re.findall(r'from "\./(\w+\.js)"', found.text)
    assert modules
    assert all(get(f"/linq-ui/{module}").status_code == 200 for module in modules)
    icon = get("/" + urlsplit(page["icon"]).path)
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")


def test_it_says_what_error_codes_mean() -> None:
    found = get("/linq-ui/codes").json()
    assert found.keys() == {str(int(code)) for code in ErrorCode}
    assert found["4001"] == {"meaning": ErrorCode.DELIVERY_FAILED.meaning, "remedy": ErrorCode.DELIVERY_FAILED.remedy}


def test_nothing_else_is_served() -> None:
    for path in ("/", "/../__init__.py", "/%2e%2e/__init__.py", "/static/linq.js"):
        assert get(f"/linq-ui{path}").status_code == 404


def test_where_the_provider_does_not_run_it_is_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow_provider_linq._internal.version_compat", None)
    assert not ui._has_pages()
