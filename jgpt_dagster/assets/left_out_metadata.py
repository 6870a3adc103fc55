"""What the page of an asset shows of the account of what cleaning left out."""

from collections.abc import Mapping
from typing import Any

from jgpt_dagster.assets.metadata import table
from jgpt_dagster.corpus.left_out.figures import TemplateFigures
from jgpt_dagster.corpus.left_out.report import REASON_HEAD, TEMPLATE_HEAD, reason_rows, template_rows


def left_out_metadata(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables of what was left out of a shard, from the account in its manifest."""
    characters = account["left_out"]
    templates = ((name, TemplateFigures(**figures)) for name, figures in account["costliest_templates"].items())
    return {
        "left_out_by_reason": table(REASON_HEAD, reason_rows(characters, account["kept"])),
        "templates_that_cost_most": table(TEMPLATE_HEAD, template_rows(templates)),
    }
