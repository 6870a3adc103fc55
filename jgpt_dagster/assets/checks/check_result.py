"""How checks report what they found.

Dagster shows the description of a result as Markdown, so text of a corpus never goes into it: it is metadata, which the
UI shows literally.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster.literal_text import markdown_text


def result(passed: bool, description: str, **metadata: Any) -> dg.AssetCheckResult:
    """Return the result of a check that fails with an error."""
    return dg.AssetCheckResult(passed=passed, description=description, metadata=metadata)


def warning(passed: bool, description: str, **metadata: Any) -> dg.AssetCheckResult:
    """Return the result of a check that only warns."""
    severity = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=passed, severity=severity, description=description, metadata=metadata)


def listed(parts: Mapping[str, int]) -> str:
    """Return counts as Markdown, such as `12 rows, 3 rejected`."""
    return ", ".join(f"{count:,} {markdown_text(name.replace('_', ' '))}" for name, count in parts.items())
