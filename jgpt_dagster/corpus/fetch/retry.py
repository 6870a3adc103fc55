"""Retries with exponential backoff: which failures of a request are repeated, after what pause, and how often."""

import logging
import time
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from jgpt_dagster.corpus.fetch.errors import DownloadError, TemporaryError

# An attempt that gains less than _MINIMUM_GAIN bytes counts as failed; after so many in a row we give up.
_MAX_FAILURES = 6
_MINIMUM_GAIN = 1 << 20
_MAX_BACKOFF_SECONDS = 60
_sleep = time.sleep
_log = logging.getLogger(__name__)


def attempts(url: str, bytes_received: Callable[[], int] = lambda: 0) -> Retrying:
    """Return attempts that repeat on TemporaryError: `for attempt in attempts(…): with attempt: …`.

    Messages name `url`. `bytes_received` returns how many bytes all attempts together have received so far. Raises
    DownloadError after 6 attempts in a row that gained less than 1 MiB each.
    """
    failures, best = 0, 0

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, TemporaryError) else None
        return float(min(2**failures, _MAX_BACKOFF_SECONDS)) if asked is None else asked

    def exhausted(_: RetryCallState) -> bool:
        nonlocal failures, best
        received = bytes_received()
        failures, best = (0, received) if received >= best + _MINIMUM_GAIN else (failures + 1, best)
        return failures >= _MAX_FAILURES

    def report(state: RetryCallState) -> None:
        reason = state.outcome.exception() if state.outcome else None
        _log.warning("%s: %s; trying again in %.0f s", url, reason, state.upcoming_sleep)

    def give_up(state: RetryCallState) -> None:
        reason = state.outcome.exception() if state.outcome else None
        raise DownloadError(
            f"{url}: gave up after {state.attempt_number} attempts; the last one: {reason}. Check the network and the "
            "mirror, then run the same command again: it resumes where it stopped."
        ) from reason

    return Retrying(
        retry=retry_if_exception_type(TemporaryError),
        wait=wait,
        stop=exhausted,
        before_sleep=report,
        retry_error_callback=give_up,
        sleep=lambda seconds: _sleep(seconds),
    )
