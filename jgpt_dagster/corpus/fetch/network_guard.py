"""The connections of a download: to which addresses they may lead, and how slow they may be.

An answer may redirect to any name, and that name may resolve to any address. So names are resolved here, the addresses
are checked, and the connection is made to the checked address: a second look at the name could give another one. The
first address of a download is that of a setting and is not checked. A redirect from a public address must lead to a
public one, and no redirect leads to where clouds keep the credentials of a machine, such as link-local addresses.
Behind a proxy, which resolves names itself, only an address that is written out in a URL can be checked.
"""

import ipaddress
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from jgpt_dagster.corpus.fetch.errors import DownloadError, TemporaryError

# A connection that delivers less than this over so many seconds of waiting has stalled: at this speed, a Japanese
# Wikipedia would take two weeks.
_MINIMUM_BYTES_PER_SECOND = 4 << 10
_WINDOW_SECONDS = 60.0
# All that may arrive before a body: headers, and any number of interim answers (1xx).
_MAX_HEAD_BYTES = 1 << 20
# Where clouds answer for a machine besides 169.254.169.254: Amazon (IPv6), Alibaba, Azure, Oracle.
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddressError(DownloadError):
    """A redirect leads to an address that a server must not send us to."""


class AddressGuard:
    """The addresses of one request and its redirects. Call `start` before a request and `redirect` before each hop."""

    def __init__(self) -> None:
        self.received = 0
        """The bytes that arrived since the last hop: of the head of an answer and, once that is read, of its body."""
        self.start()

    def start(self) -> None:
        """Forget earlier requests: the next connection leads to where a setting says."""
        self._redirected = self._was_public = False
        self._begin_head()

    def redirect(self) -> None:
        """The next connection leads to where an answer says."""
        self._redirected = True
        self._begin_head()

    def end_head(self) -> None:
        """The head of the answer has been read; what arrives now belongs to its body."""
        self._in_head, self.received = False, 0

    def count(self, size: int) -> None:
        """Count bytes that have arrived. Raises TemporaryError if the head of an answer is too long."""
        self.received += size
        if self._in_head and self.received > _MAX_HEAD_BYTES:
            raise TemporaryError(f"an answer without a body after {self.received:,} bytes")

    def _begin_head(self) -> None:
        self._in_head, self.received = True, 0

    def require_allowed(self, address: str) -> None:
        """Raise ForbiddenAddressError if a redirect must not lead to an IP address."""
        if not self._redirected:
            return
        found = _embedded_ipv4(ipaddress.ip_address(address))
        if found.is_link_local or found.is_unspecified or found.is_multicast or found in _METADATA:
            raise ForbiddenAddressError("a redirect leads to a link-local address or one that a cloud reserves")
        if self._was_public and not _is_public(address):
            raise ForbiddenAddressError("a redirect leads from a public address to a private one")

    def visited(self, address: str | None) -> None:
        """Note the address of a connection; None for a name that only a proxy knows the address of."""
        self._was_public = self._was_public or address is None or _is_public(address)


class GuardedTransport(httpx.BaseTransport):
    """Sends requests over connections that `AddressGuard` allows, through the proxy that the environment names."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._transports: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = _proxy_of(request.url)
        if proxy is not None:
            address = _literal_address(request.url.host)
            if address is not None:
                self._guard.require_allowed(address)
            self._guard.visited(address)
        if proxy not in self._transports:
            # A connection that is kept would serve a later request without a look at its address.
            transport = httpx.HTTPTransport(proxy=proxy, limits=httpx.Limits(max_keepalive_connections=0))
            # httpx has no setting for this part of httpcore.
            transport._pool._network_backend = _Backend(self._guard, proxied=proxy is not None)
            self._transports[proxy] = transport
        return self._transports[proxy].handle_request(request)

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


class _Backend(httpcore.NetworkBackend):
    """Connects to checked addresses, or to a proxy at any address."""

    def __init__(self, guard: AddressGuard, *, proxied: bool) -> None:
        self._guard, self._proxied = guard, proxied
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name of the host cannot be resolved") from error
        addresses = list(dict.fromkeys(str(socket_address[0]) for *_, socket_address in found))
        if not self._proxied:
            for address in addresses:
                self._guard.require_allowed(address)
        *others, last = addresses
        for address in others:
            try:
                return self._connected(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connected(last, port, timeout, local_address, socket_options)

    def _connected(self, address: str, port: int, *options: Any) -> httpcore.NetworkStream:
        stream = self._sockets.connect_tcp(address, port, *options)
        if not self._proxied:
            self._guard.visited(address)
        return _TimedStream(stream, self._guard)


class _TimedStream(httpcore.NetworkStream):
    """A connection that is given up once it is too slow, whatever it sends: headers, chunks, or single bytes."""

    def __init__(self, stream: httpcore.NetworkStream, guard: AddressGuard) -> None:
        self._stream, self._guard = stream, guard
        self._received, self._waited = 0, 0.0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        begin = time.monotonic()
        data = self._stream.read(max_bytes, timeout)
        self._guard.count(len(data))
        self._received += len(data)
        self._waited += time.monotonic() - begin
        if data and self._waited >= _WINDOW_SECONDS:
            if self._received < _MINIMUM_BYTES_PER_SECOND * self._waited:
                raise TemporaryError(f"stalled: {self._received:,} bytes in {self._waited:.0f} s")
            self._received, self._waited = 0, 0.0
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _is_public(address: str) -> bool:
    found = _embedded_ipv4(ipaddress.ip_address(address))
    return found.is_global and not found.is_multicast


def _embedded_ipv4(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64); any other as it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _literal_address(host: str) -> str | None:
    """Return the address that a host's name is, in any spelling that resolvers take (127.1, 0x7f000001, localhost)."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _proxy_of(url: httpx.URL) -> str | None:
    """Return the URL of the proxy that the environment names for a URL (`https_proxy` and the like)."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(url.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
