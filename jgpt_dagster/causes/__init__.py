"""Causes of failures, in words for whoever runs this: what happened, and what to do about it.

A cause is a text whose first line says what happened. Whoever fails gives it (`cause_of`), a training process passes it
to the process that launched it (`report.py`), and Dagster records it as the failure of a run, from which status, alerts
and the UI read it. An error without a cause is a bug, which has a traceback instead.
"""

from jgpt_dagster.causes.cause import cause_of, cause_of_text

__all__ = ["cause_of", "cause_of_text"]
