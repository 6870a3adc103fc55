"""The code version of each asset, read from the text of its module: to import assets takes longer than a command."""

import re
from collections.abc import Sequence
from pathlib import Path

from jgpt_dagster.catalog.corpora import Archive, Corpus, WikiDumps
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, TOKENIZER, TRAINING_SET

_ASSETS = Path(__file__).parents[1] / "assets"
_CODE_VERSION = re.compile(r'^CODE_VERSION = "([^"]+)"$', re.MULTILINE)


def installed_code_versions(corpora: Sequence[Corpus]) -> dict[str, str]:
    """Return the code version of every asset of a deployment with these corpora, and of `plan`."""
    modules = {asset: asset for asset in (TOKENIZER, TRAINING_SET, *MODEL_ASSETS)} | {"plan": "training_plan"}
    for corpus in corpora:
        modules[corpus.text_asset] = "wikipedia_articles" if corpus.dated else "documents"
        modules[corpus.segmented_asset], modules[corpus.tokens_asset] = "segmented_text", "tokens"
        if isinstance(corpus.source, WikiDumps | Archive):
            modules[f"{corpus.name}_dump"] = "wikipedia_dump" if corpus.dated else "archive_download"
    versions = {module: _version(module) for module in set(modules.values())}
    return {asset: versions[module] for asset, module in modules.items()}


def _version(module: str) -> str:
    found = _CODE_VERSION.search((_ASSETS / f"{module}.py").read_text())
    if found is None:
        raise ValueError(f"{module}.py has no CODE_VERSION")
    return found[1]
