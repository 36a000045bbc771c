"""Requests to the API and to the hosts of files, each made once: sessions, what can go wrong on the way, bodies.

Nothing that is raised here holds the request, since the request holds the key and the text of messages.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache, partial
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import IO, Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from linq_client._clock import BelievedClock
from linq_client._connections import WatchedAdapter
from linq_client._credentials import BearerAuth
from linq_client._deadline import Exchange, Lifetime
from linq_client._decode import Decoded, decode_json
from linq_client._network import FileHosts, Proxies
from linq_client._response import APIResponse
from linq_client._retry import RequestCounter
from linq_client._verdict import checked_trace_id, error_from_response, problem_with_success
from linq_client.errors import (
    APIConnectionError,
    Effect,
    FileTooLargeError,
    InvalidRequestError,
    LinqError,
    RequestKind,
    SettingsError,
)
from linq_client.times import parse_http_date

log = logging.getLogger(__name__)

#: Bytes of the largest file that the API takes.
LARGEST_FILE: Final = 100 * 1024 * 1024

#: Bytes a second at which a file that still moves is waited for: a slow mobile or DSL line. The largest one gets 13
#: minutes more than a response, and the URL to upload it to is valid for 15.
SLOWEST_TRANSFER: Final = 128 * 1024

#: Redirects of a download that are followed.
MAX_REDIRECTS: Final = 3

#: Bytes of a response of the API, unpacked. A page of 100 messages of 10,000 characters has a few.
MAX_BODY: Final = 64 * 1024 * 1024

#: What `Session.send` raises of a request that can't be made: by its URL, by the proxy's, by characters of a header.
_NEVER_SENT: Final = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    LocationValueError,
    UnicodeEncodeError,
)

#: Bytes that are read at a time. Packed ones, with older versions of urllib3: they become a thousand times as many.
PIECE: Final = 64 * 1024


class Transport:
    """The two sessions of a client: one for the API, one for files. Safe to use from several threads.

    Args:
        base_url: of the API, see `check_base_url`.
        timeout: seconds to wait for a connection, and for each read of a response.
        deadline: seconds for a whole exchange; one that moves a file gets more, by its size.
        pool_size: connections kept open to each host.
        proxies: the way to each host.
        verify: as `requests` takes it.
        counter: counts the requests.
        lifetime: of the client.
    """

    def __init__(
        self,
        base_url: str,
        timeout: tuple[float, float],
        deadline: float,
        pool_size: int,
        proxies: Proxies,
        verify: bool | str,
        counter: RequestCounter,
        lifetime: Lifetime,
    ) -> None:
        self._base_url = base_url
        self._host = urlsplit(base_url).netloc  # without user and password: `check_base_url` refuses them
        self._timeout = timeout
        self._deadline = deadline
        self._proxies = proxies
        self._counter = counter
        self._lifetime = lifetime
        self._api = _new_session(pool_size, verify)
        self._api_proxies = proxies.for_url(base_url)
        # Files lie on other hosts, whose URLs carry their own signature.
        self._files = _new_session(pool_size, verify)
        # Where a packed body breaks off, what was unpacked seems to be all.
        self._files.headers["Accept-Encoding"] = "identity"
        self._file_hosts = FileHosts(base_url)
        self._clock = BelievedClock()

    @property
    def server_time(self) -> datetime | None:
        """The API's clock at its latest response that named a time."""
        return self._clock.latest

    def close(self) -> None:
        """Close all connections."""
        self._api.close()
        self._files.close()

    def exchange(
        self,
        auth: BearerAuth,
        method: str,
        path: str,
        *,
        kind: RequestKind,
        has_text: bool,
        list_field: str | None,
        may_be_empty: bool,
        **request: Any,
    ) -> APIResponse:
        """Send one request to the API; arguments as of `LinqClient.request`."""
        label = f"{method} {path}"
        # Where no usable response comes, it may be the wrong host that was asked.
        label_with_host = f"{label} at {self._host}"
        self._counter.add(requests=1)

        def send(_: Exchange) -> tuple[requests.Response, bytes]:
            # An API does not redirect; a server that does it in its place must not be followed with the key.
            with _send(
                self._api,
                method,
                self._base_url + path,
                label=label_with_host,
                auth=auth,
                timeout=self._timeout,
                proxies=self._api_proxies,
                **request,
            ) as response:
                return response, _content(response, label_with_host)

        response, raw = self._lifetime.run(label_with_host, self._deadline, send)
        status, trace_id = response.status_code, checked_trace_id(response.headers.get("X-Trace-ID"), auth.key)
        named = parse_http_date(response.headers.get("Date"))
        server_time = self._clock.note(named) if named is not None else None
        # Nothing, from a proxy, is no success of the API, which names its trace in all that it says.
        is_empty = status == 204 or (may_be_empty and status < 300 and not raw and trace_id is not None)
        decoded = Decoded({}, repaired=False) if is_empty else self._decoded(raw, label)
        body: Any = decoded.value if decoded is not None else None
        if response.is_redirect:
            message = f"base_url: must be that of the API, got a redirect (HTTP {status})"
            raise SettingsError(message, status=status, effect=Effect.UNKNOWN)
        if status >= 300:
            raise error_from_response(
                status, body, response.headers, request=label, kind=kind, detail=not has_text, secret=auth.key
            )
        wrong = problem_with_success(body, list_field)
        if wrong is None and server_time is None:
            # The worker's clock is no stand-in: what is reckoned with the server's must not depend on the worker. An
            # error above may be a proxy's, and is raised without a time too.
            wrong = "names no time that can be read (header Date)"
        if wrong is not None or server_time is None:
            failure = APIConnectionError(f"{label}: the response {wrong}", status=status, trace_id=trace_id)
            # JSON is the API's, even in another form. A page, or nothing, is more likely a proxy's before an API that
            # is down.
            failure._answered = decoded is not None
            raise failure
        return APIResponse(body, status, trace_id, server_time, kind)

    def _decoded(self, content: bytes, label: str) -> Decoded | None:
        """The JSON of a body, or None if it is none, which may be a proxy's page."""
        try:
            decoded = decode_json(content)
        except ValueError:
            return None
        if decoded.repaired and not self._counter.add(repaired=1).repaired:
            log.warning(
                "%s: the response is not well-formed JSON or holds U+0000, and was repaired; said once for all", label
            )
        return decoded

    def transfer(
        self,
        method: str,
        url: str,
        *,
        data: bytes | IO[bytes] | None,
        headers: Mapping[str, str] | None,
        into: IO[bytes] | None,
        max_bytes: int | None,
    ) -> int:
        """Move a file once; arguments and result as of `LinqClient.transfer`."""
        # A redirected upload would arrive as a GET, and seem to have worked.
        for hops_left in range(MAX_REDIRECTS if data is None else 0, -1, -1):
            label = f"{method} file at {self._file_hosts.check(url, 'file')}"
            self._counter.add(requests=1)
            moved = self._lifetime.run(
                label,
                self._deadline + (bytes_left(data) / SLOWEST_TRANSFER if data is not None else 0),
                partial(self._move, method, url, data, headers, into, max_bytes, label, follows=hops_left > 0),
            )
            if isinstance(moved, int):
                return moved
            # The headers were meant for the first host.
            url, headers = moved, None
        raise AssertionError("the last hop follows no redirect")

    def _move(
        self,
        method: str,
        url: str,
        data: bytes | IO[bytes] | None,
        headers: Mapping[str, str] | None,
        into: IO[bytes] | None,
        max_bytes: int | None,
        label: str,
        exchange: Exchange,
        *,
        follows: bool,
    ) -> int | str:
        """Make one request for a file, and return its size, or where it has moved to if that is followed."""
        with _send(
            self._files,
            method,
            url,
            label=label,
            data=data,
            headers=headers,
            timeout=self._timeout,
            proxies=self._proxies.for_url(url),
        ) as response:
            if response.is_redirect and follows:
                return _joined(url, response.headers["Location"])
            if response.status_code >= 300:
                raise error_from_response(response.status_code, None, response.headers, request=label)
            if into is None:
                return 0
            if response.status_code != 200:  # a part of it, or the promise of one later
                raise APIConnectionError(f"{label}: no whole file came (HTTP {response.status_code})")
            size = _declared_size(response)
            most = MAX_BODY if max_bytes is None else max_bytes
            exchange.extend((most if size is None else min(size, most)) / SLOWEST_TRANSFER)
            # What it says beforehand spares the download; a size before decoding is no size of the file.
            if size is not None and "Content-Encoding" not in response.headers:
                _check_size(size, max_bytes, label)
            return _save(response, into, max_bytes, label)


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect, nor prepare to: `requests` would read all of the body first, and fail by the URL."""


@cache  # the look-up of the version reads files, and takes longer than all else of a client
def _user_agent() -> str:
    ours, python = version("linq-connectors"), platform.python_version()
    return f"linq-connectors/{ours} python/{python} requests/{requests.__version__}"


def _new_session(pool_size: int, verify: bool | str) -> requests.Session:
    """Make a session that keeps `pool_size` connections to a host and may be used from as many threads."""
    session = _Session()
    session.trust_env = False  # neither ~/.netrc, nor what `_network` has settled already
    session.verify = verify
    session.headers["User-Agent"] = _user_agent()
    # The API sets no cookies, and a cookie jar is the one part of a session that threads would share and change.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = WatchedAdapter(pool_maxsize=pool_size, pool_block=True)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    label: str,
    timeout: tuple[float, float],
    proxies: dict[str, str],
    headers: Mapping[str, str] | None = None,
    **content: Any,
) -> requests.Response:
    """Send a request that is called `label` in errors, and return when the headers of its response are there.

    `content` is as `requests.Request` takes it. `Session.request` would merge in cookies and the environment, which are
    off here, and takes a fifth of the CPU of all that is done for a page.
    """
    is_prepared = False
    try:
        prepared = requests.Request(method, url, headers={**session.headers, **(headers or {})}, **content).prepare()
        is_prepared = True
        return session.send(prepared, timeout=timeout, proxies=proxies, stream=True)
    except (requests.RequestException, ValueError) as error:
        # Any other `ValueError` of `send` is about the response: the request has arrived.
        if not is_prepared or isinstance(error, _NEVER_SENT):
            failure: LinqError = InvalidRequestError(f"{label}: can't be sent ({type(error).__name__})")
        else:
            failure = APIConnectionError(f"{label}: no usable response ({_reason(error)})")
            failure._connected = not _never_connected(error)
            failure.effect = Effect.UNKNOWN if failure._connected else Effect.NONE
    # Raised out here, where it takes nothing along: the request that hangs on the error holds the key and the text.
    raise failure


def _reason(error: Exception) -> str:
    """What went wrong, by class, and by the words of the system where it was the system that refused."""
    root: BaseException = error
    while root.__context__ is not None:
        root = root.__context__
    words = getattr(root, "strerror", None)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _never_connected(error: Exception) -> bool:
    """Whether there was no connection at all, to the API or to a proxy before it, so that nothing was sent anywhere.

    What a proxy says about the connection behind it is not taken for that.
    """
    cause = error.args[0] if error.args else None
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    if isinstance(cause, ProxyError):
        cause = cause.original_error
    return isinstance(cause, NewConnectionError | ConnectTimeoutError | NameResolutionError)


def _content(response: requests.Response, label: str) -> bytes:
    """The whole body; `requests` by itself takes 10 kB each time, ten times a page."""
    pieces, size = [], 0
    for piece in _pieces(response, PIECE, f"{label}: no usable response"):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BODY:
            failure = APIConnectionError(f"{label}: the response is larger than {MAX_BODY} bytes")
            failure.retryable = False
            raise failure
    return b"".join(pieces)


def _pieces(response: requests.Response, size: int, failure: str) -> Iterator[bytes]:
    """Yield a body, and raise `APIConnectionError` where it breaks off."""
    try:
        yield from response.iter_content(size)
    except requests.RequestException as error:
        cut = _reason(error)
    else:
        return
    raise APIConnectionError(f"{failure} ({cut})")


def _save(response: requests.Response, into: IO[bytes], max_bytes: int | None, label: str) -> int:
    """Write a body to a file, up to `max_bytes`, and return its size."""
    size = 0
    for piece in _pieces(response, PIECE, f"{label}: the file was cut short"):
        size += len(piece)
        _check_size(size, max_bytes, label)
        into.write(piece)
    into.truncate()
    return size


def _check_size(size: int, max_bytes: int | None, label: str) -> None:
    """Refuse a file of that many bytes, or more, if it is too large."""
    if max_bytes is not None and size > max_bytes:
        raise FileTooLargeError(f"{label}: max_bytes: must be {max_bytes} at most, got more")


def _joined(url: str, location: str) -> str:
    """The URL that a redirect leads to; where it is none, it is refused with the words for that."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def bytes_left(data: bytes | IO[bytes]) -> int:
    """How many bytes there are to send: all, or those from the present position of a file on."""
    if isinstance(data, bytes):
        return len(data)
    position = data.tell()
    size = data.seek(0, os.SEEK_END) - position
    data.seek(position)
    return size


def _declared_size(response: requests.Response) -> int | None:
    """How many bytes a download is to have, before it is decoded; None if the response does not say."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else None
