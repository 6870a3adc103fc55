"""Small stand-ins for the stages: they write real outputs with real manifests and verdicts, in a millisecond each.

Locks, skipping of what is current, kept run config, the fate of finished and interrupted models, the links to training
data, the release and the checks of models are the package's own. Only the text work, training and scoring are not done.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

import dagster as dg

from jgpt_dagster.assets.checks.model_checks import loss_fell, scores_are_finite
from jgpt_dagster.assets.evaluation import EvaluationConfig
from jgpt_dagster.assets.finished_models import model_data_root, recipe_of_dependent
from jgpt_dagster.assets.materialize import materialize
from jgpt_dagster.assets.pretrained_model import pretrained_model as pretrained_model_asset
from jgpt_dagster.assets.pretraining_config import PretrainingConfig
from jgpt_dagster.assets.release import ReleaseConfig
from jgpt_dagster.assets.release import release as release_asset
from jgpt_dagster.assets.remembered_config import remembered
from jgpt_dagster.assets.training_set import TrainingSetConfig, require_token_files
from jgpt_dagster.assets.warm_start import MODEL as WEIGHTS
from jgpt_dagster.catalog.good_outputs import required_checks
from jgpt_dagster.corpus.fetch.download import download_file
from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror
from jgpt_dagster.corpus.schemas import ARTICLES
from jgpt_dagster.lm.data.token_files import TOKENS
from jgpt_dagster.lm.data.training_set import MANIFEST as TRAINING_SET
from jgpt_dagster.lm.data.training_set import TokenShard, TrainingSetCounts
from jgpt_dagster.lm.launch.process_group import ReportedError
from jgpt_dagster.lm.training.metrics_files import METRICS, RESULT
from jgpt_dagster.lm.training.run_progress import CHECKPOINT_PREFIX, CHECKPOINTS
from jgpt_dagster.lm.training.train_config import TrainConfig
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.told_failure import told
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions
from jgpt_dagster.storage.verdict import record_verdict
from jgpt_dagster_tests.simulation.mirror import POISON

# A training with a higher rate diverges.
HIGHEST_RATE = 0.05

CHECKPOINT = "checkpoint.json"
"""What a training has reached: the settings and data that it began with, and what its weights will be."""

_STEP = f"{CHECKPOINTS}/{CHECKPOINT_PREFIX}000002000"

UNUSABLE = "unusable"
"""A file of a release that fails its check."""


@dataclass(frozen=True)
class Step:
    """What a stage is told: the parts of Dagster's context that the package reads."""

    run: dg.DagsterRun
    asset: str
    partition_key: str
    instance: dg.DagsterInstance
    log: Any = field(default_factory=Mock)

    @property
    def op_execution_context(self) -> Any:
        return SimpleNamespace(op=SimpleNamespace(name=self.asset))

    @property
    def config(self) -> Mapping[str, Any]:
        run_config: Mapping[str, Any] = self.run.run_config
        ops: Mapping[str, Any] = run_config.get("ops", {})
        return ops.get(self.asset, {}).get("config", {})


class Stages:
    """The stages of a deployment. `moment` is called while an output is being written, and may end the process."""

    def __init__(self, store: CorpusStore, mirror_url: str, code_versions: Mapping[str, str]) -> None:
        self._store, self._mirror_url, self._code_versions = store, mirror_url, code_versions
        self._required = required_checks(store.corpora)
        self._libraries = library_versions("torch")
        self.moment: Callable[[Artifact], None] = lambda artifact: None
        self.next_release_is_unusable = False
        self.begun_again = list[str]()
        """Models whose training was interrupted and then begun anew, although it could have gone on."""
        self.truths = dict[tuple[str, str], bool]()
        """Whether an asset's data, by its hash, is good: what its checks should find."""

    def output(self, asset: str, partition: str) -> Artifact:
        """Return the output of an asset's partition."""
        dump, _, key = partition.partition("|")
        if asset in ("pretrained_model", "evaluation", "release"):
            return self._store.model_directory(asset, dump, key)
        if asset in ("wikipedia_articles", "wikipedia_segmented"):
            return self._store.parquet(asset, dump, key)
        return self._store.directory(asset, dump or None, key or None)

    def labelled(self, label: str) -> Artifact:
        """Return the output with a label."""
        asset, _, partition = label.partition(" ")
        return self.output(asset, partition)

    def doubtful_sources(self, assets: Sequence[str], partition: str) -> list[str]:
        """Return what a run would build on that is not whole or did not pass its checks."""
        dump = partition.partition("|")[0] or self._newest_segmented()
        shards = [f"{dump}|{shard}" for shard in self._store.shard_keys]
        articles, segmented, tokens = (
            [f"wikipedia_{asset} {shard}" for shard in shards] for asset in ("articles", "segmented", "tokens")
        )
        sources = {
            "wikipedia_dump": [],
            "wikipedia_articles": [f"wikipedia_dump {dump}"],
            "wikipedia_segmented": [f"wikipedia_articles {partition}"],
            "tokenizer": [*articles, *segmented],
            "wikipedia_tokens": [f"wikipedia_articles {partition}", f"wikipedia_segmented {partition}", "tokenizer"],
            "training_set": [*articles, *segmented, *tokens, "tokenizer"],
            "pretrained_model": [f"training_set {dump}"],
            "evaluation": [f"pretrained_model {partition}"],
            "release": [f"pretrained_model {partition}", f"evaluation {partition}"],
        }
        return [label for label in sources[assets[0]] if not self.is_good(label)]

    def is_good(self, label: str) -> bool:
        """Return whether an output is whole and its checks have passed."""
        output = self.labelled(label)
        manifest = output.manifest()
        if manifest is None:
            return False
        return self.truth(output, manifest) and self.is_checked(output, manifest)

    def truth(self, output: Artifact, manifest: Manifest) -> bool:
        """Return whether an output is good, as its checks should find."""
        counts = manifest.counts
        good = {
            "wikipedia_articles": counts.get("text") != POISON,
            "pretrained_model": counts.get("last_loss", 0) <= counts.get("first_loss", 0),
            "release": UNUSABLE not in manifest.files,
        }.get(output.asset, True)
        self.truths[output.asset, manifest.data_sha256] = good
        return good

    def is_checked(self, output: Artifact, manifest: Manifest) -> bool:
        """Return whether every blocking check of an output's present data has left its verdict."""
        try:
            recorded = json.loads(output.verdicts_path.read_text())
        except FileNotFoundError:
            recorded = {}
        verdicts = {name: verdict for name, verdict in recorded.items() if isinstance(verdict, dict)}  # not the seal
        names = {name for name, verdict in verdicts.items() if verdict["data_sha256"] == manifest.data_sha256}
        return names >= self._required.get(output.asset, frozenset())

    def make(self, step: Step) -> Any:
        """Make an output. Raises dagster.Failure as the stages do."""
        store = self._store
        with told():
            store.root.pin_settings(store.fixed)
            make: Callable[[Step], Any] = getattr(self, f"_{step.asset}")
            made = make(step)
            output = self.output(step.asset, step.partition_key)
            self.truth(output, output.verified())
            return made

    def check(self, step: Step) -> bool:
        """Run the blocking checks of an output; return whether they have passed."""
        output = self.output(step.asset, step.partition_key)
        manifest = output.verified()
        if step.asset in ("pretrained_model", "evaluation"):
            check: Any = loss_fell if step.asset == "pretrained_model" else scores_are_finite
            passed = bool(check.op.compute_fn.decorated_fn(step, self._store).passed)
        else:
            passed = self.truth(output, manifest)
            for name in sorted(self._required.get(step.asset, ())):
                record_verdict(output, name, passed, "as it should be" if passed else "something is missing")
        return passed

    # ---- the stages ----------------------------------------------------------------------------------------------

    def _wikipedia_dump(self, step: Step) -> Any:
        store, date = self._store, step.partition_key
        recipe = self._recipe(step, {"wiki": store.wiki, "dump": date, "shards": store.shards})
        incoming = store.root.path / ".incoming" / f"{store.wiki}-{date}"

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            (file,) = DumpMirror(self._mirror_url, store.wiki).files(date)
            with target.writing(recipe) as out:
                download_file(file.url, incoming / file.name, size=file.size, sha1=file.sha1)
                text = (incoming / file.name).read_text()
                (out.path / file.name).write_text(text)
                shards = [{"sha256": sha256_value([text, shard])} for shard in store.shard_keys]
                (out.path / "shards.json").write_text(json.dumps({"shards": shards}))
                self.moment(target)
                out.counts = {"text": text.split()[1]}
            shutil.rmtree(incoming)

        return self._materialize(step, store.directory(step.asset, date), recipe, make)

    def _wikipedia_articles(self, step: Step) -> Any:
        dump, _, shard = step.partition_key.partition("|")
        source = self._store.directory("wikipedia_dump", dump)
        manifest = source.verified()
        shards = json.loads((source.path / "shards.json").read_text())["shards"]
        pages = shards[self._store.shard_keys.index(shard)]["sha256"]
        return self._parquet(step, {"pages": pages}, manifest.counts["text"])

    def _wikipedia_segmented(self, step: Step) -> Any:
        source = self.output("wikipedia_articles", step.partition_key)
        manifest = source.verified()
        return self._parquet(step, {source.recipe_label: manifest.data_sha256}, manifest.counts["text"])

    def _parquet(self, step: Step, inputs: Mapping[str, str], text: str) -> Any:
        target = self._store.parquet(step.asset, *step.partition_key.split("|"))

        def make(target: Any, recipe: Recipe) -> None:
            def rows() -> Any:
                yield 1, 1, step.partition_key, [text, step.asset]
                self.moment(target)

            target.write(ARTICLES, rows(), recipe, lambda: {"text": text})

        return self._materialize(step, target, self._recipe(step, {}, inputs), make)

    def _tokenizer(self, step: Step) -> Any:
        target = self._store.directory("tokenizer")
        manifest = target.manifest()
        dump = self._newest_segmented()
        shards = [self.output("wikipedia_segmented", f"{dump}|{shard}") for shard in self._store.shard_keys]
        inputs = manifest.recipe.inputs if manifest else {it.label: it.verified().data_sha256 for it in shards}
        return self._plain(step, target, inputs)

    def _wikipedia_tokens(self, step: Step) -> Any:
        sources = (self.output("wikipedia_segmented", step.partition_key), self._store.directory("tokenizer"))
        inputs = {source.recipe_label: source.verified().data_sha256 for source in sources}
        return self._plain(step, self.output(step.asset, step.partition_key), inputs)

    def _training_set(self, step: Step) -> Any:
        store, dump = self._store, step.partition_key
        given = TrainingSetConfig(**step.config)
        with remembered(self._context(step), store, given, step.asset) as config:
            shards = [self.output("wikipedia_tokens", f"{dump}|{shard}") for shard in store.shard_keys]
            inputs = {it.recipe_label: it.verified().data_sha256 for it in (store.directory("tokenizer"), *shards)}
            settings = {"weights": {"wikipedia": 1.0}, "validation_share": config.validation_share}
            files = [self._token_file(shard) for shard in shards]

            def make(target: DirectoryArtifact, recipe: Recipe) -> None:
                content = {
                    **settings,
                    **asdict(TrainingSetCounts()),
                    "token_files": [asdict(file) for file in files],
                    "vocab_size": 400,
                    "eos_id": 0,
                    "tokenizer_sha256": inputs["tokenizer"],
                }
                with target.writing(recipe) as out:
                    (out.path / TRAINING_SET).write_text(json.dumps(content))
                    self.moment(target)

            recipe = self._recipe(step, settings, inputs)
            return self._materialize(step, store.directory(step.asset, dump), recipe, make, force=config.force)

    def _token_file(self, shard: Artifact) -> TokenShard:
        sha256 = shard.verified().files[TOKENS].sha256
        path = str(shard.path.relative_to(self._store.root.path))
        return TokenShard("wikipedia", shard.label, path, tokens=10, documents=1, sha256=sha256, tokenizer_sha256="")

    def _pretrained_model(self, step: Step) -> Any:
        """Call the real asset, which decides what is trained and what goes on; only the training is small."""
        dump, _, model = step.partition_key.partition("|")
        target, run = self._store.model_directory(step.asset, dump, model), self._store.training_run_path(dump, model)
        interrupted = None if (run / RESULT).exists() else _checkpoint(run)

        def plan(config: PretrainingConfig, launcher: Any, train_config: TrainConfig, data: Any) -> Any:
            return SimpleNamespace(hardware=SimpleNamespace(device=SimpleNamespace(gpu=False))), train_config

        def train(context: Any, launcher: Any, config: TrainConfig, grace: float, *, gpu: bool) -> None:
            data = DirectoryArtifact("training_set", dump, config.training_set).verified().data_sha256
            begun_with = {"learning_rate": config.learning_rate, "training_set": data}
            reached = _checkpoint(run)
            if reached is None:
                if interrupted and interrupted["begun_with"] == begun_with:
                    self.begun_again.append(target.label)
                reached = {"begun_with": begun_with, "weights": step.run.run_id if step.config.get("force") else ""}
                (run / _STEP).mkdir(parents=True, exist_ok=True)
                (run / _STEP / CHECKPOINT).write_text(json.dumps(reached))
            elif reached["begun_with"] != begun_with:
                raise ReportedError(f"cannot resume: {reached['begun_with']}, not {begun_with}")
            self.moment(target)
            (run / WEIGHTS).mkdir(exist_ok=True)
            (run / WEIGHTS / "model.safetensors").write_text(f"{config.learning_rate} {data} {reached['weights']}")
            (run / METRICS).touch()
            last = 1.0 if config.learning_rate <= HIGHEST_RATE else 100_000.0
            (run / RESULT).write_text(json.dumps({"first_loss": 9.0, "last_loss": last, "steps": 4000}))

        stand_ins = {
            "plan_training": plan,
            "require_hardware": lambda *_: None,
            "_train": train,
            "_parameters": lambda _: 1,
            "_run_facts": lambda *_: {},
            "_describe_run": lambda _: {},
        }
        function: Any = pretrained_model_asset.op.compute_fn
        with ExitStack() as stack:
            for name, stand_in in stand_ins.items():
                stack.enter_context(patch(f"jgpt_dagster.assets.pretrained_model.{name}", stand_in))
            return function.decorated_fn(step, PretrainingConfig(**step.config), self._store, None)

    def _evaluation(self, step: Step) -> Any:
        store, (dump, _, model) = self._store, step.partition_key.partition("|")
        target = store.model_directory(step.asset, dump, model)
        given = EvaluationConfig(**step.config)
        with remembered(self._context(step), store, given, step.asset, model) as config:
            weights = store.model_directory("pretrained_model", dump, model)
            root, trained_on = model_data_root(store, weights, dump)
            data = root.directory("training_set", dump)
            sources = (weights, data, root.directory("tokenizer"))
            inputs = {source.recipe_label: source.verified().data_sha256 for source in sources}
            recipe = self._recipe(step, config.model_dump(exclude={"force"}), inputs, self._libraries)
            recipe = recipe_of_dependent(target, recipe, weights, data, trained_on)

            def make(target: DirectoryArtifact, recipe: Recipe) -> None:
                require_token_files(root, data)
                with target.writing(recipe) as out:
                    scores = sha256_value(recipe.inputs)
                    (out.path / "evaluation.json").write_text(json.dumps(scores))
                    self.moment(target)
                    out.counts = {"bits_per_character": 2.0, "tokens": 10}

            return self._materialize(step, target, recipe, make, force=config.force)

    def _release(self, step: Step) -> Any:
        """Call the real asset, which decides whether a model is released; only the files are small."""

        def write(directory: Any, model: Any, tokenizer: Any, card: str, *_: Any) -> None:
            shutil.copyfile(model / "model.safetensors", directory / "model.safetensors")
            (directory / "README.md").write_text(card)
            if self.next_release_is_unusable:
                (directory / UNUSABLE).touch()
                self.next_release_is_unusable = False
            self.moment(self.output(step.asset, step.partition_key))

        function: Any = release_asset.op.compute_fn
        card = ", ".join(f"{name} {value}" for name, value in step.config.items())
        with (
            patch("jgpt_dagster.assets.release.write_release", write),
            patch("jgpt_dagster.assets.release._card", lambda *_: f"a model {card}"),
            # Evaluations have no scores here, of which papers and the page would tell.
            patch("jgpt_dagster.assets.release.release_page", lambda *_: {}),
            patch("jgpt_dagster.assets.release._scores", lambda *_: []),
            patch("jgpt_dagster.assets.release._interval", lambda *_: None),
            patch("jgpt_dagster.assets.release.write_papers", lambda *_: None),
        ):
            return function.decorated_fn(step, ReleaseConfig(**step.config), self._store)

    # ---- what they share -----------------------------------------------------------------------------------------

    def _recipe(
        self,
        step: Step,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str] | None = None,
        libraries: Mapping[str, str] | None = None,
    ) -> Recipe:
        return Recipe(step.asset, self._code_versions[step.asset], settings, inputs or {}, libraries or {})

    def _plain(self, step: Step, target: Any, inputs: Mapping[str, str]) -> Any:
        """Make a directory of one file whose content follows from the recipe."""

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            with target.writing(recipe) as out:
                (out.path / TOKENS).write_text(json.dumps(sha256_value([recipe.settings, recipe.inputs])))
                self.moment(target)

        return self._materialize(step, target, self._recipe(step, {}, inputs), make)

    def _materialize(self, step: Step, target: Any, recipe: Recipe, make: Any, *, force: bool = False) -> Any:
        return materialize(self._context(step), self._store, target, recipe, make, force=force)

    def _newest_segmented(self) -> str:
        return next(reversed(self._store.root.dumps("wikipedia_segmented")), "")

    def _context(self, step: Step) -> Any:
        return step


def _checkpoint(run: Path) -> dict[str, Any] | None:
    path = run / _STEP / CHECKPOINT
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found
