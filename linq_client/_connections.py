"""Connections of `requests` that `_deadline` can end, and whose responses are those to their requests."""

from __future__ import annotations

import os
import socket
from http.client import SWITCHING_PROTOCOLS, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from requests import Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.poolmanager import PoolManager
from urllib3.util.connection import allowed_gai_family

from linq_client._deadline import Watched

if TYPE_CHECKING:
    _Base = HTTPConnection
else:
    _Base = object


class WatchedAdapter(HTTPAdapter):
    """Opens connections that belong to the exchange of their thread; see `requests.adapters.HTTPAdapter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._process = os.getpid()

    def send(self, *args: Any, **kwargs: Any) -> Response:
        if self._process != os.getpid():
            self._leave_connections()
        return super().send(*args, **kwargs)

    def _leave_connections(self) -> None:
        """Begin with no connection in a process that was forked: of one, two would read each other's responses."""
        self.proxy_manager = {}
        args, kwargs = self._pool_arguments
        self.init_poolmanager(*args, **kwargs)
        self._process = os.getpid()  # the last: another thread must not find the old ones

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self._pool_arguments = (args, kwargs)
        super().init_poolmanager(*args, **kwargs)
        _watch(self.poolmanager, _Direct)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        is_known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not is_known:
            _watch(manager, _BySocks if proxy.lower().startswith("socks") else _Direct)
        return manager


class _Response(HTTPResponse):
    """Reads past what a server or a proxy says before its response: that it is at work, or what may be of use (1xx).

    `http.client` does so with 100 alone. It takes the others for the response, and the one that follows for that to the
    next request on this connection, which is another chat's or another message's.
    """

    def begin(self) -> None:
        super().begin()
        while self.status < 200:
            if self.status == SWITCHING_PROTOCOLS:
                raise HTTPException("the server changes to a protocol that it was not asked for")
            self.headers = self.msg = None  # type: ignore[assignment]  # begins once more
            super().begin()


class _Connection(Watched, _Base):
    response_class = _Response

    def connect(self) -> None:
        self.attach()
        super().connect()

    def request(self, *args: Any, **kwargs: Any) -> None:
        self.attach()
        super().request(*args, **kwargs)

    def close(self) -> None:
        super().close()
        self.drop()


class _Direct(_Connection):
    def _new_conn(self) -> socket.socket:
        """Connect as urllib3 does, which does not show its socket before it is connected."""
        try:
            return self._connect_to_any()
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host} in time") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection to {self.host}: {error}") from error

    def _connect_to_any(self) -> socket.socket:
        failure = OSError("the host has no address")
        host = self._dns_host.strip("[]")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, self.port, allowed_gai_family(), socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout)
                self.adopt(sock)
                sock.connect(address)
                return sock
            except OSError as error:
                sock.close()
                self.drop()
                failure = error
        raise failure


class _BySocks(_Connection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self.adopt(sock)
        return sock


def _watch(manager: PoolManager, mixin: type[_Connection]) -> None:
    """Let a pool manager make connections that are watched."""
    manager.pool_classes_by_scheme = {
        scheme: _watched(pool, mixin) for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _watched(pool: type[HTTPConnectionPool], mixin: type[_Connection]) -> type[HTTPConnectionPool]:
    connection = type(f"Watched{pool.ConnectionCls.__name__}", (mixin, pool.ConnectionCls), {})
    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": connection})
