"""The HTTP client: every request, its headers, credentials and errors; small documents in one piece.

Every request of the project goes through `open_url` or `post_json`, so that all of them name the project, wait when
asked to, follow the same redirects, and fail with the same messages. Large files are fetched by `download`.

A redirect leads to http or https, never from https to http, and only to addresses that `network_guard` allows. What a
server answers is in no message: an error names the URL of the setting, without its query, and the status. Where a
redirect leads is in no log either: such URLs often hold a token.
"""

import email.utils
import json
import logging
import netrc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from jgpt_dagster.corpus.fetch.errors import DownloadError, MissingError, TemporaryError, printable
from jgpt_dagster.corpus.fetch.network_guard import AddressGuard, ForbiddenAddressError, GuardedTransport
from jgpt_dagster.corpus.fetch.retry import attempts

_TIMEOUT = httpx.Timeout(60.0, connect=30.0)
_MIN_RETRY_AFTER_SECONDS, _MAX_RETRY_AFTER_SECONDS = 1.0, 300.0
# Besides all of 5xx, such as 511 of a network that wants a login first.
_RETRIED_STATUS_CODES = frozenset({408, 425, 429})
_MAX_REDIRECTS = 10
_MAX_FRAME_BYTES = 1 << 20
# Loggers of httpx and httpcore that show URLs and headers of requests.
_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))
_in_request: ContextVar[bool] = ContextVar("_in_request", default=False)


def fetch_text(url: str, limit_bytes: int = 8 << 20) -> str:
    """Return a small UTF-8 document. Raises DownloadError if it is missing, larger than the limit or not UTF-8."""
    if (source := local_path(url)) is not None:
        with open(source, "rb") as stream:
            data = stream.read(limit_bytes + 1)
    else:
        data = _small_body(url, limit_bytes)
    if len(data) > limit_bytes:
        raise DownloadError(
            f"{shown(url)} is larger than {limit_bytes:,} bytes: not the document that was expected there."
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DownloadError(f"{shown(url)} is not UTF-8 text: byte {error.start:,} is the first that is not.") from None


def fetch_json(url: str, limit_bytes: int = 8 << 20) -> Any:
    """Return the value of a small JSON document. Raises DownloadError as `fetch_text` does, and if it is not JSON."""
    text = fetch_text(url, limit_bytes)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"character {error.pos:,}" if isinstance(error, json.JSONDecodeError) else "its nesting or numbers"
        raise DownloadError(
            f"{shown(url)} is not JSON: {place} of {len(text):,} does not belong there. Open it in a browser to see "
            "what the server sends instead."
        ) from None


def shown(url: str) -> str:
    """Return a URL for a message: without user, password, query and control characters, and not too long."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return printable(url, 500)


def local_path(url: str) -> Path | None:
    """Return the path of a file URL; None for http and https. Raises DownloadError for other URLs."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise DownloadError(
            f"{shown(url)} cannot be fetched: it must be http://…, https://… or file:///absolute/path with # and ? "
            "written %23 and %3F."
        )
    path = Path(unquote(parts.path))
    if not path.is_file():
        raise MissingError(f"{shown(url)}: there is no file {path}. Check the URL and that the disk is mounted.")
    return path


def _small_body(url: str, limit_bytes: int) -> bytes:
    body = bytearray()
    with open_client() as client:
        for attempt in attempts(shown(url)):
            with attempt, open_url(client, url, {}) as response:
                body.clear()
                for chunk in body_of(client, response):
                    body += chunk
                    if len(body) > limit_bytes:
                        break
    return bytes(body)


class Client(httpx.Client):
    """A client for all requests of one job. It takes passwords from $NETRC or ~/.netrc.

    Raises DownloadError if that file cannot be read.
    """

    def __init__(self) -> None:
        self.guard = AddressGuard()
        super().__init__(
            headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
            timeout=_TIMEOUT,
            auth=_netrc_auth(),
            transport=GuardedTransport(self.guard),
        )


def open_client() -> Client:
    """Return a client for all requests of one job. Raises DownloadError if the netrc file cannot be read."""
    return Client()


def _user_agent() -> str:
    """Return name, version and contact, as Wikimedia requires; dumps.wikimedia.org blocks clients that omit them
    (https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy).
    """
    contact = _contact() or "no contact given"
    return f"jgpt-dagster/{version('jgpt-dagster')} ({contact}) python-httpx/{httpx.__version__}"


def _contact() -> str:
    return os.environ.get("JGPT_CONTACT", "")


def _netrc_auth() -> httpx.Auth | None:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return httpx.NetRCAuth(str(path)) if path.exists() else None
    except (OSError, netrc.NetrcParseError) as error:
        # A parser's message may quote the line, and with it the password.
        raise DownloadError(
            f"{path} cannot be read as a netrc file ({type(error).__name__}). Mend or remove it."
        ) from None


@contextmanager
def open_url(client: Client, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """Yield the response to a GET: status 200, or 206 or 416 if a range was requested.

    Raises TemporaryError or DownloadError for everything else, also while the body is being read.
    """
    with _answer(client, url, "GET", headers=headers) as response:
        code = response.status_code
        if code >= 500 or code in _RETRIED_STATUS_CODES:
            raise TemporaryError(_status(response), _retry_after(response))
        if code not in ((200, 206, 416) if "Range" in headers else (200,)):
            if code < 300:
                raise TemporaryError(f"{_status(response)}, which is not the file")
            raise _status_error(url, response)
        yield response


def post_json(client: Client, url: str, value: Any, timeout_seconds: float) -> int:
    """Post a value as JSON; return the status of the answer. Raises TemporaryError or DownloadError without one."""
    with _answer(client, url, "POST", json=value, timeout=timeout_seconds) as response:
        return response.status_code


@contextmanager
def _answer(client: Client, url: str, method: str, **options: Any) -> Iterator[httpx.Response]:
    """Yield the answer to a request after following its redirects.

    Raises TemporaryError if there is none, or if it breaks off while its body is being read; DownloadError if a URL is
    invalid or a redirect must not be followed.
    """
    token = _in_request.set(True)
    try:
        with _final_response(client, url, method, **options) as response:
            yield response
    except ForbiddenAddressError as error:
        raise DownloadError(
            f"{shown(url)} cannot be fetched: {error}. Nothing was sent there. If that server is yours, set the URL to "
            "its own address."
        ) from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise DownloadError(
            f"{shown(url)} cannot be fetched: it, or where it redirects to, is no valid URL. Only http and https are "
            "followed."
        ) from None
    except httpx.ConnectError as error:  # no answer yet, so this is text of this system
        raise TemporaryError(f"ConnectError: {printable(str(error), 200)}") from None
    except httpx.ProxyError as error:  # the proxy refuses to connect, and the message begins with its status
        code = str(error)[:3]
        if code == "407":
            raise _proxy_login_error(url) from None
        raise TemporaryError(f"the proxy answered {f'HTTP {code}' if code.isdigit() else 'with an error'}") from None
    except httpx.RequestError as error:
        raise TemporaryError(f"{type(error).__name__}: the connection or the answer broke off") from None
    finally:
        _in_request.reset(token)


@contextmanager
def _final_response(client: Client, url: str, method: str, **options: Any) -> Iterator[httpx.Response]:
    client.guard.start()
    request = client.build_request(method, url, **options)
    response = client.send(request, stream=True)
    for _ in range(_MAX_REDIRECTS):
        if response.next_request is None:
            break
        response.close()
        following = response.next_request
        _require_followed(url, request, following)
        client.guard.redirect()
        request = following
        # A password of the netrc file is for the host that a setting names; httpx keeps it for the same host only.
        response = client.send(request, stream=True, auth=None)
    try:
        if response.next_request is not None:
            raise DownloadError(f"{shown(url)} cannot be fetched: it redirects more than {_MAX_REDIRECTS} times.")
        client.guard.end_head()
        yield response
    finally:
        response.close()


def body_of(client: Client, response: httpx.Response) -> Iterator[bytes]:
    """Yield the body of an answer as the server stores it, whatever Content-Encoding it declares.

    Raises TemporaryError if most of what arrives is not content: chunks of one byte may have a kilobyte of frame each.
    """
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if client.guard.received > 8 * size + _MAX_FRAME_BYTES:
            raise TemporaryError(f"an answer of {client.guard.received:,} bytes with {size:,} of content")
        yield chunk


def _require_followed(url: str, request: httpx.Request, following: httpx.Request) -> None:
    if following.url.scheme not in ("http", "https"):
        raise DownloadError(
            f"{shown(url)} cannot be fetched: it redirects to another kind of URL. Only http and https are followed."
        )
    if request.url.scheme == "https" and following.url.scheme == "http":
        raise DownloadError(
            f"{shown(url)} cannot be fetched: it redirects from https to http, where anybody on the way could change "
            "what arrives. Use another mirror."
        )


class _OwnRequests(logging.Filter):
    """Drops what httpx and httpcore log during requests of this module."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _in_request.get()


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_OwnRequests())


def _status(response: httpx.Response) -> str:
    """Return the status of an answer with the phrase of the standard, not the server's own."""
    code = response.status_code
    return f"HTTP {code} {HTTPStatus(code).phrase}" if code in {*HTTPStatus} else f"HTTP {code}"


def _status_error(url: str, response: httpx.Response) -> DownloadError:
    answer = f"{shown(url)}: {_status(response)}."
    if response.status_code in (404, 410):
        return MissingError(f"{answer} Check that this file exists at the mirror.")
    if response.status_code == 407:
        return _proxy_login_error(url)
    if response.status_code == 403 and not _contact():
        return DownloadError(
            f"{answer} Wikimedia turns away programs that do not say whom to reach about them: set JGPT_CONTACT to "
            "your email address, or the URL of a page about you or your project."
        )
    return DownloadError(f"{answer} Check that this file exists at the mirror and may be read.")


def _proxy_login_error(url: str) -> DownloadError:
    return DownloadError(
        f"{shown(url)}: HTTP 407 Proxy Authentication Required. Set http_proxy and https_proxy to "
        "http://USER:PASSWORD@HOST:PORT of your proxy, then run the same command again."
    )


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds to wait according to the Retry-After header (RFC 9110, 10.2.3: seconds or a date)."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        seconds = (
            float(value)
            if value.isascii() and value.isdigit()
            else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, _MIN_RETRY_AFTER_SECONDS), _MAX_RETRY_AFTER_SECONDS)
