"""What must hold after every event of a simulation, judged from the files themselves and from what the stages know.

Each function raises Broken, which names the promise, what was found, and how the simulation came there.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.catalog.releases import newest_release
from jgpt_dagster.catalog.status import DeploymentStatus, OutputStatus, next_step
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.abandoned_runs import fail_abandoned_runs
from jgpt_dagster.orchestration.run_history import makes, recent_runs, unfinished_runs
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.directory_artifact import MANIFEST, DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.sealed_json import read_sealed_json
from jgpt_dagster_tests.simulation.deployment import MODEL, SimulatedDeployment
from jgpt_dagster_tests.simulation.mirror import POISON
from jgpt_dagster_tests.simulation.stages import CHECKPOINT

# A run that no process has claimed is given ten minutes, and a sensor looks every half minute.
_MINUTES_TO_BEGIN = 11


class Broken(AssertionError):
    """A promise that does not hold."""


@dataclass
class Observed:
    """What the last look has seen: inode and data of each whole output, by its manifest, and checkpoints by inode.

    A checkpoint keeps its inode when its training is set aside; it is kept with the dump that it is of.
    """

    whole: dict[Path, tuple[int, str]] = field(default_factory=dict)
    checkpoints: dict[int, str] = field(default_factory=dict)


# ---- the promises ------------------------------------------------------------------------------------------------


def nothing_unchecked_is_released(world: SimulatedDeployment) -> None:
    """A release is of a model and an evaluation that passed; automation builds on nothing that did not pass."""
    for dump in world.store.root.dumps("release"):
        release = world.stages.output("release", f"{dump}|{MODEL}")
        manifest = release.manifest()
        if manifest is None or "unchecked" in manifest.recipe.settings:
            continue
        for asset in ("pretrained_model", "evaluation"):
            data = manifest.recipe.inputs[f"{asset} {dump}"]
            if not world.stages.truths.get((asset, data)):
                raise _broken(world, nothing_unchecked_is_released, f"{release.label} is made of {asset} {data[:8]}")
    for request in world.requests:
        if request.doubtful_sources:
            found = f"{request.name} is requested and builds on {', '.join(request.doubtful_sources)}"
            raise _broken(world, nothing_unchecked_is_released, found)
    world.requests.clear()


def nothing_whole_is_lost(world: SimulatedDeployment, seen: Observed) -> None:
    """What was whole stays whole, unless a person removed its dump; a model changes only if a person retrains it."""
    found = {path: path.stat() for path in _marks_of_whole_outputs(world)}
    for path in seen.whole.keys() - found.keys():
        if _dump_of(path) not in world.removed:
            raise _broken(world, nothing_whole_is_lost, f"{path} is gone")
    now = dict[Path, tuple[int, str]]()
    for path, stat in found.items():
        inode, data = seen.whole.get(path, (0, ""))
        now[path] = (inode, data) if inode == stat.st_ino else (stat.st_ino, _verified(world, path))
        asked_for = _dump_of(path) in world.retrained | world.removed
        if data and now[path][1] != data and path.parts[len(world.data.parts)] in MODEL_ASSETS and not asked_for:
            raise _broken(world, nothing_whole_is_lost, f"{path} was replaced, and nobody asked for it")
    checkpoints = {path.stat().st_ino: _dump_of(path) for path in world.settings.scratch_directory.rglob(CHECKPOINT)}
    gone = {dump for inode, dump in seen.checkpoints.items() if inode not in checkpoints} - world.removed
    if gone and not world.pruned:
        raise _broken(world, nothing_whole_is_lost, f"checkpoints of {', '.join(gone)} are gone without `jgpt prune`")
    seen.whole, seen.checkpoints = now, checkpoints
    world.pruned = False


def no_training_begins_again(world: SimulatedDeployment) -> None:
    """An interrupted training goes on when the same is asked for again, by whomever."""
    if world.stages.begun_again:
        raise _broken(world, no_training_begins_again, f"{world.stages.begun_again[0]} was begun anew")


def models_keep_their_training_data(world: SimulatedDeployment) -> None:
    """What a model was trained on stays, even if it is made again, and nothing else is what the model is scored on."""
    for dump in world.store.root.dumps("pretrained_model"):
        manifest = world.stages.output("pretrained_model", f"{dump}|{MODEL}").manifest()
        if manifest is None:
            continue
        label = f"training_set {dump}"
        trained_on = manifest.recipe.inputs[label]
        now = world.stages.labelled(label).manifest()
        if now is None or now.data_sha256 != trained_on:
            root = world.data / "trained_on" / f"dump={dump}" / trained_on[:16]
            kept = DirectoryArtifact("training_set", dump, root / "training_set" / f"dump={dump}")
            found = kept.manifest()
            if found is None or found.data_sha256 != trained_on or kept.find_mismatch(found):
                raise _broken(world, models_keep_their_training_data, f"{label} of pretrained_model {dump} is gone")
        scores = world.stages.output("evaluation", f"{dump}|{MODEL}").manifest()
        of_model = scores and scores.recipe.inputs[f"pretrained_model {dump}"] == manifest.data_sha256
        if scores and of_model and scores.recipe.inputs[label] != trained_on:
            raise _broken(world, models_keep_their_training_data, f"evaluation {dump} is of another {label}")


def materialized(world: SimulatedDeployment) -> dict[str, set[str]]:
    """Return the partitions of each asset that Dagster knows as materialized."""
    keys = world.instance.all_asset_keys()
    return {key.to_user_string(): world.instance.get_materialized_partitions(key) for key in keys}


def no_materialization_is_lost(world: SimulatedDeployment, before: dict[str, set[str]]) -> None:
    """`jgpt prune` deletes no run that holds the last materialization of a partition."""
    if (now := materialized(world)) != before:
        raise _broken(world, no_materialization_is_lost, f"{before} became {now}")


def every_run_ends(world: SimulatedDeployment) -> None:
    """No run stays unfinished without a process, once somebody has looked."""
    live = {run.run_id for run in world.runs.live}
    for run in unfinished_runs(world.instance):
        record = world.instance.get_run_record_by_id(run.run_id)
        assert record is not None
        minutes = (world.clock.now - record.create_timestamp.timestamp()) / 60
        if run.run_id not in live and minutes > _MINUTES_TO_BEGIN:
            assets = sorted(key.to_user_string() for key in run.asset_selection or ())
            raise _broken(world, every_run_ends, f"the run of {assets} is {run.status.value} after {minutes:.0f} min")


def every_run_has_ended(world: SimulatedDeployment) -> None:
    """After a calm time no run is unfinished."""
    if left := unfinished_runs(world.instance):
        raise _broken(world, every_run_has_ended, f"{len(left)} runs are unfinished")


def status_tells_the_truth(world: SimulatedDeployment) -> None:
    """`jgpt status` says of every output what it is, and what to do next."""
    fail_abandoned_runs(world.instance, world.data, lambda _: None)
    recent = cache(lambda: recent_runs(world.instance))
    shown = DeploymentStatus(world.catalog, world.code_versions, world.settings.segmenter)
    shared = shown.status(None, recent)
    dumps = world.store.root.dumps()
    for dump in {dumps[-1], dumps[-1 - len(world.log) % min(3, len(dumps))]} if dumps else ():
        status = shown.status(dump, recent)
        for output in (*shared.outputs, *status.outputs):
            expected = _true_state(world, output.artifact)
            if output.state not in expected:
                said = f"{output.artifact.label} is {' or '.join(expected)}, not {output.state} ({output.reason})"
                raise _broken(world, status_tells_the_truth, said)
        step, left = next_step(shared, status, MODEL), [it for it in (*shared.outputs, *status.outputs) if _open(it)]
        if left and step == "nothing: the release is made":
            raise _broken(world, status_tells_the_truth, f"{step}, although {left[0].artifact.label} is not")
        only_kept = all(it.artifact.model and it.state == "stale" for it in left)
        if left and only_kept != step.startswith("nothing must be done"):
            raise _broken(world, status_tells_the_truth, f"{step}, and {left[0].artifact.label} is {left[0].state}")
        if step.startswith("wait for run") and step.split()[-1] not in {run.run_id for run in world.runs.live}:
            raise _broken(world, status_tells_the_truth, f"{step}, which nobody makes")


def the_newest_good_release_is_in_use(world: SimulatedDeployment) -> None:
    """What `jgpt generate` opens is the newest release that is whole and passed its checks."""
    good = [
        dump
        for dump in world.store.root.dumps("release")
        for output in [world.stages.output("release", f"{dump}|{MODEL}")]
        for manifest in [output.manifest()]
        if manifest and not (world.stages.is_checked(output, manifest) and not world.stages.truth(output, manifest))
    ]
    try:
        found = newest_release(world.store.root, MODEL).parent.name.removeprefix("dump=")
    except JgptError:
        found = "none"
    if found != (good[-1] if good else "none"):
        raise _broken(world, the_newest_good_release_is_in_use, f"{found} is in use, of the good {good}")


def the_newest_good_dump_is_in_use(world: SimulatedDeployment) -> None:
    """After a calm time in which a person did what was left to one, the newest good dump has its release."""
    good = {date for date, text in world.mirror.honest.items() if text != POISON and date not in world.removed}
    good |= {
        dump
        for dump in world.store.root.dumps("wikipedia_dump")
        for manifest in [world.store.directory("wikipedia_dump", dump).manifest()]
        if manifest and manifest.counts["text"] != POISON
    }
    if not good:
        return
    release = world.stages.output("release", f"{max(good)}|{MODEL}")
    manifest = release.manifest()
    if manifest is None:
        raise _broken(world, the_newest_good_dump_is_in_use, f"{release.label} is not made; {world.reasons}")
    if newest_release(world.store.root, MODEL).parent.name < f"dump={max(good)}":
        raise _broken(world, the_newest_good_dump_is_in_use, f"{release.label} is made and not in use")


AFTER_EVERY_EVENT: tuple[Callable[[SimulatedDeployment], None], ...] = (
    nothing_unchecked_is_released,
    no_training_begins_again,
    models_keep_their_training_data,
    status_tells_the_truth,
    every_run_ends,
    the_newest_good_release_is_in_use,
)


# ---- what is true ------------------------------------------------------------------------------------------------


def _true_state(world: SimulatedDeployment, output: Artifact) -> tuple[str, ...]:
    """Return the states of an output that are true."""
    manifest = output.manifest()
    checked = manifest is not None and world.stages.is_checked(output, manifest)
    good = manifest is not None and world.stages.truth(output, manifest)
    stale = manifest is not None and _is_stale(world, output, manifest)
    if checked and good and not stale:
        return ("done",)
    if any(makes(live.run, output) for live in world.runs.live):
        return ("running",)
    if checked and not good and not stale:
        return ("failed",)
    otherwise = "stale" if stale else "missing" if manifest is None else "unchecked"
    # A run that failed to make it explains why it is not there, if `jgpt prune` has not deleted it.
    last = next((run for run in reversed(world.runs.recorded) if makes(run.run, output)), None)
    if last and last.outcome == "failed":
        return ("failed", otherwise) if last.perhaps_deleted else ("failed",)
    return (otherwise,)


def _is_stale(world: SimulatedDeployment, output: Artifact, manifest: Manifest) -> bool:
    """Return whether a run would make an output of something else now: of other settings, or of what is stale."""
    if output.asset == "tokenizer":  # frozen
        return False
    kept = _kept_config(world, output)
    if any(kept.get(name) not in (None, value) for name, value in manifest.recipe.settings.items()):
        return True
    for label, data in manifest.recipe.inputs.items():
        if label == "pages":
            continue
        asset, _, partition = label.partition(" ")
        source = world.stages.output(asset, f"{partition}|{MODEL}" if asset in MODEL_ASSETS else partition)
        made = source.manifest()
        if made and (made.data_sha256 != data or _is_stale(world, source, made)):
            return True
    return False


def _kept_config(world: SimulatedDeployment, output: Artifact) -> dict[str, Any]:
    """Return the run config that the root keeps for an asset, from the file itself."""
    path = world.data / "run_config.json"
    content = read_sealed_json(path.read_bytes()) if path.exists() else {}
    kept = dict(content.get(f"{output.asset} {output.model}" if output.model else output.asset, {}))
    # Nobody changes the weights, and a recipe names every corpus.
    return {name: value for name, value in kept.items() if name != "weights"}


def _open(output: OutputStatus) -> bool:
    return output.state != "done" and output.artifact.model in (None, MODEL)


def _marks_of_whole_outputs(world: SimulatedDeployment) -> list[Path]:
    """Return the files that make outputs whole: manifests, and Parquet files, which hold theirs."""
    found = []
    for directory, folders, files in os.walk(world.data):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "trained_on"]
        found += [Path(directory, name) for name in files if name == MANIFEST or name.endswith(".parquet")]
    return found


def _verified(world: SimulatedDeployment, path: Path) -> str:
    """Return the hash of an output's data once each of its files is what its manifest says."""
    keys = [part.partition("=")[2].partition(".")[0] for part in path.parts if "=" in part]
    output = world.stages.output(path.parts[len(world.data.parts)], "|".join(keys))
    manifest = output.manifest()
    if manifest is None or output.find_mismatch(manifest):
        raise _broken(world, nothing_whole_is_lost, f"{output.label} looks whole and is not")
    world.stages.truth(output, manifest)
    return manifest.data_sha256


def _dump_of(path: Path) -> str:
    return next((part.removeprefix("dump=") for part in path.parts if part.startswith("dump=")), "")


def _broken(world: SimulatedDeployment, promise: Callable[..., None], found: str) -> Broken:
    events = "\n".join(world.log)
    return Broken(f"{promise.__name__}: {found}\n{events}")
