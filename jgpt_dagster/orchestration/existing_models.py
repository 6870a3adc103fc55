"""Models on disk of which the Dagster instance has no record: made before models were partitions, or restored."""

import dagster as dg
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.orchestration.partitions import add_model, known_dumps
from jgpt_dagster.storage.data_root import DataRoot


def report_existing_models(instance: dg.DagsterInstance, root: DataRoot) -> None:
    """Record a materialization of every complete output of a model that has none, and add the model's partition."""
    known = set(known_dumps(instance))
    for asset in MODEL_ASSETS:
        recorded = instance.get_materialized_partitions(dg.AssetKey(asset))
        for dump in known.intersection(root.dumps(asset)):
            for model in root.models(asset, dump):
                output = root.directory(asset, dump, model=model)
                if output.partition in recorded or (manifest := output.manifest()) is None:
                    continue
                add_model(instance, model)
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(
                        asset,
                        partition=dg.MultiPartitionKey({"dump": dump, "model": model}),
                        description="Found on disk.",
                        tags={CODE_VERSION_TAG: manifest.recipe.code_version, DATA_VERSION_TAG: manifest.data_sha256},
                    )
                )
