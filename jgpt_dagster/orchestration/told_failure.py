"""Failures of Dagster runs that show their cause alone: no class name before it, no traceback after it.

Dagster records an error as its class, its message and its frames, save for an error that another process has described:
that one it records as it was described. The errors here describe themselves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError, DagsterUserCodeProcessError
from dagster_shared.error import SerializableErrorInfo

from jgpt_dagster.causes import cause_of
from jgpt_dagster.literal_text import visible

INTERRUPTS = (KeyboardInterrupt, DagsterExecutionInterruptedError)
"""What an interrupt raises in a step: the plain one, and that of Dagster."""


class _Told(DagsterUserCodeProcessError):
    def __init__(self, cause: str | None) -> None:
        # The cause may quote a page or a server: its control characters are shown, not passed on.
        told = SerializableErrorInfo(message=visible(cause or ""), stack=[], cls_name=None)
        initialize: Callable[..., None] = super().__init__  # untyped
        initialize(told.message, user_code_process_error_infos=[told])


class ToldFailure(dg.Failure, _Told):
    """The failure of a step for a cause."""

    def __init__(self, cause: str) -> None:
        super().__init__(description=visible(cause))


class ToldInterrupt(DagsterExecutionInterruptedError, _Told):
    """The interruption of a step, with what was reached."""


@contextmanager
def told() -> Iterator[None]:
    """Turn an error that a person can mend into the failure of a Dagster run, whose description is its cause.

    An interrupt becomes a ToldInterrupt; a bug stays as it is, with its traceback.
    """
    try:
        yield
    except (dg.Failure, ToldInterrupt):
        raise
    except INTERRUPTS:
        raise ToldInterrupt("interrupted; what was finished is kept, and the same command goes on") from None
    except Exception as error:
        cause = cause_of(error)
        if cause is None:
            raise
        raise ToldFailure(cause) from None


def told_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a step that runs in `told`."""

    def telling(*arguments: Any, **named: Any) -> Any:
        with told():
            return function(*arguments, **named)

    # Dagster links a step to the file of its function's code.
    telling.__code__ = telling.__code__.replace(co_filename=function.__code__.co_filename)
    return wraps(function)(telling)
