"""The HTTP client: every request, its headers, credentials and errors; small documents in one piece.

Every request of the project goes through `open_url`, so that all of them name the project, wait when asked to, follow
redirects to http and https only, and fail with the same messages. Large files are fetched by `download`.
"""

import email.utils
import json
import netrc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from jgpt_dagster.corpus.fetch.errors import DownloadError, MissingError, TemporaryError
from jgpt_dagster.corpus.fetch.retry import attempts

_MAX_RETRY_AFTER_SECONDS = 300.0
_TIMEOUT = httpx.Timeout(60.0, connect=30.0)
_RETRIED_STATUS_CODES = frozenset({408, 429, 500, 502, 503, 504})


def fetch_text(url: str, limit_bytes: int = 8 << 20) -> str:
    """Return a small UTF-8 document. Raises DownloadError if it is missing, larger than the limit or not UTF-8."""
    if (source := local_path(url)) is not None:
        with open(source, "rb") as stream:
            data = stream.read(limit_bytes + 1)
    else:
        data = _small_body(url, limit_bytes)
    if len(data) > limit_bytes:
        raise DownloadError(f"{url} is larger than {limit_bytes:,} bytes: not the document that was expected there.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DownloadError(f"{url} is not UTF-8 text: {error}") from error


def fetch_json(url: str, limit_bytes: int = 8 << 20) -> Any:
    """Return the value of a small JSON document. Raises DownloadError as `fetch_text` does, and if it is not JSON."""
    text = fetch_text(url, limit_bytes)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DownloadError(f"{url} is not JSON ({error}). It begins with {text[:60]!r}.") from error


def local_path(url: str) -> Path | None:
    """Return the path of a file URL; None for http and https. Raises DownloadError for other URLs."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise DownloadError(
            f"{url} cannot be fetched: it must be http://…, https://… or file:///absolute/path with # and ? "
            "written %23 and %3F."
        )
    path = Path(unquote(parts.path))
    if not path.is_file():
        raise MissingError(f"{url}: there is no file {path}. Check the URL and that the disk is mounted.")
    return path


def _small_body(url: str, limit_bytes: int) -> bytes:
    body = bytearray()
    with open_client() as client:
        for attempt in attempts(url):
            with attempt, open_url(client, url, {}) as response:
                body.clear()
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > limit_bytes:
                        break
    return bytes(body)


def open_client() -> httpx.Client:
    """Return a client for all requests of one job. It takes passwords from $NETRC or ~/.netrc.

    Raises DownloadError if that file cannot be read.
    """
    return httpx.Client(
        headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
        timeout=_TIMEOUT,
        follow_redirects=True,
        auth=_netrc_auth(),
    )


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
def open_url(client: httpx.Client, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """Yield the response to a GET: status 200, or 206 or 416 if a range was requested.

    Raises TemporaryError or DownloadError for everything else, also while the body is being read.
    """
    try:
        with client.stream("GET", url, headers=headers) as response:
            status = response.status_code
            if status in _RETRIED_STATUS_CODES:
                raise TemporaryError(f"HTTP {status} {response.reason_phrase}", _retry_after(response))
            if status not in ((200, 206, 416) if "Range" in headers else (200,)):
                raise _status_error(url, response)
            yield response
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise DownloadError(f"{url} cannot be fetched: {error}. Only http and https are followed.") from error
    except httpx.RequestError as error:
        raise TemporaryError(f"{type(error).__name__}: {error}") from error


def _status_error(url: str, response: httpx.Response) -> DownloadError:
    answer = f"{url}: HTTP {response.status_code} {response.reason_phrase}."
    if response.status_code in (404, 410):
        return MissingError(f"{answer} Check that this file exists at the mirror.")
    if response.status_code == 403 and not _contact():
        return DownloadError(
            f"{answer} Wikimedia turns away programs that do not say whom to reach about them: set JGPT_CONTACT to "
            "your email address, or the URL of a page about you or your project."
        )
    return DownloadError(f"{answer} Check that this file exists at the mirror and may be read.")


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds to wait according to the Retry-After header (RFC 9110, 10.2.3: seconds or a date)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _MAX_RETRY_AFTER_SECONDS)
    try:
        return min(
            max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0), _MAX_RETRY_AFTER_SECONDS
        )
    except (ValueError, TypeError):
        return None
