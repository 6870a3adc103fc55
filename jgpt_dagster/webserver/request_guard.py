"""The guard in front of Dagster's webserver: which requests it answers, as a function and as an ASGI application.

Dagster answers whoever reaches it, and a browser lets any web page send requests to any address. The guard accepts what
the UI's own pages send and what programs send that are not browsers:

* The name in `Host` is known. A page that resolves its own name to the server's address (DNS rebinding) has another.
* `Origin`, `Sec-Fetch-Site` or else `Referer` (https://www.w3.org/TR/fetch-metadata/) name no other site, for WebSocket
  handshakes too. A link from elsewhere may open a page of the UI, nothing else.
* What can have an effect is a POST of `application/json`. Forms cannot send that type, and a script of another site
  only after a preflight, which is refused.

Its response headers keep other sites from framing the UI and from loading its files.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")
_URL = re.compile(r"(https?)://([^/?#]*)(?:[/?#].*)?", re.DOTALL)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
# A header given twice is read differently by different programs.
_SINGLE_HEADERS = ("host", "origin", "referer", "content-type", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
# Routes of Dagster that return data or change something; every other path is a page or a static file.
_DATA_ROUTES = frozenset(
    {
        "graphql",
        "logs",
        "notebook",
        "download_debug",
        "report_asset_materialization",
        "report_asset_check",
        "report_asset_observation",
    }
)
_RESPONSE_HEADERS = {
    "x-frame-options": "SAMEORIGIN",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused, with the HTTP status of the answer."""

    status: int
    reason: str


class RequestGuard:
    """An ASGI application that passes on to another one what `refusal` accepts, and answers the rest itself."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        """Guard `app`. `hosts` are the names and addresses of the server in addition to loopback."""
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = refusal(scope, self._hosts)
        if refused is None:
            await self._app(scope, receive, _with_response_headers(send))
        elif scope["type"] == "http":
            answer = PlainTextResponse(f"{refused.reason}\n", refused.status)
            await answer(scope, receive, _with_response_headers(send))
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": refused.reason[:100]})


def refusal(scope: Scope, hosts: Collection[str]) -> Refusal | None:
    """Return why an ASGI HTTP or WebSocket request is refused, None if it is accepted.

    Its `Host` may name a loopback address, one of `hosts`, or the address at which the connection arrived.
    """
    headers = Headers(scope=scope)
    for name in _SINGLE_HEADERS:
        if len(headers.getlist(name)) > 1:
            return Refusal(400, f"The request has more than one header {name}.")
    # Dagster's router ignores a line end after a path.
    if _CONTROL_CHARACTERS.search(scope["path"]):
        return Refusal(400, "The path contains a control character.")
    host = headers.get("host", "").lower()
    if not _is_known_host(host, {*hosts, *_arrival_address(scope)}):
        return Refusal(
            403,
            "This server is not known under the name in the address. If it is yours, add the name to JGPT_UI_HOSTS.",
        )
    routes = {*scope["path"].split("/")} & _DATA_ROUTES
    if _is_from_another_site(headers, host) and not (scope["type"] == "http" and _is_link(scope, headers, routes)):
        return Refusal(403, "The request comes from a page of another site. Open the UI itself.")
    return _wrong_form(scope, headers, routes) if scope["type"] == "http" else None


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong_form(scope: Scope, headers: Headers, routes: Collection[str]) -> Refusal | None:
    """Return why the method or the content type of an HTTP request is refused."""
    match scope["method"]:
        case "GET" | "HEAD":
            # Without a query, it shows the page on which a person writes one.
            if "graphql" in routes and scope["query_string"]:
                return Refusal(405, "GraphQL takes POST requests with Content-Type: application/json.")
        case "POST":
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return Refusal(415, "POST requests need Content-Type: application/json.")
        case _:
            return Refusal(405, "The methods are GET, HEAD and POST.")
    return None


def _is_known_host(authority: str, hosts: Collection[str]) -> bool:
    """Return whether the host of a `Host` header is loopback or one of `hosts`; its port is free."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    return _canonical(match["ipv6"] or match["name"]) in LOOPBACK_NAMES | {_canonical(host) for host in hosts}


def _arrival_address(scope: Scope) -> list[str]:
    """Return the local address of the connection: none for a Unix socket."""
    server = scope.get("server")
    return [server[0]] if server and server[1] is not None else []


def _canonical(host: str) -> str:
    """Return the one spelling of a host: an IPv6 address has several, and may stand for an IPv4 address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower()
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_from_another_site(headers: Headers, host: str) -> bool:
    """Return whether a browser says so. A program that is not a browser says nothing."""
    origin, site, referer = (headers.get(name) for name in ("origin", "sec-fetch-site", "referer"))
    if origin is not None and not _is_own_url(origin, host):
        return True
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is None and referer is not None and not _is_own_url(referer, host)


def _is_own_url(url: str, host: str) -> bool:
    """Return whether a URL is one of this server's, which the browser addressed as `host`."""
    match = _URL.fullmatch(url.lower())
    if match is None:
        return False
    scheme, authority = match.groups()
    port = _DEFAULT_PORTS[scheme]
    return authority.removesuffix(port) == host.removesuffix(port)


def _is_link(scope: Scope, headers: Headers, routes: Collection[str]) -> bool:
    """Return whether a request of another site only opens a page of the UI."""
    return (
        scope["method"] in ("GET", "HEAD")
        and not routes
        and "origin" not in headers
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
    )


def _with_response_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_RESPONSE_HEADERS)
        await send(message)

    return send_with_headers
