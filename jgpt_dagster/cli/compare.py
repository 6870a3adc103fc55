"""`jgpt compare`: what differs between two dumps, models or releases."""

import json
import shlex
import sys
from pathlib import Path

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.evaluate import dump_with_documents, run_evaluation
from jgpt_dagster.cli.interrupts import exit_on_interrupt
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for report and picture.")
def compare(before: str, after: str, as_json: bool, output: Path | None) -> None:
    """Compare BEFORE with AFTER: each DUMP, 'DUMP|MODEL', the name of a released MODEL, or a model's directory.

    Both models are scored on the held-out documents of the later dump, and on tasks if JGPT_TASKS is set.
    """
    resume = shlex.join(["jgpt", *sys.argv[1:]])
    with exit_on_interrupt(f"Interrupted. What was finished is kept. Resume with:\n  {resume}"):
        settings = open_deployment()
        from jgpt_dagster.catalog import comparison
        from jgpt_dagster.catalog.comparison_report import CURVES, curves_svg, to_markdown
        from jgpt_dagster.catalog.evaluated_models import FOREIGN_EVALUATION, TASK_EVALUATION, EvaluatedModels
        from jgpt_dagster.lm.evaluation.model_directory import require_model_directory

        root = settings.root
        sides = [comparison.parse_side(root, text, settings.model) for text in (before, after)]
        if sides[0].place == sides[1].place:
            raise JgptError(f"{before} and {after} are the same: there is nothing to compare.")
        dump = max((side.dump for side in sides if side.dump), default=None) or dump_with_documents(settings, None)
        if all(side.name for side in sides):
            for side in sides:
                if side.name and side.directory:
                    require_model_directory(side.directory)
                    EvaluatedModels(root).record(side.name, side.directory)
            names = [side.name for side in sides if side.name]
            for asset in (FOREIGN_EVALUATION, *([TASK_EVALUATION] if settings.tasks else [])):
                run_evaluation(settings, asset, dump, names, {}, resume, show=False)
        found = comparison.compare(root, settings.corpora, sides[0], sides[1], dump)
        report = to_markdown(found)
        say(json.dumps(found, ensure_ascii=False, indent=2) if as_json else report)
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            (output / "report.md").write_text(report, encoding="utf-8")
            (output / "report.json").write_text(json.dumps(found, ensure_ascii=False, indent=2), encoding="utf-8")
            if any(found.get("curves", {}).values()):
                (output / CURVES).write_text(curves_svg(found["curves"]), encoding="utf-8")
