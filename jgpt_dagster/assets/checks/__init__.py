"""Asset checks: what each stage promises, verified on disk. A blocking check stops what is built on its asset.

They read what lies on disk, so a check that is run again later still tells the truth.
"""

from collections.abc import Sequence

import dagster as dg

from jgpt_dagster.assets.checks.corpus_checks import build_corpus_checks
from jgpt_dagster.assets.checks.model_checks import MODEL_CHECKS
from jgpt_dagster.assets.checks.training_data_checks import TRAINING_DATA_CHECKS
from jgpt_dagster.catalog.corpora import Corpus


def build_checks(corpora: Sequence[Corpus]) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a deployment with these corpora."""
    of_corpora = [check for corpus in corpora for check in build_corpus_checks(corpus)]
    return [*of_corpora, *TRAINING_DATA_CHECKS, *MODEL_CHECKS]
