"""The decorator of sensors, which gives the UI the docstring of their function: Dagster's own leaves it out."""

import inspect
from collections.abc import Callable
from typing import Any

import dagster as dg


def described_sensor(**options: Any) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """Return `dg.sensor` with these options and the docstring of the function as description."""
    return lambda function: dg.sensor(description=inspect.getdoc(function), **options)(function)
