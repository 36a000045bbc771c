"""Requests to the API and to the hosts of files, each made once: sessions, what can go wrong on the way, bodies.

Nothing that is raised here holds the request, since the request holds the key and the text of messages.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import IO, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from linq_client._credentials import BearerAuth, NoAuth
from linq_client._decode import decode_json
from linq_client._pagination import APIResponse
from linq_client._retry import RequestCounter
from linq_client._verdict import error_from_response, problem_with_success
from linq_client.errors import (
    APIConnectionError,
    Effect,
    InvalidRequestError,
    LinqError,
    RequestKind,
    SettingsError,
)
from linq_client.times import parse_http_date

log = logging.getLogger(__name__)


class Transport:
    """The two sessions of a client: one for the API, one for files. Safe to use from several threads.

    Args:
        base_url: of the API, see `check_base_url`.
        timeout: seconds to wait for a connection, and for each read of a response.
        pool_size: connections kept open to each host.
        counter: counts the requests.
    """

    def __init__(self, base_url: str, timeout: tuple[float, float], pool_size: int, counter: RequestCounter) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._counter = counter
        self._api = _new_session(pool_size)
        _settle_environment(self._api, base_url)
        # Files lie on other hosts, whose URLs carry their own signature.
        self._files = _new_session(pool_size)
        #: The API's clock at its latest response that named a time.
        self.server_time: datetime | None = None

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
        **request: Any,
    ) -> APIResponse:
        """Send one request to the API; arguments as of `LinqClient.request`."""
        label = f"{method} {path}"
        self._counter.add(requests=1)
        # An API does not redirect; a server that does it in its place must not be followed with the key.
        with _send(
            self._api,
            method,
            self._base_url + path,
            label=label,
            auth=auth,
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
            **request,
        ) as response:
            raw = _content(response, label)
        status, trace_id = response.status_code, response.headers.get("X-Trace-ID")
        server_time = parse_http_date(response.headers.get("Date"))
        if server_time is not None:
            self.server_time = server_time
        body = self._decoded(status, raw, label)
        if response.is_redirect:
            message = f"base_url: must be that of the API, got a redirect (HTTP {status})"
            raise SettingsError(message, status=status, effect=Effect.UNKNOWN)
        if status >= 300:
            raise error_from_response(status, body, response.headers, request=label, kind=kind, detail=not has_text)
        wrong = problem_with_success(body, list_field)
        if wrong is None and server_time is None:
            # The worker's clock is no stand-in: what is reckoned with the server's must not depend on the worker. An
            # error above may be a proxy's, and is raised without a time too.
            wrong = "names no time that can be read (header Date)"
        if wrong is not None or server_time is None:
            raise APIConnectionError(f"{label}: the response {wrong}", status=status, trace_id=trace_id)
        return APIResponse(body, status, trace_id, server_time, kind)

    def _decoded(self, status: int, content: bytes, label: str) -> Any:
        """The JSON body, or None if it is none: of an error, it may be a proxy's page, whose status says enough."""
        if status == 204:
            return {}
        try:
            decoded = decode_json(content)
        except ValueError:
            return None
        if decoded.repaired and not self._counter.add(repaired=1).repaired:
            log.warning(
                "%s: the response is not well-formed JSON or holds U+0000, and was repaired; said once for all", label
            )
        return decoded.value

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
        label = f"{method} file at {urlsplit(url).hostname}"
        self._counter.add(requests=1)
        with _send(
            self._files,
            method,
            url,
            label=label,
            data=data,
            headers=headers,
            timeout=self._timeout,
            stream=True,
            # A redirected upload arrives as a GET, which would seem to have worked.
            allow_redirects=data is None,
        ) as response:
            if response.status_code >= 300:
                raise error_from_response(response.status_code, None, response.headers, request=label)
            return _save(response, into, max_bytes, label) if into is not None else 0


def check_base_url(url: str) -> str:
    """Return the URL without a slash at its end.

    Raises:
        SettingsError: it is none of an API. It may hold a password, so only its host is shown.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise SettingsError("base_url: must be a URL, got something else") from None
    if parts.scheme not in ("http", "https") or not host or url != url.strip():
        raise SettingsError(f"base_url: must be an http or https URL, got scheme {parts.scheme!r} and host {host!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(f"base_url: must hold no user, password, query or fragment, got one with host {host!r}")
    if "/v3" in parts.path:
        raise SettingsError(f"base_url: must end in /api/partner, without /v3, got path {parts.path!r}")
    return url.rstrip("/")


def _new_session(pool_size: int) -> requests.Session:
    """Make a session that keeps `pool_size` connections to a host and may be used from as many threads."""
    session = requests.Session()
    session.auth = NoAuth()  # the key goes with each request to the API alone
    session.headers["User-Agent"] = (
        f"linq-connectors/{version('linq-connectors')} python/{platform.python_version()} "
        f"requests/{requests.__version__}"
    )
    # The API sets no cookies, and a cookie jar is the one part of a session that threads would share and change.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_maxsize=pool_size, pool_block=True)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _settle_environment(session: requests.Session, url: str) -> None:
    """Read proxies and CA bundle from the environment once, and not, as requests does, for each request."""
    session.proxies.update(requests.utils.get_environ_proxies(url, no_proxy=None))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.trust_env = False


def _send(session: requests.Session, method: str, url: str, *, label: str, **options: Any) -> requests.Response:
    """Send a request that is called `label` in errors; `options` as `requests.Session.request` takes them."""
    try:
        return session.request(method, url, **options)
    except (InvalidURL, MissingSchema, InvalidSchema, InvalidHeader) as error:
        failure: LinqError = InvalidRequestError(f"{label}: can't be sent ({type(error).__name__})")
    except requests.RequestException as error:
        effect = Effect.NONE if _never_connected(error) else Effect.UNKNOWN
        failure = APIConnectionError(f"{label}: no usable response ({_reason(error)})", effect=effect)
    # Raised out here, where it takes nothing along: the request that hangs on the error holds the key and the text.
    raise failure


def _reason(error: requests.RequestException) -> str:
    """What went wrong, by class, and by the words of the system where it was the system that refused."""
    root: BaseException = error
    while root.__context__ is not None:
        root = root.__context__
    words = getattr(root, "strerror", None)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _never_connected(error: requests.RequestException) -> bool:
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
    """The whole body, in pieces as large as it comes: requests by itself takes 10 kB each time, ten times a page."""
    return b"".join(_pieces(response, 1024 * 1024, f"{label}: no usable response"))


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
    for piece in _pieces(response, 64 * 1024, f"{label}: the file was cut short"):
        size += len(piece)
        if max_bytes is not None and size > max_bytes:
            raise InvalidRequestError(f"{label}: max_bytes: must be {max_bytes} at most, got more")
        into.write(piece)
    into.truncate()
    return size
