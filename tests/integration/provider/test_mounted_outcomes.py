"""The outcomes that Airflow's UI shows of a campaign: of whom, from which files, and in pages."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from airflow_provider_linq import ui
from airflow_provider_linq.campaigns._files import write_rows
from airflow_provider_linq.campaigns._journal import COLUMNS, as_row
from airflow_provider_linq.campaigns._model import Outcome

TASK = {"dag_id": "spring", "run_id": "manual__2026-03-01T00:00:00+00:00", "task_id": "send"}
XCOM = "/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"


class Airflow:
    """An API server as far as the page needs it: a result of each DAG, for those who have its cookie."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._results = results
        self.asked: list[tuple[str, ...]] = []
        self._app = Starlette(routes=[Route(XCOM, self._xcom), Mount("/linq-ui", ui._App())])

    async def _xcom(self, request: Request) -> JSONResponse:
        ids = request.path_params
        self.asked.append((*ids.values(), request.query_params["map_index"]))
        cookie, bearer = request.cookies.get("_token"), request.headers.get("authorization")
        if cookie is None and bearer is None:
            return JSONResponse({"detail": "Not authenticated"}, 401)
        if ids["dag_id"] not in (cookie, bearer and bearer.removeprefix("Bearer ")):
            return JSONResponse({"detail": "Forbidden"}, 403)
        if ids["dag_id"] not in self._results:
            return JSONResponse({"detail": "none"}, 404)
        return JSONResponse({"key": "return_value", "value": self._results[ids["dag_id"]]})

    def get(self, query: dict[str, Any], headers: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
        """Ask as a browser that is logged in, unless other headers are given."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self._app), base_url="http://airflow.example"
            ) as client:
                sent = {"cookie": f"_token={TASK['dag_id']}"} if headers is None else headers
                return await client.request(method, "/linq-ui/outcomes", params={**TASK, **query}, headers=sent)

        return asyncio.run(ask())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the administrator names, with that of the DAG."""
    (tmp_path / "outcomes" / "spring").mkdir(parents=True)
    monkeypatch.setenv("AIRFLOW__LINQ__OUTCOMES_UNDER", str(tmp_path / "outcomes"))
    return tmp_path / "outcomes"


def outcomes(count: int) -> list[Outcome]:
    """Every tenth has failed."""
    return [
        Outcome(number, (f"guest{number}@example.com",), "failed", "refused", "no such service", 2024)
        if number % 10 == 0
        else Outcome(number, (f"guest{number}@example.com",), "sent", message_id=f"message-{number}")
        for number in range(1, count + 1)
    ]


@pytest.fixture
def airflow(folder: Path) -> Callable[..., Airflow]:
    """Makes an Airflow whose campaign has left a file of outcomes."""

    def make(count: int = 250, kind: str = "jsonl") -> Airflow:
        path = str(folder / "spring" / f"run.{kind}")
        write_rows(path, map(as_row, outcomes(count)), COLUMNS)
        return Airflow({"spring": {"outcomes_path": path}})

    return make


def walk(airflow: Airflow, **query: Any) -> list[dict[str, Any]]:
    """All outcomes, page by page."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = airflow.get({**query, "after": after}).json()
        assert len(page["rows"]) <= 100
        found += page["rows"]
        after = page["next"]
    return found


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_all_outcomes_are_shown_in_pages(airflow: Callable[..., Airflow], kind: str) -> None:
    made = airflow(kind=kind)
    assert [int(row["row"]) for row in walk(made)] == list(range(1, 251))
    assert set(made.asked) == {(*TASK.values(), "-1")}
    assert made.get({"map_index": 3}).status_code == 200
    assert made.asked[-1][-1] == "3"


def test_they_are_filtered_and_searched(airflow: Callable[..., Airflow]) -> None:
    made = airflow()
    assert [row["row"] for row in walk(made, status="failed")] == list(range(10, 251, 10))
    assert [row["row"] for row in walk(made, q="GUEST24@")] == [24]
    assert [row["row"] for row in walk(made, q="message-101", status="failed")] == []
    assert {row["code"] for row in walk(made, q="2024")} == {2024}


def test_a_search_in_a_long_file_takes_several_requests(
    airflow: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_linq._internal.mounted_outcomes._MOST_SCANNED", 60)
    made = airflow()
    first = made.get({"q": "guest249@"}).json()
    assert first == {"rows": [], "next": 60}
    assert [row["row"] for row in walk(made, q="guest249@")] == [249]


def test_they_are_downloaded(airflow: Callable[..., Airflow]) -> None:
    response = airflow(1200).get({"format": "csv", "status": "failed"})
    assert response.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [int(row["row"]) for row in rows] == list(range(10, 1201, 10))
    assert rows[0]["to"] == "guest10@example.com"


def test_only_those_see_them_who_may_read_the_result(airflow: Callable[..., Airflow]) -> None:
    made = airflow()
    assert made.get({}, {}).status_code == 401
    assert made.get({}, {"cookie": "_token=summer"}).status_code == 403
    assert made.get({}, {"authorization": "Bearer spring"}).status_code == 200
    assert made.get({"dag_id": "summer"}, {"cookie": "_token=summer"}).status_code == 404
    assert made.get({}, method="POST").status_code == 405


def test_nothing_is_shown_unless_the_administrator_says_so(
    airflow: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = airflow()
    monkeypatch.setenv("AIRFLOW__LINQ__OUTCOMES_UNDER", "")
    refused = made.get({})
    assert (refused.status_code, made.asked) == (404, [])
    assert "outcomes_under" in refused.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "{folder}/summer/run.jsonl",
        "{folder}/spring/../summer/run.jsonl",
        "{folder}/run.jsonl",
        "{folder}/spring2/run.jsonl",
        "{folder}/spring/link.jsonl",
        "file://{folder}/summer/run.jsonl",
        "s3://other@bucket/run.jsonl",
        "/etc/passwd.csv",
        "simplecache::file://{folder}/spring/run.jsonl",
    ],
)
def test_a_result_can_name_no_file_of_others(folder: Path, path: str) -> None:
    """Any task may have written the result, and whoever may read it would see what the API server can read."""
    for place in ("summer", "spring2", "."):
        (folder / place).mkdir(exist_ok=True)
        (folder / place / "run.jsonl").write_text('{"row": 1, "to": ["private@example.com"]}\n')
    (folder / "spring" / "link.jsonl").symlink_to(folder / "summer" / "run.jsonl")
    refused = Airflow({"spring": {"outcomes_path": path.format(folder=folder)}}).get({})
    assert refused.status_code == 403
    assert "private" not in refused.text


def test_a_folder_that_is_a_link_shows_no_file_of_others(folder: Path) -> None:
    (folder / "summer").mkdir()
    (folder / "summer" / "run.jsonl").write_text('{"row": 1}\n')
    (folder / "autumn").symlink_to(folder / "summer")
    made = Airflow({"autumn": {"outcomes_path": f"{folder}/autumn/run.jsonl"}})
    assert made.get({"dag_id": "autumn"}, {"cookie": "_token=autumn"}).status_code == 403


@pytest.mark.parametrize("dag_id", ["..", ".", "~", "a/b", "", "..%2f"])
def test_what_is_no_dag_id_is_refused(folder: Path, dag_id: str) -> None:
    (folder.parent / "run.jsonl").write_text('{"row": 1}\n')
    made = Airflow({dag_id: {"outcomes_path": f"{folder.parent}/run.jsonl"}})
    assert made.get({"dag_id": dag_id}, {"cookie": f"_token={dag_id}"}).status_code == 400
    assert made.asked == []


@pytest.mark.parametrize("query", [{"after": "x"}, {"map_index": "1e3"}, {"run_id": ""}, {"task_id": "~"}])
def test_a_query_that_is_not_well_formed_is_refused(airflow: Callable[..., Airflow], query: dict[str, Any]) -> None:
    assert airflow().get(query).status_code == 400


def test_a_file_of_something_else_shows_nothing(folder: Path) -> None:
    other = folder / "spring" / "other.jsonl"
    other.write_text(json.dumps({"password": "secret", "row": 1}) + "\nno JSON: a secret\n")
    made = Airflow({"spring": {"outcomes_path": str(other)}})
    refused = made.get({})
    assert refused.status_code == 404
    assert "secret" not in refused.text
    other.write_text(json.dumps({"password": "secret", "row": 1}) + "\n")
    assert [set(row) for row in made.get({}).json()["rows"]] == [set(COLUMNS)]
    assert "secret" not in made.get({}).text
    other.unlink()
    for form in ("json", "csv"):
        assert made.get({"format": form}).status_code == 404


@pytest.mark.parametrize("result", [None, "text", {"outcomes_path": None}, {"outcomes_path": 7}, {}])
def test_a_result_without_outcomes_shows_none(folder: Path, result: object) -> None:
    assert Airflow({"spring": result}).get({}).status_code == 404


def test_a_download_of_several_blocks_has_each_row_once(airflow: Callable[..., Airflow]) -> None:
    response = airflow(1_234).get({"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [int(row["row"]) for row in rows] == list(range(1, 1_235))
