"""One HTTP exchange: the sessions, what can go wrong on the way, and the bytes of an answer. For `client` alone.

Nothing that is raised here holds the request, since the request holds the key and the text of messages.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from threading import Lock
from typing import IO, Any

import requests
from pydantic_core import from_json
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader, InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError, ProxyError

from linq_client.errors import APIConnectionError, AuthenticationError, Effect, InvalidRequestError, LinqError

log = logging.getLogger(__name__)


class BearerAuth(requests.auth.AuthBase):
    """Puts the key on a request. As an auth object, and not a header, it also keeps `~/.netrc` from replacing it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def holds(self, key: str) -> bool:
        """Whether this is the key."""
        return self._key == key


class Credentials:
    """The API key, and how to get another one when it is refused; safe to use from several threads."""

    def __init__(self, key: str, renew_key: Callable[[], str] | None) -> None:
        self.present = BearerAuth(key)
        self._renew_key = renew_key
        self._lock = Lock()

    def renew(self, refused: BearerAuth, error: AuthenticationError) -> bool:
        """Whether there is another key than the refused one now. Where that can't be known, `error` is not permanent.

        Threads whose requests fail together ask one after the other, and find what the first of them got.
        """
        with self._lock:
            if self.present is not refused:
                return True
            if self._renew_key is None:
                return False
            try:
                key = self._renew_key()
            except Exception as failed:
                # Only its class: what it says may hold the key.
                log.warning("The API refused the key, and renew_key failed: %s", type(failed).__name__)
                error._lasting = False
                return False
            if refused.holds(key):
                return False
            log.info("The API refused the key, going on with another one from renew_key")
            self.present = BearerAuth(key)
            return True


class NoAuth(requests.auth.AuthBase):
    """Nothing, not even what `~/.netrc` would give."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def new_session(pool_size: int, auth: requests.auth.AuthBase) -> requests.Session:
    """Make a session that keeps `pool_size` connections to a host and may be used from as many threads."""
    session = requests.Session()
    session.auth = auth
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


def settle_environment(session: requests.Session, url: str) -> None:
    """Read proxies and CA bundle from the environment once, and not, as requests does, for each request."""
    session.proxies.update(requests.utils.get_environ_proxies(url, no_proxy=None))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.trust_env = False


def send(session: requests.Session, method: str, url: str, *, label: str, **options: Any) -> requests.Response:
    """Send a request that is called `label` in errors; `options` as `requests.Session.request` takes them."""
    try:
        return session.request(method, url, **options)
    except (InvalidURL, MissingSchema, InvalidSchema, InvalidHeader) as error:
        failure: LinqError = InvalidRequestError(f"{label}: can't be sent ({type(error).__name__})")
    except requests.RequestException as error:
        effect = Effect.NONE if _never_connected(error) else Effect.UNKNOWN
        failure = APIConnectionError(f"{label}: no usable answer ({_reason(error)})", effect=effect)
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


def content(response: requests.Response, label: str) -> bytes:
    """The whole body, in pieces as large as it comes: requests by itself takes 10 kB at a time, ten times a page."""
    return b"".join(_pieces(response, 1024 * 1024, f"{label}: no usable answer"))


def decoded(status: int, content: bytes) -> Any:
    """The JSON body, or None if it is none: of an error, it may be a proxy's page, whose status says enough."""
    if status == 204:
        return {}
    try:
        return from_json(content)
    except ValueError:
        return None


def _pieces(response: requests.Response, size: int, trouble: str) -> Iterator[bytes]:
    """Yield a body, and raise `APIConnectionError` where it breaks off."""
    try:
        yield from response.iter_content(size)
    except requests.RequestException as error:
        cut = _reason(error)
    else:
        return
    raise APIConnectionError(f"{trouble} ({cut})")


def save(response: requests.Response, into: IO[bytes], max_bytes: int | None, label: str) -> int:
    """Write a body to a file, up to `max_bytes`, and return its size."""
    size = 0
    for piece in _pieces(response, 64 * 1024, f"{label}: the file was cut short"):
        size += len(piece)
        if max_bytes is not None and size > max_bytes:
            raise InvalidRequestError(f"{label}: max_bytes: must be {max_bytes} at most, got more")
        into.write(piece)
    into.truncate()
    return size


def server_date(response: requests.Response) -> datetime | None:
    """The server's clock, None if the answer names no time that can be read."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(timezone.utc)
    except (KeyError, ValueError, OverflowError):
        return None
