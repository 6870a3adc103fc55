"""`is_current`: whether what lies on disk is what its inputs, settings and code of now would give, and undamaged.

Dagster compares data versions, and calls a partitioned asset fresh without looking at them. This check asks what
`jgpt status` asks. It only warns: what is stale is made again by the next run, and a model stays.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from jgpt_dagster.assets.checks.check_result import warning
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, text_assets
from jgpt_dagster.catalog.status import DeploymentStatus
from jgpt_dagster.literal_text import one_line
from jgpt_dagster.orchestration.partitions import partition_label
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.told_failure import told_function
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.safe_path import has_form

IS_CURRENT = "is_current"

_SHOWN = 5


def stage_specs(assets: Sequence[dg.AssetsDefinition], corpora: Sequence[Corpus]) -> Mapping[str, dg.AssetSpec]:
    """Return the specification of each asset that `jgpt status` knows, by name."""
    known = {*text_assets(corpora), *MODEL_ASSETS}
    specs = {spec.key.to_user_string(): spec for asset in assets for spec in asset.specs}
    return {name: spec for name, spec in specs.items() if name in known}


def written_in_one_run(asset: str, corpora: Sequence[Corpus]) -> bool:
    """Return whether one run writes many partitions of an asset, of which Dagster records one evaluation of a check."""
    return any(asset == corpus.text_asset and not corpus.dated for corpus in corpora)


def reasons_of(
    store: CorpusStore, specs: Mapping[str, dg.AssetSpec], dumps: Sequence[str | None]
) -> Mapping[Artifact, str]:
    """Return why each output of some dumps (None: of what all share) is not current; empty for one that is."""
    versions = {name: spec.code_version for name, spec in specs.items() if spec.code_version}
    status = DeploymentStatus(store.catalog, versions, store.segmenter)
    return {artifact: reason for dump in dumps for artifact, reason in status.reasons(dump).items()}


def build_currentness_checks(
    assets: Sequence[dg.AssetsDefinition], corpora: Sequence[Corpus]
) -> list[dg.AssetChecksDefinition]:
    """Return the check of each asset, for each partition of it."""
    specs = stage_specs(assets, corpora)
    return [_build(name, specs, whole=written_in_one_run(name, corpora)) for name in specs]


def _build(name: str, specs: Mapping[str, dg.AssetSpec], *, whole: bool) -> dg.AssetChecksDefinition:
    partitions = None if whole else specs[name].partitions_def

    def is_current(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
        """What lies on disk is undamaged and what a run would make now. Only warns."""
        key = partition_label(context, partitions)
        dump = key.partition("|")[0]
        reasons = reasons_of(store, specs, [dump if has_form("dump", dump) else None])
        of_asset = {
            artifact: reason
            for artifact, reason in reasons.items()
            if artifact.asset == name and (whole or artifact.partition == key)
        }
        return warning(*outcome(of_asset))

    return dg.asset_check(asset=name, name=IS_CURRENT, partitions_def=partitions, description=is_current.__doc__)(
        told_function(is_current)
    )


def outcome(reasons: Mapping[Artifact, str]) -> tuple[bool, str]:
    """Return whether outputs are current, and why the first are not, in words without paths of the machine's users."""
    stale = [f"{artifact.label}: {one_line(reason)}" for artifact, reason in reasons.items() if reason]
    more = [f"and {len(stale) - _SHOWN} more"] if len(stale) > _SHOWN else []
    return not stale, "; ".join([*stale[:_SHOWN], *more]) or ("current" if reasons else "not there")
