"""`is_newest`: whether the newest fetched dump is the newest finished one of the mirror.

Dagster's own policies of freshness look at when something was last made, in whichever partition: a dump of last year
that was verified today satisfies them.
"""

import inspect

import dagster as dg

from jgpt_dagster.assets.checks.check_result import warning
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.mirror_look import IS_NEWEST, evaluation, look_at_mirror
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror
from jgpt_dagster.orchestration.told_failure import told_function


def build_freshness_check(corpus: Corpus, *, refresh: bool) -> dg.AssetChecksDefinition:
    """Return the check of a dated corpus; without `refresh`, the mirror is asked only if the check is run by itself."""
    asset = f"{corpus.name}_dump"

    def is_newest(context: dg.AssetCheckExecutionContext, store: CorpusStore, mirror: Mirror) -> dg.AssetCheckResult:
        """The mirror has finished no dump that is newer than the newest one here. Only warns.

        `new_dump_sensor` evaluates it whenever it asks the mirror. With JGPT_REFRESH=off, only who runs the check by
        itself has the mirror asked.
        """
        fetched = [dump for dump in store.root.dumps(asset) if store.directory(asset, dump).manifest()]
        if context.run.asset_selection and not refresh:
            return warning(True, "not compared with the mirror (JGPT_REFRESH=off): run this check by itself to compare")
        try:
            found = look_at_mirror(mirror.dumps_url, store.wiki, lambda look: evaluation(asset, fetched, look))
        except JgptError as error:
            found = evaluation(asset, fetched, error)
        return warning(found.passed, found.description or "", **found.metadata)

    return dg.asset_check(asset=asset, name=IS_NEWEST, description=inspect.getdoc(is_newest))(told_function(is_newest))
