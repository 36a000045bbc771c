"""Who may be talked to and by which way: base URLs, proxies, CA certificates, and the hosts of files."""

from __future__ import annotations

import io
import socket
import threading
from pathlib import Path
from typing import Any

import certifi
import pytest

from linq_client import APIConnectionError, InvalidRequestError, LinqClient, LinqError, SettingsError
from linq_client._network import FileHosts, Proxies
from tests.client.server import KEY, OK, Handler, RawServer, Response, client_of, raw_serving, serving

API = "https://api.example/api/partner"


def made(**settings: Any) -> LinqClient:
    return LinqClient(KEY, **{"base_url": API} | settings)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://api.example/api/partner", "must be an https URL.*got http to host 'api.example'; allow_http"),
        ("http://10.1.2.3/api/partner", "allow_http"),
        ("http://localhost.example", "allow_http"),
        ("https://api.example:99999", "port"),
        ("https://api.example:0", "port"),
        ("https://api.example:port", "port"),
        ("https://api.example/a b", "spaces"),
        (" https://api.example", "spaces"),
        ("https://api.exa\nmple", "spaces, control characters"),
        ("https://api.example\\@evil.example", "backslashes"),
        ("https://[::1", "can't be read"),
        ("https://", "without a host"),
        ("api.example/api/partner", "without a host"),
        ("", "without a host"),
        (f"https://{'a' * 70}.example", "no name"),
        ("https://a..example", "no name"),
        ("ftp://api.example", "scheme 'ftp'"),
        ("https://user:secret@api.example", "must hold no user"),
        ("https://api.example/api/partner/v3", "without /v3"),
        (5, "no text"),
    ],
)
def test_a_base_url_that_is_none_is_refused(url: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=rf"^base_url: .*{words}") as caught:
        made(base_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:9", "http://emulator.localhost", "http://127.1"]
)
def test_http_is_for_this_machine(url: str) -> None:
    made(base_url=url)


def test_http_to_others_can_be_allowed() -> None:
    assert made(base_url="http://emulator:8080/api/partner/", allow_http=True).base_url.endswith("/api/partner")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("", "without a host"),
        ("proxy.example:3128", "without a host, with scheme 'proxy.example'"),
        ("ftp://proxy.example", "scheme 'ftp'"),
        ("http://user:secret@proxy.example:99999", "port"),
        ("socks5h://user:secret@proxy.example", "PySocks"),
    ],
)
def test_a_proxy_that_is_none_is_refused(proxy: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linq_client._network.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=rf"^proxy: .*{words}") as caught:
        made(proxy=proxy)
    assert "secret" not in str(caught.value)


def test_a_socks_proxy_of_the_environment_needs_pysocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linq_client._network.find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example")
    with pytest.raises(SettingsError, match=r"^ALL_PROXY .*PySocks"):
        made()


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


@pytest.mark.parametrize(
    ("no_proxy", "bypassed"),
    [
        ("", False),
        ("*", True),
        ("files.example", True),
        (".example", True),
        ("example:443", False),
        ("10.0.0.0/8", False),
        ("192.0.2.0/24", False),
    ],
)
def test_each_host_of_files_has_its_own_way(no_proxy: str, bypassed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    proxies = Proxies(None)
    monkeypatch.setenv("HTTPS_PROXY", "http://too-late.example")
    assert proxies.for_url("https://files.example/f") == ({} if bypassed else {"all": "http://proxy.example:3128"})
    assert bool(proxies.for_url("https://192.0.2.7/f")) is (no_proxy not in ("*", "192.0.2.0/24"))


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "verify"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_ca_certificates_that_are_none_are_refused(
    name: str, content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if name != "verify":
        monkeypatch.setenv(name, str(path))
    with pytest.raises(SettingsError, match=rf"^{name}: must be a file or folder of CA certificates"):
        made(verify=path if name == "verify" else True)


@pytest.mark.parametrize("verify", [False, None, ""])
def test_certificates_are_always_verified(verify: Any) -> None:
    with pytest.raises(SettingsError, match=r"^verify: "):
        made(verify=verify)


def test_ca_certificates_that_are_given_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    made(verify=certifi.where())
    made(verify=tmp_path)


HERE = "http://127.0.0.1:8000/api/partner"


@pytest.mark.parametrize(
    ("base_url", "url", "is_allowed"),
    [
        (API, "https://files.example/f?signature=s", True),
        (API, "https://93.184.216.34/f", True),
        (API, "https://api.example/f", True),
        (API, "http://files.example/f", False),
        (API, "http://api.example/f", False),
        (API, "file:///etc/passwd", False),
        (API, "https://localhost/f", False),
        (API, "https://metadata.localhost/f", False),
        (API, "https://127.0.0.1/f", False),
        (API, "https://127.1/f", False),
        (API, "https://2130706433/f", False),
        (API, "https://0x7f000001/f", False),
        (API, "https://0177.0.0.1/f", False),
        (API, "https://0.0.0.0/f", False),
        (API, "https://[::1]/f", False),
        (API, "https://[::ffff:127.0.0.1]/f", False),
        (API, "https://[::ffff:a9fe:a9fe]/f", False),
        (API, "https://[fe80::1%25eth0]/f", False),
        (API, "https://169.254.169.254/latest", False),
        (API, "https://10.0.0.1/f", False),
        (API, "https://192.168.0.1/f", False),
        (API, "https://100.64.0.1/f", False),
        (API, "https://224.0.0.1/f", False),
        (API, "https://127.0.0.1./f", False),
        (API, "https://[::1", False),
        (API, f"https://{'a' * 70}.example/f", False),
        (API, "https://files.example:99999/f", False),
        (API, "https://files.example\\@localhost/f", False),
        (API, "", False),
        (HERE, "http://127.0.0.1:9000/f", True),
        (HERE, "http://localhost:9000/f", True),
        (HERE, "https://127.0.0.1/f", True),
        (HERE, "https://files.example/f", True),
        (HERE, "http://files.example/f", False),
        (HERE, "http://169.254.169.254/f", False),
        ("https://localhost:8443/api", "http://localhost:9000/f", False),
        # Of an emulator in a network of containers, whose http has been allowed.
        ("http://emulator:8080/api", "http://emulator:8080/f", True),
        ("http://emulator:8080/api", "http://emulator:9090/f", False),
        ("http://10.0.0.5:8080/api", "http://10.0.0.5:8080/f", True),
        ("http://10.0.0.5:8080/api", "http://10.0.0.6:8080/f", False),
    ],
)
def test_which_files_may_be_asked_for(base_url: str, url: str, is_allowed: bool) -> None:
    hosts = FileHosts(base_url)
    if is_allowed:
        hosts.check(url, "file")
    else:
        with pytest.raises(InvalidRequestError, match=r"^file: must be "):
            hosts.check(url, "file")


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
