"""Which outputs are good: complete, and passed by every blocking check. Only on those does anything build by itself."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.verdict import read_verdicts

Quality = Literal["good", "unchecked", "failed"]


class Judgement(NamedTuple):
    """The quality of an output, and why it is not good."""

    quality: Quality
    reason: str = ""


def required_checks(corpora: Sequence[Corpus]) -> Mapping[str, frozenset[str]]:
    """Return the blocking checks of each asset, by their names."""
    checks: dict[str, set[str]] = {
        "tokenizer": {"text_survives_encoding"},
        "training_set": {"documents_add_up"},
        "pretrained_model": {"loss_fell"},
        "evaluation": {"scores_are_finite"},
        "release": {"opens_offline"},
        "foreign_evaluation": {"bits_are_finite"},
        "task_evaluation": {"tasks_are_scored"},
    }
    for corpus in corpora:
        text = {"pages_add_up", "eligible_pages_have_rows"} if corpus.dated else {"no_document_missing"}
        checks[corpus.text_asset] = text
        checks[corpus.segmented_asset] = {f"every_{corpus.document_noun}_segmented"}
        checks[corpus.tokens_asset] = {f"{corpus.document_noun}_tokens_decode"}
    return {asset: frozenset(names) for asset, names in checks.items()}


def judge(artifact: Artifact, manifest: Manifest, required: Mapping[str, frozenset[str]]) -> Judgement:
    """Return the quality of a complete output with this manifest. Raises ObjectStoreError."""
    names = required.get(artifact.asset, frozenset())
    verdicts = read_verdicts(artifact, manifest) if names else {}
    failed = [
        f"check {name} failed: {verdicts[name].description}"
        for name in sorted(names & verdicts.keys())
        if not verdicts[name].passed
    ]
    if failed:
        return Judgement("failed", "; ".join(failed))
    if missing := sorted(names - verdicts.keys()):
        return Judgement("unchecked", f"not checked yet: {', '.join(missing)}")
    return Judgement("good")


def failed_inputs(
    artifact: Artifact, sources: Mapping[str, Artifact], required: Mapping[str, frozenset[str]]
) -> list[str]:
    """Return the failed checks of everything that an output was made of, directly or not, as phrases for messages.

    `sources` are the outputs that it may have been made of, by label. One that was made again since does not count.
    Raises ObjectStoreError.
    """
    found, pending, seen = list[str](), [artifact], set[str]()
    while pending:
        manifest = pending.pop().manifest()
        for label, sha256 in manifest.recipe.inputs.items() if manifest else ():
            source = sources.get(label)
            made = source.manifest() if source and label not in seen else None
            if source and made and made.data_sha256 == sha256:
                seen.add(label)
                pending.append(source)
                judgement = judge(source, made, required)
                if judgement.quality == "failed":
                    found.append(f"{label}: {judgement.reason}")
    return sorted(found)
