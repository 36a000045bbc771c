"""The outcomes of a campaign, for its page in Airflow's UI: a part of Airflow's API server.

Who may see them, and which file that is, Airflow itself says: the viewer's credentials are used to read the result of
the task (XCom) from its public REST API. A path in a result is data that any task may have written, so that it counts
only below a folder that the administrator names, in the folder of that DAG.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from airflow_provider_linq._internal.uploads import FileRules
from airflow_provider_linq._internal.version_compat import conf
from airflow_provider_linq.campaigns._journal import COLUMNS
from airflow_provider_linq.campaigns._rows import BadRow, rows_of_file
from linq_client import InvalidRequestError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["OutcomesApp"]

_PAGE: Final = 100
#: Rows that one request looks at, so that a search in a long file takes several short ones.
_MOST_SCANNED: Final = 100_000
#: Files that one process reads at a time: the UI's requests share its threads.
_READERS: Final = 2
_DOWNLOAD_BLOCK: Final = 500
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_DAG_ID: Final = re.compile(r"[\w.-]*[\w-][\w.-]*")
_FIELD: Final = "outcomes_path"


class _RefusedError(Exception):
    """What is answered in the place of outcomes."""

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(detail)


@dataclass(frozen=True)
class _Query:
    """
    Which task instance, and which of its outcomes.

    :param status: of the rows, or all.
    :param text: that stands in one of a row's values, whatever the case.
    :param after: how many rows of the file are passed over.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    status: str
    text: str
    after: int

    @classmethod
    def of(cls, query: QueryParams) -> _Query:
        """
        Return what a request asks for.

        :raises _RefusedError: it is not well-formed.
        """
        names = {name: query.get(name, "") for name in ("dag_id", "run_id", "task_id")}
        numbers = {"map_index": query.get("map_index", "-1"), "after": query.get("after", "0")}
        for name, value in names.items():
            if not value or value == "~" or (name == "dag_id" and not _DAG_ID.fullmatch(value)):
                raise _RefusedError(400, f"{name}: must be one of Airflow's, got {value!r}")
        for name, value in numbers.items():
            if not re.fullmatch(r"-?[0-9]{1,9}", value):
                raise _RefusedError(400, f"{name}: must be a number, got {value!r}")
        return cls(
            **names,
            map_index=int(numbers["map_index"]),
            after=max(0, int(numbers["after"])),
            status=query.get("status", ""),
            text=query.get("q", "").casefold(),
        )

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether an outcome is asked for."""
        if self.status and row["status"] != self.status:
            return False
        return not self.text or any(self.text in str(value).casefold() for value in row.values() if value is not None)


class OutcomesApp:
    """An ASGI application: the outcomes of a campaign, as JSON in pages or, with ``format=csv``, in full."""

    def __init__(self) -> None:
        self._readers = asyncio.Semaphore(_READERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except _RefusedError as refused:
            response = JSONResponse({"detail": refused.detail}, refused.status, _HEADERS)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method != "GET":
            raise _RefusedError(405, "Outcomes can only be read.")
        folder = conf.get("linq", "outcomes_under", fallback="")
        if not folder:
            raise _RefusedError(404, "The outcomes are not shown here: [linq] outcomes_under is not set.")
        query = _Query.of(request.query_params)
        path = _checked(await _path_of(request, query), folder, query.dag_id)
        try:
            if request.query_params.get("format") == "csv":
                headers = {**_HEADERS, "Content-Disposition": 'attachment; filename="outcomes.csv"'}
                blocks = _as_csv(path, query)
                first = await asyncio.to_thread(next, blocks)  # a file that can't be read is refused before a response
                return StreamingResponse(chain([first], blocks), headers=headers, media_type="text/csv")
            async with self._readers:
                return JSONResponse(await asyncio.to_thread(_page, path, query), headers=_HEADERS)
        except InvalidRequestError as error:
            raise _RefusedError(404, str(error)) from None


async def _path_of(request: Request, query: _Query) -> str:
    """
    Return the path in the result of a task, which the viewer may read.

    :raises _RefusedError: they may not, as Airflow says, or there is none.
    """
    ids = [quote(each, safe="") for each in (query.dag_id, query.run_id, query.task_id)]
    url = "/api/v2/dags/{}/dagRuns/{}/taskInstances/{}/xcomEntries/return_value".format(*ids)
    credentials = {name: request.headers[name] for name in ("authorization", "cookie") if name in request.headers}
    transport = httpx.ASGITransport(request.scope["app"], raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow", trust_env=False) as airflow:
        found = await airflow.get(
            url, params={"map_index": query.map_index, "stringify": "false"}, headers=credentials, timeout=None
        )
    if found.status_code != 200:
        status = found.status_code if found.status_code in (401, 403, 404) else 502
        raise _RefusedError(status, f"Airflow does not show the result of this task: HTTP {found.status_code}.")
    result = found.json().get("value")
    path = result.get("outcomes_path") if isinstance(result, dict) else None
    if not isinstance(path, str) or not path:
        raise _RefusedError(404, "The result of this task names no file of outcomes.")
    return path


def _checked(path: str, folder: str, dag_id: str) -> str:
    """
    Return a path that lies in the folder of its DAG.

    :raises _RefusedError: it does not.
    """
    own = f"{folder.rstrip('/')}/{dag_id}"
    try:
        # Whoever can write to one DAG's folder could make it a link to that of another.
        if os.path.islink(own):
            raise InvalidRequestError(f"{own} must not be a link")
        FileRules(under=(own,)).check(path, _FIELD)
    except InvalidRequestError:
        raise _RefusedError(403, f"Shown are only files below [linq] outcomes_under, in the folder {dag_id}.") from None
    return path


def _rows(path: str) -> Iterator[dict[str, Any]]:
    """Yield the outcomes of a file: of each row what an outcome has, so that another file shows nothing."""
    for row in rows_of_file(path, _FIELD, ()):
        values = {} if isinstance(row, BadRow) else row
        yield {name: values.get(name) for name in COLUMNS}


def _page(path: str, query: _Query) -> dict[str, Any]:
    """Return up to a page of outcomes, and from where on to look for more: None at the end of the file."""
    found: list[dict[str, Any]] = []
    for number, row in enumerate(_rows(path)):
        if number < query.after:
            continue
        if len(found) == _PAGE or number - query.after >= _MOST_SCANNED:
            return {"rows": found, "next": number}
        if query.fits(row):
            found.append(row)
    return {"rows": found, "next": None}


def _as_csv(path: str, query: _Query) -> Iterator[str]:
    block = io.StringIO()
    writer = csv.DictWriter(block, COLUMNS)
    writer.writeheader()
    for number, row in enumerate(filter(query.fits, _rows(path)), start=1):
        to = row["to"]
        writer.writerow({**row, "to": ",".join(map(str, to)) if isinstance(to, list) else to})
        if number % _DOWNLOAD_BLOCK == 0:
            yield block.getvalue()
            block.seek(0)
            block.truncate()
    yield block.getvalue()
