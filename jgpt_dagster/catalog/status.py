"""What `jgpt status` shows: for each dump what is done, stale, running, failed and missing, and what to run next.

Disk decides what is done. Only manifests and the verdicts of checks are read, and no data is hashed but the files of a
folder that has changed. Recorded runs explain why an output is not there.
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.catalog.staleness import DAMAGED, StalenessCheck
from jgpt_dagster.literal_text import one_line
from jgpt_dagster.storage.artifact import MADE_BECAUSE, NOT_THERE, Artifact
from jgpt_dagster.storage.manifest import Manifest

State = Literal["done", "stale", "unchecked", "running", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "stale", "unchecked", "running", "failed", "missing")

_DETAILS_SHOWN = 4

# An input of a shard is its own, as are its hashes: these keep the same reason of many shards apart.
_INPUT_MADE_AGAIN = re.compile(r"(\w+)(?: \S+)? has been made again: it was \S+, is [^;\s]+")


@dataclass(frozen=True)
class RunSummary:
    """A recorded run, as far as it explains why an output is not done.

    `makes` says whether the run was to make an output, `reason` why it failed or was cancelled.
    """

    run_id: str
    state: Literal["running", "failed", "cancelled", "ended"]
    makes: Callable[[Artifact], bool]
    reason: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class OutputStatus:
    """The state of one output, why it is stale or failed, and why it was last made again (empty: it was not)."""

    artifact: Artifact
    state: State
    reason: str = ""
    made_again: str = ""


@dataclass(frozen=True)
class Status:
    """The outputs of one dump, or those that all dumps share (`dump` is None), in the order of the graph."""

    dump: str | None
    outputs: Sequence[OutputStatus]

    @property
    def done(self) -> bool:
        """Whether every output is done."""
        return all(output.state == "done" for output in self.outputs)

    def lines(self) -> Iterator[str]:
        """Yield the lines to print: one for each asset, with reasons below it."""
        yield self.dump or "all dumps"
        for asset in dict.fromkeys(output.artifact.asset for output in self.outputs):
            group = [output for output in self.outputs if output.artifact.asset == asset]
            yield f"  {asset:<20} {_states(group)}"
            explained = [output for output in group if output.reason]
            for output in explained[:_DETAILS_SHOWN]:
                yield f"    {output.artifact.label}: {output.reason}"
            if len(explained) > _DETAILS_SHOWN:
                yield f"    and {len(explained) - _DETAILS_SHOWN} more"
            yield from _made_again(group)


def _made_again(outputs: Sequence[OutputStatus]) -> Iterator[str]:
    """Yield a line for each reason for which outputs of an asset were made again, with their number if it has several.

    The reasons of a model are its own.
    """
    if outputs[0].artifact.model:
        yield from (f"    {each.artifact.model} made again: {each.made_again}" for each in outputs if each.made_again)
        return
    reasons = Counter(each.made_again for each in outputs if each.made_again)
    for reason, count in reasons.most_common(_DETAILS_SHOWN):
        yield f"    {f'{count} ' if len(outputs) > 1 else ''}made again: {reason}"
    if len(reasons) > _DETAILS_SHOWN:
        yield f"    and {len(reasons) - _DETAILS_SHOWN} reasons more"


def _why_made_again(artifact: Artifact) -> str:
    """Return why an output was made although there had been one, in one line; empty if it is the first."""
    because = str(artifact.run_record().get(MADE_BECAUSE, NOT_THERE))
    if because == NOT_THERE:
        return ""
    reasons = list(dict.fromkeys(_INPUT_MADE_AGAIN.sub(r"\1 has been made again", because).split("; ")))
    more = f"; and {len(reasons) - _DETAILS_SHOWN} reasons more" if len(reasons) > _DETAILS_SHOWN else ""
    return one_line("; ".join(reasons[:_DETAILS_SHOWN]) + more)


def _states(outputs: Sequence[OutputStatus]) -> str:
    """Return the state of an asset: of its one output, by model, or as counts."""
    if len(outputs) == 1:
        return _kept(outputs[0])
    if outputs[0].artifact.model:
        return ", ".join(f"{output.artifact.model} {_kept(output)}" for output in outputs)
    counts = {state: sum(output.state == state for output in outputs) for state in STATES}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _kept(output: OutputStatus) -> str:
    """Return the state of an output. A run makes what is stale again, but not a model and what is made of it."""
    return "stale (kept)" if output.artifact.model and output.state == "stale" else output.state


class DeploymentStatus:
    """The status of every output of a deployment; each manifest is read once."""

    def __init__(
        self,
        catalog: OutputCatalog,
        code_versions: Mapping[str, str],
        segmenter: str,
    ) -> None:
        """`code_versions` maps each asset to the version of the code that would make it now."""
        self._catalog, self._required = catalog, required_checks(catalog.corpora)
        self._manifests: dict[Artifact, Manifest | None] = {}
        self._staleness = StalenessCheck(catalog, code_versions, segmenter, self._manifest)

    def status(self, dump: str | None, runs: Callable[[], Sequence[RunSummary]]) -> Status:
        """Return the status of a dump or, for None, of what all dumps share.

        `runs` returns recorded runs, newest first; it is called only if something is not done.
        """
        shared = self._catalog.shared_outputs()
        artifacts = shared if dump is None else self._catalog.dump_outputs(dump)
        everything = [*shared, *artifacts]

        def inputs(model: str | None) -> Mapping[str, Artifact]:
            """Return what an output may be made from, by its name in recipes: for a model's, others of that model."""
            return {source.recipe_label: source for source in everything if source.model in (None, model)}

        return Status(dump, [self._state(artifact, inputs(artifact.model), runs) for artifact in artifacts])

    def _state(
        self, artifact: Artifact, inputs: Mapping[str, Artifact], runs: Callable[[], Sequence[RunSummary]]
    ) -> OutputStatus:
        manifest = self._manifest(artifact)
        stale = self._reason(artifact, inputs)
        judgement = judge(artifact, manifest, self._required) if manifest and not stale else None
        if judgement and judgement.quality == "good":
            return OutputStatus(artifact, "done", made_again=_why_made_again(artifact))
        makers = [run for run in runs() if run.makes(artifact)]
        if run := next((run for run in makers if run.state == "running"), None):
            return OutputStatus(artifact, "running", f"run {run.run_id}")
        if judgement and judgement.quality == "failed":
            return OutputStatus(artifact, "failed", judgement.reason)
        run = makers[0] if makers else None
        if run and run.state == "failed":
            return OutputStatus(artifact, "failed", f"run {run.run_id}: {run.reason()}")
        if judgement:
            return OutputStatus(artifact, "unchecked", judgement.reason)
        if run and run.state == "cancelled" and not manifest:
            return OutputStatus(artifact, "missing", f"run {run.run_id} was cancelled: {run.reason()}")
        return OutputStatus(artifact, "stale" if stale else "missing", stale)

    def reasons(self, dump: str | None) -> Mapping[Artifact, str]:
        """Return why each output of a dump, or of what all dumps share, is not current; empty for one that is.

        Outputs that are not there are left out.
        """
        shared = self._catalog.shared_outputs()
        artifacts = shared if dump is None else self._catalog.dump_outputs(dump)
        everything = [*shared, *artifacts]
        reasons = {}
        for artifact in artifacts:
            inputs = {each.recipe_label: each for each in everything if each.model in (None, artifact.model)}
            reason = self._reason(artifact, inputs)
            if reason or self._manifest(artifact):
                reasons[artifact] = reason
        return reasons

    def _reason(self, artifact: Artifact, inputs: Mapping[str, Artifact]) -> str:
        """Return why an output is not current; empty if it is, or if it is not there."""
        if manifest := self._manifest(artifact):
            return self._staleness.reason(artifact, manifest, inputs)
        damage = self._staleness.damage(artifact)
        return f"{DAMAGED}: {damage}" if damage else ""

    def _manifest(self, artifact: Artifact) -> Manifest | None:
        if artifact not in self._manifests:
            self._manifests[artifact] = artifact.manifest()
        return self._manifests[artifact]


def next_step(shared: Status, status: Status, model: str) -> str:
    """Return what to do next for a dump and a model: a command, a run to wait for, or that nothing is left."""
    outputs = [output for output in (*shared.outputs, *status.outputs) if output.artifact.model in (None, model)]
    left = [output for output in outputs if output.state != "done"]
    if not left:
        return "nothing: the release is made"
    if running := next((output.reason for output in left if output.state == "running"), None):
        return f"wait for {running}"
    command = shlex.join(["jgpt", "run", "--dump", status.dump or ""])
    kept = [output.artifact.label for output in left if output.artifact.model and output.state == "stale"]
    remark = f"{kept[0]} is stale and stays; --retrain replaces it, JGPT_MODEL=NAME trains another" if kept else ""
    if len(kept) == len(left):
        return f"nothing must be done: {remark}"
    failed = [output for output in left if output.state == "failed"]
    first = "fix what failed, then " if failed else ""
    return f"{first}{command}" + (f" ({remark})" if remark else "")
