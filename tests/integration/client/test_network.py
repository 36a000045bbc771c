"""Who may be talked to and by which way: base URLs, proxies, CA certificates, and the hosts of files."""

from __future__ import annotations

import io
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from linq_client import APIConnectionError, InvalidRequestError, LinqClient, LinqError
from tests.support.scripted_server import KEY, OK, Handler, RawServer, Response, client_of, raw_serving, serving

API = "https://api.example/api/partner"


def made(**settings: Any) -> LinqClient:
    return LinqClient(KEY, **{"base_url": API} | settings)


def test_all_requests_go_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is given counts, whatever the environment says."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(OK) as proxy, made(base_url="http://api.example/api", allow_http=True, proxy=proxy.url) as client:
        client.phone_numbers.list()
        client.transfer("GET", "http://api.example/f", into=io.BytesIO())
        assert [path for _, path, _ in proxy.seen] == [
            "http://api.example/api/v3/phone_numbers",
            "http://api.example/f",
        ]


def test_https_is_tunnelled() -> None:
    lines: list[bytes] = []

    def refuse(server: RawServer, connection: socket.socket) -> None:
        lines.append(connection.recv(65536).splitlines()[0])
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with raw_serving(refuse) as proxy, made(proxy=proxy.url, max_retries=0) as client:
        with pytest.raises(APIConnectionError):
            client.phone_numbers.list()
    assert [line.rsplit(b" ", 1)[0] for line in lines] == [b"CONNECT api.example:443"]


def test_a_file_that_may_not_be_asked_for_is_not() -> None:
    with serving(OK) as server, made(max_retries=0) as client:
        for url in (f"{server.url}/f", f"https://127.0.0.1:{server.server_port}/f"):
            with pytest.raises(InvalidRequestError, match="file: must be"):
                client.transfer("GET", url, into=io.BytesIO())
        assert server.seen == []


def moved(to: str, status: int = 302) -> Response:
    return status, {"Location": to, "Set-Cookie": "a=b"}, b""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_download_follows_redirects(status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing that was meant for another host, or for none: no key, no password of `~/.netrc`, no cookie."""
    netrc = tmp_path / "netrc"
    netrc.write_text(
        "machine localhost login someone password secret\nmachine 127.0.0.1 login someone password secret\n"
    )
    monkeypatch.setenv("NETRC", str(netrc))
    with serving((200, {}, b"bytes")) as store:
        at_store = f"http://localhost:{store.server_port}/f"
        with serving(moved("/again", status), moved(at_store, status)) as server, client_of(server) as client:
            into = io.BytesIO()
            assert client.transfer("GET", f"{server.url}/f", headers={"X-Mine": "1"}, into=into) == 5
            assert into.getvalue() == b"bytes"
            for _, _, headers in server.seen + store.seen:
                assert not headers.keys() & {"authorization", "cookie"}
            assert ["x-mine" in headers for _, _, headers in server.seen + store.seen] == [True, False, False]


def test_redirects_of_a_download_end() -> None:
    with serving(moved("/f")) as server, client_of(server) as client:
        with pytest.raises(LinqError, match="HTTP 302"):
            client.transfer("GET", f"{server.url}/f", into=io.BytesIO())
        assert len(server.seen) == 4


@pytest.mark.parametrize(
    "to",
    [
        "http://files.example/f",
        "http://169.254.169.254/f",
        "file:///etc/passwd",
        "ftp://files.example/f",
        "https://[::1",
        "https://files.example:99999/",
        "//10.0.0.1/f",
        "https://a b/",
    ],
)
def test_a_redirect_is_checked_as_the_first_url_was(to: str) -> None:
    with serving(moved(to)) as server, client_of(server) as client:
        with pytest.raises(InvalidRequestError, match=r"^file: must be "):
            client.transfer("GET", f"{server.url}/f", into=io.BytesIO())
        assert len(server.seen) == 1


def test_a_response_that_is_too_large_is_left_early() -> None:
    """A few bytes can become gigabytes."""
    gone = threading.Event()

    class Endless(Handler):
        def _respond(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 1_000_000)
            except OSError:
                gone.set()

        do_GET = _respond

    with serving(OK, handler=Endless) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match="larger than 67108864 bytes"):
            client.phone_numbers.list()
        assert gone.wait(60)
        assert client.stats.requests == 1
