"""`jgpt config`: the run config that the data root keeps, and how it is changed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from jgpt_dagster.catalog.kept_config import KeptConfig, is_kept
from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph


@click.group(invoke_without_command=True)
@click.pass_context
def config(context: click.Context) -> None:
    """Show the run config that the data root keeps. Every way to start a run uses it."""
    settings = open_deployment()
    if context.invoked_subcommand is not None:
        return
    record = KeptConfig(settings.catalog)
    for asset in record.assets:
        say(asset)
        for name, value in sorted(record.of(asset, settings.model).items()):
            say(f"  {name:<28} {value}")


@config.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="ASSET.FIELD=VALUE…")
@click.option("--yes", is_flag=True, help="Do not ask.")
def set_values(assignments: tuple[str, ...], yes: bool) -> None:
    """Change values. Says what becomes stale by it, and asks."""
    settings = open_deployment()
    from jgpt_dagster.definitions import defs
    from jgpt_dagster.orchestration.run_config import check_run_config, read_value

    graph, ops = defs.resolve_asset_graph(), dict[str, dict[str, Any]]()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        asset, dot, field = name.partition(".")
        if not (equals and dot):
            raise JgptError(
                f"{assignment!r} is not of the form ASSET.FIELD=VALUE, such as training_set.validation_share=0.01."
            )
        ops.setdefault(asset, {"config": {}})["config"][field] = read_value(text)
    checked = check_run_config(graph, ops, "jgpt config set")
    record = KeptConfig(settings.catalog)
    if unknown := sorted(set(checked) - set(record.assets)):
        raise JgptError(f"No run config of {', '.join(unknown)} is kept; it is kept of {', '.join(record.assets)}.")
    if passing := [f"{asset}.{field}" for asset, op in checked.items() for field in op["config"] if not is_kept(field)]:
        raise JgptError(
            f"{', '.join(passing)} is not kept with the data root: it is given to each run that it is for, by `jgpt "
            "run --config` or an option of its own."
        )
    change(settings, graph, {asset: op["config"] for asset, op in checked.items()}, yes)


def change(settings: Settings, graph: "AssetGraph", values: Mapping[str, Mapping[str, Any]], yes: bool) -> None:
    """Change kept values by asset and field, after saying what becomes stale and asking, unless `yes`."""
    record = KeptConfig(settings.catalog)
    differing = record.differing({asset: {"config": fields} for asset, fields in values.items()}, settings.model)
    for asset, fields in differing.items():
        kept = record.of(asset, settings.model)
        for name, value in fields.items():
            say(f"{asset}.{name}: {kept[name]} -> {value}")
    if differing:
        say(f"Stale from then on: {', '.join(_downstream(graph, list(differing)))}. A finished model stays.")
        if not yes and not click.confirm("Change it?"):
            raise click.Abort
    for asset, changed in values.items():
        record.keep(asset, settings.model, changed)


def _downstream(graph: "AssetGraph", assets: list[str]) -> list[str]:
    """Return assets and all that are made of them, in the order of the graph."""
    keys = graph.toposorted_asset_keys
    children = {key.to_user_string(): [child.to_user_string() for child in graph.get(key).child_keys] for key in keys}
    found, pending = set[str](), list(assets)
    while pending:
        asset = pending.pop()
        if asset not in found:
            found.add(asset)
            pending += children[asset]
    return [asset for asset in children if asset in found]
