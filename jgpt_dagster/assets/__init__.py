"""The Dagster assets: which stage reads what. No text or tensor work lives here."""

import warnings

from dagster import BetaWarning, PreviewWarning

# Backfill policies and partitioned checks are marked beta and preview. They are used knowingly, and the version of
# Dagster is pinned; a warning for each asset would hide the warnings that matter.
warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)
