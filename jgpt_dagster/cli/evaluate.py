"""`jgpt evaluate`, `jgpt leaderboard` and `jgpt tasks`: any causal language model on held-out documents and tasks."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.interrupts import exit_on_interrupt
from jgpt_dagster.cli.terminal import aligned, say, say_beside_bars
from jgpt_dagster.errors import JgptError
from jgpt_dagster.literal_text import one_line
from jgpt_dagster.orchestration.dagster_instance import open_instance
from jgpt_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from jgpt_dagster.lm.evaluation.leaderboard import Entry

_dump = click.option("--dump", help="Date of the dump, YYYYMMDD; default the newest with a training set.")


@click.command()
@click.argument("path", required=False)
@_dump
@click.option("--name", help="Name of the model in tables; default that of its folder.")
@click.option("--ngrams", is_flag=True, help="Evaluate the n-gram models of the dump's training documents.")
@click.option("--tasks", is_flag=True, help="Score it on the tasks in JGPT_TASKS instead of held-out documents.")
@click.option("--window", type=click.IntRange(min=2), help="Tokens of a window; default the shortest context here.")
@click.option("--max-characters", type=click.IntRange(min=1), help="Held-out characters to score; default 1,000,000.")
@click.option("--batch", type=click.IntRange(min=1), help="Windows that are scored at once; default 8.")
@click.option("--force", is_flag=True, help="Score again what is there already.")
def evaluate(
    path: str | None,
    dump: str | None,
    name: str | None,
    ngrams: bool,
    tasks: bool,
    window: int | None,
    max_characters: int | None,
    batch: int | None,
    force: bool,
) -> None:
    """Score the model in the directory PATH, or of that hub name, on held-out documents. Default the newest release.

    It may be of any family that transformers opens, with its own tokenizer. All models get the same raw text.
    """
    from jgpt_dagster.catalog.evaluated_models import FOREIGN_EVALUATION, TASK_EVALUATION

    resume = shlex.join(["jgpt", *sys.argv[1:]])
    with exit_on_interrupt(f"Interrupted. What was finished is kept. Resume with:\n  {resume}"):
        settings = open_deployment()
        if tasks and (window or max_characters):
            raise click.UsageError("--window and --max-characters belong to held-out documents, not to --tasks.")
        given = {"window": window, "max_characters": max_characters, "batch": batch, "force": force}
        config = {field: value for field, value in given.items() if value}
        dump = dump_with_documents(settings, dump)
        names = _recorded_names(settings, dump, path, name, ngrams)
        run_evaluation(settings, TASK_EVALUATION if tasks else FOREIGN_EVALUATION, dump, names, config, resume)
        say(f"See all models of the dump with:\n  jgpt leaderboard --dump {shlex.quote(dump)}")


@click.command()
@_dump
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every pair of models.")
def leaderboard(dump: str | None, as_json: bool) -> None:
    """Show all models that were evaluated on a dump, the best first, and which differences are real."""
    settings = load_settings()
    from jgpt_dagster.catalog.evaluated_models import made_again_since, read_entries, read_tasks
    from jgpt_dagster.lm.evaluation.leaderboard import comparable_groups, to_json

    dump = dump_with_documents(settings, dump)
    groups, accuracies = comparable_groups(read_entries(settings.root, dump)), read_tasks(settings.root, dump)
    outdated = made_again_since(settings.root, dump)
    if as_json:
        found = {"held_out": [to_json(group) for group in groups], "tasks": accuracies, "made_again_since": outdated}
        say(json.dumps(found, ensure_ascii=False, indent=2))
        return
    if not groups and not accuracies:
        say(
            f"No model was evaluated on the dump of {dump} yet. Begin with:\n  jgpt evaluate --dump {shlex.quote(dump)}"
        )
        return
    say("\n\n".join([*(_table(group) for group in groups), *([_tasks_table(accuracies)] if accuracies else [])]))
    if outdated:
        say(
            f"\nMade again since: {', '.join(outdated)}. Score the release that is there now with:\n  jgpt evaluate"
            f" PATH --dump {shlex.quote(dump)}"
        )


def dump_with_documents(settings: Settings, dump: str | None) -> str:
    """Return a dump with a training set, by default the newest. Raises JgptError if there is none."""
    from jgpt_dagster.storage.safe_path import require_form

    root = settings.root
    if dump is not None:
        require_form("dump", dump)
    dumps = [dump] if dump else list(reversed(root.dumps("training_set")))
    for date in dumps:
        if root.directory("training_set", date).manifest() is not None:
            return date
    raise JgptError(
        f"{root.location} holds no training set{f' of {dump}' if dump else ''}, so no held-out documents. Make one "
        f"with:\n  jgpt run --dump {shlex.quote(dump or 'latest')} --to training_set"
    )


def _recorded_names(settings: Settings, dump: str, path: str | None, name: str | None, ngrams: bool) -> Sequence[str]:
    """Return the names of the models that are meant, after recording the directory of a new one. Raises JgptError."""
    from jgpt_dagster.catalog.evaluated_models import NGRAMS, EvaluatedModels

    if ngrams:
        if path or name:
            raise click.UsageError("--ngrams needs neither PATH nor --name.")
        return NGRAMS
    directory = _model_directory(settings, path)
    from jgpt_dagster.lm.evaluation.model_directory import require_model_directory

    require_model_directory(directory)
    models = EvaluatedModels(settings.root)
    of_hub = Path(path) if path and not Path(path).exists() else None
    name = name or models.name_for(directory, of_hub)
    models.record(name, directory)
    return [name]


def _model_directory(settings: Settings, path: str | None) -> Path:
    if path is None:
        from jgpt_dagster.catalog.releases import newest_release

        return newest_release(settings.root, settings.model)
    from jgpt_dagster.lm.evaluation.hub import model_path

    return model_path(path)


def run_evaluation(
    settings: Settings,
    asset: str,
    dump: str,
    names: Sequence[str],
    config: dict[str, Any],
    resume: str,
    *,
    show: bool = True,
) -> None:
    """Score models of these names on a dump, as recorded runs, and `show` their figures. Raises StageFailedError."""
    from jgpt_dagster.cli.progress_bars import progress_bars
    from jgpt_dagster.definitions import load_definitions
    from jgpt_dagster.orchestration.local_runner import run_stages
    from jgpt_dagster.orchestration.partitions import add_name
    from jgpt_dagster.orchestration.stages import Stage

    for name in names:
        add_name(open_instance(), name)
    stage = Stage(asset, tuple((f"{dump}|{name}",) for name in names))
    for _ in run_stages(
        [stage],
        dump=dump,
        model=settings.model,
        workers=1,
        run_config={"ops": {asset: {"config": config}}},
        resume=resume,
        root=settings.root.path,
        load_definitions=load_definitions,
        display=progress_bars,
        report=say_beside_bars,
    ):
        if show:
            _show(settings, asset, dump, names)


def _show(settings: Settings, asset: str, dump: str, names: Sequence[str]) -> None:
    from jgpt_dagster.catalog.evaluated_models import TASK_EVALUATION, evaluation_output, read_tasks
    from jgpt_dagster.lm.evaluation.score_charts import with_ends

    if asset == TASK_EVALUATION:
        from jgpt_dagster.lm.evaluation.task_scores import TASK_COLUMNS, summary_rows

        found = read_tasks(settings.root, dump)
        for name in names:
            say("\n".join([name, *aligned([TASK_COLUMNS, *summary_rows(found[name])])]))
        return
    for name in names:
        figures = evaluation_output(settings.root, dump, name).verified().counts
        say(
            f"{name}: {with_ends(figures, 'bits_per_byte')} bits per byte, {with_ends(figures, 'bits_per_character')} "
            f"per character; {figures['documents']:,} documents, {figures['lost_share']:.2%} of the characters lost"
        )


def _table(group: "Sequence[Entry]") -> str:
    from jgpt_dagster.lm.evaluation.leaderboard import COLUMNS, UNKNOWN_TRAINING_DATA, heading, table_rows

    lines = aligned([COLUMNS, *table_rows(group)])
    notes = [f"* from elsewhere. {UNKNOWN_TRAINING_DATA}"] if any(not entry.own for entry in group) else []
    return "\n".join([heading(group), *lines, *notes])


def _tasks_table(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the accuracies of all models, a row for each, and the level of chance below."""
    from jgpt_dagster.lm.evaluation.score_charts import accuracy

    names = sorted({task for figures in tasks.values() for task in figures})
    rows = [
        [model, *(accuracy(figures[task]) if task in figures else "" for task in names)]
        for model, figures in sorted(tasks.items())
    ]
    chance = {task: figures["chance"] for of_model in tasks.values() for task, figures in of_model.items()}
    head = ["accuracy (95 %)", *names]
    return "\n".join(aligned([head, *rows, ["chance", *(f"{chance[task]:.1%}" for task in names)]]))


@click.command()
@click.option("--texts", metavar="TASK", help="Print what would give the items of a task away, one text a line.")
def tasks(texts: str | None) -> None:
    """List the tasks whose files are in JGPT_TASKS, with their items.

    With --texts, the output is a list of phrases by which a training corpus can be searched.
    """
    settings = load_settings()
    if settings.tasks is None:
        raise JgptError("JGPT_TASKS names no folder. Put the files of tasks into one, and set it (docs/evaluation.md).")
    from jgpt_dagster.lm.evaluation.task_items import find_tasks, read_items

    found = {definition.task: definition for definition in find_tasks(settings.tasks)}
    if texts is None:
        rows = [
            (
                name,
                f"{sum(1 for _ in read_items(definition)):,} items",
                ", ".join(path.name for path in definition.files),
            )
            for name, definition in found.items()
        ]
        say("\n".join(aligned(rows)))
        return
    if texts not in found:
        raise JgptError(f"{settings.tasks} has no task {texts}. It has: {', '.join(found)}.")
    for text in dict.fromkeys(item.text for item in read_items(found[texts])):
        say(one_line(text))
