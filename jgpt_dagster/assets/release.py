"""`release`: the directory that `transformers` opens, with a model card."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.checks.model_checks import Outcome, loss_outcome, scores_outcome
from jgpt_dagster.assets.evaluation import EVALUATION, SAMPLES
from jgpt_dagster.assets.finished_models import model_data_root, recipe_of_dependent
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize
from jgpt_dagster.assets.release_page import release_page
from jgpt_dagster.assets.released_corpora import descriptions_of, trained_on
from jgpt_dagster.assets.tokenizer import encodes_of
from jgpt_dagster.assets.traced_samples import traced_samples
from jgpt_dagster.assets.warm_start import MODEL
from jgpt_dagster.catalog.attribution import attribution, licences
from jgpt_dagster.catalog.corpora import Corpus, corpus_named
from jgpt_dagster.catalog.good_outputs import failed_inputs, judge, required_checks
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.catalog.released_tasks import tasks_of_release
from jgpt_dagster.catalog.training_data_account import training_data_account
from jgpt_dagster.corpus.web.corpus_description import CorpusDescription
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.evaluation.score_charts import with_ends
from jgpt_dagster.lm.release.gguf_file import LIBRARY
from jgpt_dagster.lm.release.licences import model_licence
from jgpt_dagster.lm.release.model_card import CorpusFacts, ModelCardFacts, Score, model_card
from jgpt_dagster.lm.release.release_directory import write_release
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster.orchestration.partitions import dump_model_partitions, model_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.provenance.chain import Chain, collect_chain
from jgpt_dagster.provenance.papers.release_facts import ReleaseFacts
from jgpt_dagster.provenance.papers.write_papers import PAPERS, write_papers
from jgpt_dagster.provenance.statement import PROVENANCE, statement_of
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact, DirectoryWriter
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.verdict import read_verdicts, record_verdict

CODE_VERSION = "9"


class ReleaseConfig(StageConfig):
    """Run config of the release."""

    unchecked: bool = Field(
        default=False,
        description="Release a model even if its checks, or those of its evaluation, failed. The model card says so.",
    )


@stage_asset(
    "release",
    group="model",
    kinds={"huggingface"},
    code_version=CODE_VERSION,
    partitions=dump_model_partitions,
    deps=["pretrained_model", "evaluation", "tokenizer"],
)
def release(context: dg.AssetExecutionContext, config: ReleaseConfig, store: CorpusStore) -> Materialization:
    """The directory that `AutoModelForCausalLM` and `AutoTokenizer` open offline, with a model card."""
    dump, model_name = model_key(context)
    target = store.model_directory("release", dump, model_name)
    model, scores = (store.model_directory(name, dump, model_name) for name in ("pretrained_model", "evaluation"))
    root, _ = model_data_root(store, model, dump)
    tokenizer = root.directory("tokenizer")
    failed = [
        *_failed_data_checks(store, root, dump),
        *_failed_check(model, "loss_fell", loss_outcome),
        *_failed_check(scores, "scores_are_finite", scores_outcome),
    ]
    if failed and not config.unchecked:
        raise JgptError(
            f"{'; '.join(failed)}. {target.label} is not made. Make again what failed, with other settings (a "
            "model with `jgpt run --retrain`), or release the model all the same with `jgpt run --unchecked`: its "
            "card will say so."
        )
    names = trained_on(store, root, dump, model, target)
    corpora = [corpus_named(store.corpora, name) for name in names]
    descriptions = descriptions_of(corpora, target)
    tasks = _tasks(store, target, dump, (model, tokenizer))
    recipe = Recipe(
        stage="release",
        code_version=CODE_VERSION,
        settings={
            "wiki": store.wiki,
            "corpora": names,
            **({"descriptions": {name: asdict(told) for name, told in descriptions.items()}} if descriptions else {}),
            **({"unchecked": failed} if failed else {}),
            **({"tasks": tasks} if tasks else {}),
        },
        inputs={input.recipe_label: input.verified().data_sha256 for input in (model, scores, tokenizer)},
        libraries=library_versions(LIBRARY) if encodes_of(tokenizer.verified()) == "text" else {},
    )
    evaluated_with = scores.verified().recipe.inputs.get(tokenizer.recipe_label)
    recipe = recipe_of_dependent(target, recipe, model, tokenizer, evaluated_with)

    def make(target: DirectoryArtifact, recipe: Recipe) -> Mapping[str, Any]:
        name = f"jgpt-{model_name}-{dump}"
        card = _card(store, name, root, dump, model, scores, tokenizer.path, corpora, descriptions, failed, tasks)
        with target.writing(recipe) as out:
            write_release(out.path, model.path / MODEL, tokenizer.path, card, model.path, name)
            chain = collect_chain(store.root, recipe.inputs, model_name)
            facts = ReleaseFacts(
                name=name,
                dump=dump,
                licence=model_licence(licences(corpora, descriptions)),
                corpora=corpora,
                descriptions=descriptions,
                chain=chain,
                model=model.verified(),
                scores=_scores(scores, dump, tasks),
                interval=_interval(scores.verified().counts),
                files=out.entries(),
            )
            write_papers(out.path, facts)
            _write_provenance(out, recipe, model_name, chain)
            out.counts = {"bytes": sum(file.stat().st_size for file in out.path.iterdir())}
        verdicts = {output.asset: read_verdicts(output, output.manifest()) for output in (model, scores)}
        return {
            "checks": {
                asset: {name: asdict(verdict) for name, verdict in found.items()} for asset, found in verdicts.items()
            }
        }

    return materialize(
        context,
        store,
        target,
        recipe,
        make,
        force=config.force,
        describe=lambda _: {
            **release_page(target, model, scores),
            **traced_samples(store, dump, model_name, scores),
        },
    )


def _write_provenance(out: DirectoryWriter, recipe: Recipe, model: str, chain: Chain) -> None:
    """Write what the files in a directory were made of, from the sources on, as far as it is still here."""
    files = out.entries()
    for name, entry in files.items():
        out.record_entry(name, entry)
    statement = statement_of(files, recipe, model, chain)
    write_json(out.path / PROVENANCE, statement.to_dict())


def _failed_data_checks(store: CorpusStore, root: DataRoot, dump: str) -> list[str]:
    """Return the failed checks of the training set in `root` and of the text, words and tokens that it is made of."""
    catalog = replace(store.catalog, root=root)
    training_set, required = catalog.training_set(dump), required_checks(store.corpora)
    outputs = {output.label: output for output in (*catalog.shared_outputs(), *catalog.dump_outputs(dump))}
    manifest = training_set.manifest()
    judgement = manifest and judge(training_set, manifest, required)
    own = [f"{training_set.label}: {judgement.reason}"] if judgement and judgement.quality == "failed" else []
    return own + failed_inputs(training_set, outputs, required)


def _unscored(total: Mapping[str, Any]) -> Mapping[str, str]:
    unscored = total.get("unscored_documents")
    return {"held-out documents with copies in the training text, not scored": f"{unscored:,}"} if unscored else {}


def _failed_check(
    output: DirectoryArtifact, check: str, outcome_of: Callable[[Mapping[str, Any]], Outcome]
) -> list[str]:
    """Return what a check of an output found, if it failed; an output without a verdict is checked now."""
    manifest = output.verified()
    verdict = read_verdicts(output, manifest).get(check)
    if verdict is None:
        record_verdict(output, check, *outcome_of(manifest.counts))
        verdict = read_verdicts(output, manifest)[check]
    return [] if verdict.passed else [f"{output.label}: check {check} failed: {verdict.description}"]


def _card(
    store: CorpusStore,
    name: str,
    root: DataRoot,
    dump: str,
    model: DirectoryArtifact,
    scores: DirectoryArtifact,
    tokenizer_path: Path,
    corpora: Sequence[Corpus],
    descriptions: Mapping[str, CorpusDescription],
    failed: Sequence[str],
    tasks: Mapping[str, Mapping[str, Any]],
) -> str:
    config = json.loads((model.path / MODEL / "config.json").read_text())
    tokenizer = load_tokenizer(tokenizer_path)
    model_manifest, total = model.verified(), scores.verified().counts
    sizes = training_data_account(root, dump, model_manifest.recipe.inputs.get(f"{TRAINING_SET} {dump}"))
    return model_card(
        ModelCardFacts(
            name=name,
            parameters=model_manifest.counts["parameters"],
            context=config["n_positions"],
            segmenter=tokenizer.segmenter,
            profile=tokenizer.profile,
            encodes=tokenizer.encodes,
            licence=model_licence(licences(corpora, descriptions)),
            corpora={
                corpus.name: CorpusFacts(
                    source=attribution(store.catalog, corpus, dump, descriptions),
                    date=dump if corpus.dated else "",
                    **(asdict(sizes[corpus.name]) if corpus.name in sizes else {}),
                )
                for corpus in corpora
            },
            settings={name: value for name, value in model_manifest.recipe.settings.items() if value is not None},
            failed_checks=failed,
            sample=_sample(scores),
            scores=_scores(scores, dump, tasks),
            papers={**PAPERS, PROVENANCE: "every step from the sources to the weights, as an in-toto statement"},
            figures={
                "held-out documents": f"{total['documents']:,}",
                **_unscored(total),
                "perplexity per token": f"{total['perplexity']:.2f}",
                "bits per character (95 % interval over documents)": with_ends(total, "bits_per_character"),
                "of a bigram model (Kneser-Ney) of the same training documents": (
                    f"{total['bigram_bits_per_character']:.4f}"
                ),
                "of a unigram model": f"{total['unigram_bits_per_character']:.4f}",
                "bits per byte": f"{total['bits_per_byte']:.4f}",
                "training tokens": f"{model_manifest.counts['tokens']:,}",
                **{
                    f"accuracy in {task}, {told['items']:,} items (95 % interval; chance)": (
                        f"{told['accuracy']:.4f} ({told['accuracy_low']:.4f} to {told['accuracy_high']:.4f}; "
                        f"{told['chance']:.4f})"
                    )
                    for task, told in tasks.items()
                },
            },
        )
    )


def _interval(counts: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = counts["bits_per_character_low"], counts["bits_per_character_high"]
    return None if low is None else (low, high)


def _sample(scores: DirectoryArtifact) -> tuple[str, str] | None:
    """Return the first prompt of an evaluation with the text that the model made of it."""
    samples = json.loads((scores.path / SAMPLES).read_text())
    return (samples[0]["prompt"], samples[0]["text"]) if samples else None


def _tasks(
    store: CorpusStore, target: DirectoryArtifact, dump: str, made_of: Sequence[DirectoryArtifact]
) -> Mapping[str, Mapping[str, Any]]:
    """Return what the model reaches on tasks, if its last release was scored on any and had the same model."""
    released = target.manifest()
    if released is None:
        return {}
    inputs = {input.recipe_label: input.verified().data_sha256 for input in made_of}
    return tasks_of_release(store.root, dump, released) if inputs.items() <= released.recipe.inputs.items() else {}


def _scores(scores: DirectoryArtifact, dump: str, tasks: Mapping[str, Mapping[str, Any]]) -> list[Score]:
    """Return the results for the index of a model hub: of all held-out documents, by corpus, and of tasks."""
    result = json.loads((scores.path / EVALUATION).read_text())
    measured = {"held-out documents": result["total"], **result["corpora"]}
    return [
        Score(
            dataset_type=name.replace(" ", "-"),
            dataset_name=name if name not in result["corpora"] else f"{name}, held-out documents, {dump}",
            metric_type=metric,
            metric_name=f"{metric.replace('_', ' ')} (lower is better)",
            value=round(score[metric], 4),
        )
        for name, score in measured.items()
        for metric in ("bits_per_character", "bits_per_byte")
    ] + [
        Score(
            task,
            f"{task}, {told['items']:,} items",
            "accuracy",
            "accuracy (higher is better)",
            round(told["accuracy"], 4),
        )
        for task, told in tasks.items()
    ]
