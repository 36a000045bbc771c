"""Who may be talked to, and by which way: the base URL, the URLs of files, proxies and CA certificates.

All of it is settled when a client is made: `requests` by itself reads the environment again for each request.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from requests.compat import proxy_bypass_environment  # type: ignore[attr-defined]  # not in the stubs
from requests.utils import select_proxy

from linq_client.errors import InvalidRequestError, SettingsError

_PROXY_SCHEMES: Final = frozenset(("http", "https", "socks4", "socks4a", "socks5", "socks5h"))
_CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

#: Browsers and `urlsplit` remove or convert some of these, so that two readers may see two hosts.
_NOT_IN_A_URL: Final = re.compile(r"[\s\\\x00-\x1f\x7f]")


def check_base_url(url: str, *, allow_http: bool = False) -> str:
    """Return the URL without a slash at its end.

    Args:
        allow_http: whether the key may go over the network in the clear.

    Raises:
        SettingsError: it is none of an API. It may hold a password, so only its host is shown.
    """
    try:
        parts = _split(url)
    except ValueError as error:
        raise SettingsError(f"base_url: must be a URL, got one {error}") from None
    host = parts.hostname
    if parts.scheme not in ("http", "https"):
        raise SettingsError(f"base_url: must be an http or https URL, got scheme {parts.scheme!r} and host {host!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(f"base_url: must hold no user, password, query or fragment, got one with host {host!r}")
    if "/v3" in parts.path:
        raise SettingsError(f"base_url: must end in /api/partner, without /v3, got path {parts.path!r}")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise SettingsError(
            f"base_url: must be an https URL, since http sends the API key in the clear, got http to host {host!r}; "
            "allow_http permits it"
        )
    return url.rstrip("/")


class FileHosts:
    """Which URLs of files may be asked for: they come from the API, which may pass on what others have written.

    A host that is named, and resolves to an address of a private network, is allowed: storage can be reached that way.

    Args:
        base_url: of the API. Whatever has its origin is allowed; on this machine (an emulator), other ports are, too.
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._origin = _origin(parts)
        self._is_local = _is_loopback(parts.hostname)
        self._allows_local_http = self._is_local and parts.scheme == "http"

    def check(self, url: str, what: str) -> str:
        """Return the host of a URL.

        Args:
            what: it is called in errors.

        Raises:
            InvalidRequestError: it may not be asked for. It can hold a signature, so only its host is shown.
        """
        try:
            parts = _split(url)
        except ValueError as error:
            raise InvalidRequestError(f"{what}: must be a URL, got one {error}") from None
        host = parts.hostname or ""
        if _origin(parts) == self._origin:
            return host
        if parts.scheme != "https" and not (parts.scheme == "http" and self._allows_local_http and _is_loopback(host)):
            raise InvalidRequestError(f"{what}: must be an https URL, got scheme {parts.scheme!r} and host {host!r}")
        if not self._is_local and not _is_public(host):
            raise InvalidRequestError(f"{what}: must be on a public host, got {host!r}")
        return host


class Proxies:
    """The proxies of a client.

    Args:
        proxy: URL of the one that all requests go by; None for those of the environment (`HTTPS_PROXY`, `NO_PROXY`).

    Raises:
        SettingsError: it is none, or can't be used. It may hold a password, so only scheme and host are shown.
    """

    def __init__(self, proxy: str | None) -> None:
        self._is_set = proxy is not None
        self._is_of_system = not self._is_set and not getproxies_environment()
        self._proxies = {"all": proxy} if proxy is not None else getproxies()
        if proxy is not None:
            _check_proxy(proxy, "proxy")
        else:
            for name in ("http", "https", "all"):
                if self._proxies.get(name, "").startswith("socks"):
                    _check_proxy(self._proxies[name], f"{name.upper()}_PROXY (environment)")

    def for_url(self, url: str) -> dict[str, str]:
        """Return the proxies for a URL, as `requests` takes them."""
        if not self._is_set and self._bypasses(urlsplit(url)):
            return {}
        chosen = select_proxy(url, self._proxies)
        return {"all": chosen} if chosen else {}

    def _bypasses(self, url: SplitResult) -> bool:
        """Whether `NO_PROXY`, or the settings of the system, exempt a URL; `requests` would change the environment."""
        host = url.hostname or ""
        if self._is_of_system:
            return bool(proxy_bypass(host))
        if proxy_bypass_environment(f"{host}:{url.port}" if url.port else host, self._proxies):
            return True
        address = _address(host)
        return address is not None and any(
            address in network for network in map(_network, self._proxies.get("no", "").split(",")) if network
        )


def ca_certificates(verify: bool | str | os.PathLike[str]) -> bool | str:
    """Return what `requests` takes as `verify`.

    Args:
        verify: True for the CA certificates of the environment (`REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`), and without
            those for the ones that `requests` comes with; or the path to a file or folder of CA certificates.

    Raises:
        SettingsError: it can't be used.
    """
    if verify is True:
        for name in _CA_VARIABLES:
            if path := os.environ.get(name):
                return _checked_bundle(path, name)
        return True
    if not isinstance(verify, str | os.PathLike) or not os.fspath(verify):
        raise SettingsError(f"verify: must be True or the path to CA certificates, got {verify!r}")
    return _checked_bundle(os.fspath(verify), "verify")


def _checked_bundle(path: str, name: str) -> str:
    if os.path.isdir(path):
        return path
    try:
        status = os.stat(path)
        _load_certificates(path, status.st_mtime_ns, status.st_size)
    except OSError as error:  # an SSLError is one
        words = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"{name}: must be a file or folder of CA certificates, got {path!r}: {words}") from None
    return path


@lru_cache(maxsize=16)
def _load_certificates(path: str, modified_ns: int, size: int) -> None:
    """Try whether a file as it stands has certificates: the usual one has 150, and takes longer than ten requests."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)


def _check_proxy(url: str, name: str) -> None:
    try:
        parts = _split(url)
    except ValueError as error:
        raise SettingsError(f"{name}: must be the URL of a proxy, got one {error}") from None
    if parts.scheme not in _PROXY_SCHEMES:
        raise SettingsError(
            f"{name}: must be a URL with one of {', '.join(sorted(_PROXY_SCHEMES))}, got scheme {parts.scheme!r}"
        )
    if parts.scheme.startswith("socks") and find_spec("socks") is None:
        raise SettingsError(
            f"{name}: a SOCKS proxy needs PySocks, which is not installed (pip install 'requests[socks]')"
        )


def _split(url: str) -> SplitResult:
    """Take a URL apart.

    Raises:
        ValueError: it is none; the text says why, and follows "one".
    """
    if not isinstance(url, str):
        raise ValueError("that is no text")
    if _NOT_IN_A_URL.search(url):
        raise ValueError("with spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise ValueError("that can't be read") from None
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("whose port is not from 1 to 65535")
    if not host:
        raise ValueError(f"without a host, with scheme {parts.scheme!r}")
    try:
        if not host.encode("idna"):
            raise UnicodeError
    except UnicodeError:
        raise ValueError("whose host is no name") from None
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, None for a name; in the older forms too that resolvers take (2130706433, 0x7f.1)."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _network(text: str) -> IPv4Network | IPv6Network | None:
    """The network that an entry of `NO_PROXY` names; an IPv6 address may stand in brackets, as in URLs."""
    try:
        return ip_network(text.strip().removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        return None


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _is_loopback(host: str | None) -> bool:
    name = (host or "").rstrip(".")
    address = _address(name)
    if address is not None:
        return _embedded(address).is_loopback
    return name == "localhost" or name.endswith(".localhost")


def _is_public(host: str) -> bool:
    """Whether a host is a name, or an address that anyone can reach."""
    address = _address(host.rstrip("."))
    if address is None:
        return not _is_loopback(host)
    address = _embedded(address)
    return address.is_global and not address.is_multicast
