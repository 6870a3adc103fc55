"""How checks report what they found."""

from collections.abc import Mapping
from typing import Any

import dagster as dg


def result(passed: bool, description: str, **metadata: Any) -> dg.AssetCheckResult:
    """Return the result of a check that fails with an error."""
    return dg.AssetCheckResult(passed=passed, description=description, metadata=metadata)


def warning(passed: bool, description: str) -> dg.AssetCheckResult:
    """Return the result of a check that only warns."""
    return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, description=description)


def listed(parts: Mapping[str, int]) -> str:
    """Return counts as text, such as `12 rows, 3 rejected`."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in parts.items())
