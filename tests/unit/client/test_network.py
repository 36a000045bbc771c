"""Who may be talked to and by which way: base URLs, proxies, CA certificates, and the hosts of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import certifi
import pytest

from linq_client import InvalidRequestError, LinqClient, SettingsError
from linq_client._network import FileHosts, Proxies
from tests.support.scripted_server import KEY

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


@pytest.mark.parametrize("no_proxy", ["2001:db8::7", "[2001:db8::7]", "localhost, [2001:db8::7]", "2001:db8::/32"])
def test_an_ipv6_address_is_exempt_in_either_form(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert Proxies(None).for_url("https://[2001:db8::7]:8443/f") == {}
    assert Proxies(None).for_url("https://[2001:db9::7]/f") == {"all": "http://proxy.example:3128"}


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
