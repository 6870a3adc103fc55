"""Reaching a URL: http and https with retries, files by their path; small documents whole.

Every request of the project goes through `open_url`, so that all of them name the project, wait when asked to, follow
redirects to http and https alone, and fail with the same words. Large files are `download`'s matter.
"""

import email.utils
import json
import logging
import netrc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from jgpt_dagster.errors import JgptError

# An attempt that brings a file on by less than _PROGRESS bytes counts as failed; so many in a row, and we give up.
_ATTEMPTS = 6
_PROGRESS = 1 << 20
_LONGEST_WAIT = 300.0
_TIMEOUT = httpx.Timeout(60.0, connect=30.0)
_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
_sleep = time.sleep
_log = logging.getLogger(__name__)


class DownloadError(JgptError):
    """A file cannot be had, or what came is not what was announced."""


class MissingError(DownloadError):
    """There is no such file."""


class TemporaryError(Exception):
    """What another attempt may mend; `wait` is the pause in seconds that the server asked for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch_text(url: str, limit_bytes: int = 8 << 20) -> str:
    """Return a small UTF-8 document. Raises DownloadError where it is missing, larger than the limit or not UTF-8."""
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
    """Return a small JSON document as values. Raises DownloadError as `fetch_text`, and where it is not JSON."""
    text = fetch_text(url, limit_bytes)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DownloadError(f"{url} is not JSON ({error}). It begins with {text[:60]!r}.") from error


def local_path(url: str) -> Path | None:
    """Return the file that a file URL names; None for http and https."""
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
        for attempt in attempts(url, lambda: 0):
            with attempt, open_url(client, url, {}) as response:
                body.clear()
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > limit_bytes:
                        break
    return bytes(body)


def open_client() -> httpx.Client:
    """Return the client that all requests of one job share. It takes passwords from the file ~/.netrc, or $NETRC.

    Raises DownloadError where that file cannot be read.
    """
    return httpx.Client(
        headers={"User-Agent": _user_agent(), "Accept-Encoding": "identity"},
        timeout=_TIMEOUT,
        follow_redirects=True,
        auth=_passwords(),
    )


def _user_agent() -> str:
    """Return the name, version and contact that Wikimedia asks for; dumps.wikimedia.org blocks clients that give none
    (https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy).
    """
    contact = _contact() or "no contact given"
    return f"jgpt-dagster/{version('jgpt-dagster')} ({contact}) python-httpx/{httpx.__version__}"


def _contact() -> str:
    return os.environ.get("JGPT_CONTACT", "")


def _passwords() -> httpx.Auth | None:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return httpx.NetRCAuth(str(path)) if path.exists() else None
    except (OSError, netrc.NetrcParseError) as error:
        # The words of a parser may quote the line, and with it the password.
        raise DownloadError(
            f"{path} cannot be read as a netrc file ({type(error).__name__}). Mend or remove it."
        ) from None


@contextmanager
def open_url(client: httpx.Client, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """Yield the answer to a GET: 200, or 206 or 416 if a range was asked for.

    Raises TemporaryError and DownloadError for whatever else happens, also while the body is being read.
    """
    try:
        with client.stream("GET", url, headers=headers) as response:
            status = response.status_code
            if status in _TEMPORARY:
                raise TemporaryError(f"HTTP {status} {response.reason_phrase}", _retry_after(response))
            if status not in ((200, 206, 416) if "Range" in headers else (200,)):
                raise _refusal(url, response)
            yield response
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise DownloadError(f"{url} cannot be fetched: {error}. Only http and https are followed.") from error
    except httpx.RequestError as error:
        raise TemporaryError(f"{type(error).__name__}: {error}") from error


def _refusal(url: str, response: httpx.Response) -> DownloadError:
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
    """Return the seconds that a Retry-After header asks to wait (RFC 9110, 10.2.3: seconds or a date)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT)
    try:
        return min(max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0), _LONGEST_WAIT)
    except (ValueError, TypeError):
        return None


def attempts(url: str, progress: Callable[[], int]) -> Retrying:
    """Return attempts that repeat on TemporaryError: `for attempt in attempts(…): with attempt: …`.

    `progress` tells the bytes won so far. Raises DownloadError after 6 attempts in a row that won less than 1 MiB.
    """
    failures, best = 0, 0

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, TemporaryError) else None
        return float(min(2**failures, 60)) if asked is None else asked

    def exhausted(_: RetryCallState) -> bool:
        nonlocal failures, best
        failures, best = (0, progress()) if progress() >= best + _PROGRESS else (failures + 1, best)
        return failures >= _ATTEMPTS

    def report(state: RetryCallState) -> None:
        reason = state.outcome.exception() if state.outcome else None
        _log.warning("%s: %s; trying again in %.0f s", url, reason, state.upcoming_sleep)

    def give_up(state: RetryCallState) -> None:
        reason = state.outcome.exception() if state.outcome else None
        raise DownloadError(
            f"{url}: gave up after {state.attempt_number} attempts; the last one: {reason}. Check the network and the "
            "mirror, then run the same command again: it goes on where it stopped."
        ) from reason

    return Retrying(
        retry=retry_if_exception_type(TemporaryError),
        wait=wait,
        stop=exhausted,
        before_sleep=report,
        retry_error_callback=give_up,
        sleep=lambda seconds: _sleep(seconds),
    )
