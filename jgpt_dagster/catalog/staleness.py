"""Why an output that is on disk is stale: what its manifest records, compared with what would make it now.

Only manifests, the run config that the root keeps, the installed versions, and names, sizes and times of the files of
folders are read. A folder is read itself only if these have changed: its content may be the same all the same.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jgpt_dagster.catalog.corpora import FOLDER_FINGERPRINT, Archive, Corpus, Folder
from jgpt_dagster.catalog.exclusions import exclusions_of_shard
from jgpt_dagster.catalog.kept_config import KeptConfig, changed_fields
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, TOKENIZER, TRAINING_SET, OutputCatalog
from jgpt_dagster.catalog.released_tasks import tasks_of_release
from jgpt_dagster.corpus.exclusions.exclusion_list import ExclusionList, ExclusionListError, read_list
from jgpt_dagster.corpus.segmenters import SegmenterError, open_segmenter
from jgpt_dagster.corpus.web.corpus_description import DESCRIPTION, CorpusDescriptionError, read_description
from jgpt_dagster.corpus.web.text_folder import TextFolder, TextFolderError, folder_fingerprint
from jgpt_dagster.corpus.wikitext.template_rules import FILE as RULES_FILE
from jgpt_dagster.corpus.wikitext.template_rules import TemplateRulesError, read_rules, rules_setting
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.damage import known_damage
from jgpt_dagster.storage.manifest import Manifest, Recipe
from jgpt_dagster.storage.object_store import read_bytes

DAMAGED = "damaged"
"""What the reason of a damaged output begins with."""

ManifestReader = Callable[[Artifact], Manifest | None]


class _FolderNow:
    """A folder of text files as it is, looked at once. Its properties raise TextFolderError and OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def fingerprint(self) -> str:
        return folder_fingerprint(self._path)

    @cached_property
    def content(self) -> str:
        return TextFolder.open(self._path).sha256


class StalenessCheck:
    """Compares manifests with the code versions, libraries, settings and inputs of now."""

    def __init__(
        self,
        catalog: OutputCatalog,
        code_versions: Mapping[str, str],
        segmenter: str,
        read_manifest: ManifestReader,
    ) -> None:
        """`code_versions` maps each asset to the version of the code that would make it now."""
        self._catalog, self._code_versions, self._segmenter = catalog, code_versions, segmenter
        self._read_manifest = read_manifest
        self._kept = cache(KeptConfig(catalog).of)
        self._installed: dict[str, str | None] = {}
        self._hashes: dict[tuple[str, str], list[str]] = {}
        self._folders: dict[Path, _FolderNow] = {}
        self._reasons: dict[Artifact, str] = {}
        self._damage: dict[Artifact, str] = {}
        self._downloads = {corpus.source_asset for corpus in catalog.dated_corpora}

    def reason(self, artifact: Artifact, manifest: Manifest, inputs: Mapping[str, Artifact]) -> str:
        """Return what has changed since an output was made; empty if it is current.

        `inputs` are the outputs that it may have been made from, by label. What is made of a stale output is stale.
        """
        if artifact not in self._reasons:
            damage = self.damage(artifact)
            own = f"{DAMAGED}: {damage}" if damage else self._own_reason(artifact, manifest, inputs)
            self._reasons[artifact] = own or self._stale_input(artifact, manifest, inputs)
        return self._reasons[artifact]

    def damage(self, artifact: Artifact) -> str:
        """Return what is known to be damaged of an output; empty if nothing is."""
        if artifact not in self._damage:
            self._damage[artifact] = known_damage(artifact, self._read_manifest(artifact))
        return self._damage[artifact]

    def _stale_input(self, artifact: Artifact, manifest: Manifest, inputs: Mapping[str, Artifact]) -> str:
        """Say which input is stale: a run makes it again, and this output after it."""
        if artifact.asset == TOKENIZER:
            return ""
        for source in self._sources(artifact, manifest, inputs):
            made = self._read_manifest(source)
            reason = self.reason(source, made, inputs) if made else self.damage(source) and DAMAGED
            if source.asset in self._downloads and not reason.startswith(DAMAGED):
                continue  # other bytes of it are told of those that read them
            if reason:
                return f"{source.label} is {'damaged' if reason.startswith(DAMAGED) else 'stale'}"
        return ""

    def _sources(self, artifact: Artifact, manifest: Manifest, inputs: Mapping[str, Artifact]) -> Iterator[Artifact]:
        """Yield the outputs that an output was made of; the recipe of articles names their bytes, not their dump."""
        yield from (inputs[label] for label in manifest.recipe.inputs if label in inputs)
        for corpus in self._catalog.dated_corpora:
            if artifact.asset == corpus.text_asset:
                source = self._catalog.source(corpus, artifact.partition.partition("|")[0])
                yield from [source] if source else []

    def _own_reason(self, artifact: Artifact, manifest: Manifest, inputs: Mapping[str, Artifact]) -> str:
        if artifact.asset == TOKENIZER:  # frozen: it stays, whatever it was made from
            return ""
        recipe = manifest.recipe
        code_version = self._code_versions.get(artifact.asset, recipe.code_version)
        if recipe.code_version != code_version:
            return f"made by version {recipe.code_version} of the code, which is now {code_version}"
        for name, made_with in recipe.libraries.items():
            if (installed := self._version(name)) and installed != made_with:
                return f"made with {name} {made_with}; installed is {installed}"
        for what, made_from, now in self._environment_settings(artifact.asset, recipe.settings):
            if made_from != now:
                return f"made from {what} {made_from}, which is now {now}"
        model = artifact.model or ""
        kept = self._kept(artifact.asset, model)
        for name, (before, now) in changed_fields(kept, artifact.asset, model, recipe).items():
            return f"made with {name} {before}, which is now {now}"
        for label, sha256 in recipe.inputs.items():
            source = self._read_manifest(inputs[label]) if label in inputs else None
            if source and source.data_sha256 != sha256:
                return f"{label} has been made again since"
        return (
            self._changed_pages(artifact, recipe)
            or self._changed_folder(artifact, recipe)
            or self._changed_description(artifact, recipe)
            or self._changed_tasks(artifact, manifest)
            or self._changed_exclusions(artifact, manifest)
        )

    def _changed_exclusions(self, artifact: Artifact, manifest: Manifest) -> str:
        """Say whether a shard of text holds what is excluded, or was made without what is excluded no more."""
        corpus = next((each for each in self._catalog.corpora if each.text_asset == artifact.asset), None)
        if corpus is None:
            return ""
        if isinstance(self._exclusions, str):
            return self._exclusions
        return exclusions_of_shard(self._catalog.root, corpus.name, artifact, manifest, self._exclusions).reason

    @cached_property
    def _exclusions(self) -> ExclusionList | str:
        """The root's list of what is excluded, or why it cannot be read."""
        try:
            return read_list(self._catalog.root.location)
        except ExclusionListError as error:
            return str(error)

    def _changed_pages(self, artifact: Artifact, recipe: Recipe) -> str:
        """Say whether a dump that was fetched again has other bytes for a shard of its text."""
        for corpus in self._catalog.dated_corpora:
            if artifact.asset == corpus.text_asset:
                dump, _, shard = artifact.partition.partition("|")
                hashes = self._shard_hashes(corpus, dump)
                if hashes and recipe.inputs.get("pages") != hashes[self._catalog.shards.index(shard)]:
                    return "the dump has other pages for this shard now"
        return ""

    def _changed_folder(self, artifact: Artifact, recipe: Recipe) -> str:
        """Say whether a folder has other files or other content now, or cannot be read."""
        for corpus in self._catalog.undated_corpora:
            if artifact.asset == corpus.text_asset and isinstance(corpus.source, Folder):
                folder = self._folders.setdefault(corpus.source.path, _FolderNow(corpus.source.path))
                try:
                    if artifact.run_record().get(FOLDER_FINGERPRINT) == folder.fingerprint:
                        return ""
                    if folder.content == recipe.inputs.get("files"):
                        return ""
                except (TextFolderError, OSError) as error:
                    return str(error)
                return f"the files in {corpus.source.path} have changed since"
        return ""

    def _changed_description(self, artifact: Artifact, recipe: Recipe) -> str:
        """Say whether a folder describes itself in other words than those that a release has, or none it can read."""
        if artifact.asset != MODEL_ASSETS[-1]:
            return ""
        recorded = recipe.settings.get("descriptions", {})
        for corpus in self._catalog.undated_corpora:
            folder = corpus.source.path if isinstance(corpus.source, Folder) else None
            if folder is None or corpus.name not in recipe.settings.get("corpora", []) or not folder.is_dir():
                continue
            try:
                described = read_description(folder)
            except CorpusDescriptionError as error:
                return str(error).partition("\n")[0]
            if (asdict(described) if described else None) != recorded.get(corpus.name):
                return f"{folder / DESCRIPTION} has changed since"
        return ""

    def _changed_tasks(self, artifact: Artifact, manifest: Manifest) -> str:
        """Say whether the model of a release was scored on tasks since, or on others."""
        if artifact.asset != MODEL_ASSETS[-1]:
            return ""
        dump = artifact.partition.partition("|")[0]
        found = tasks_of_release(self._catalog.root, dump, manifest)
        recorded = manifest.recipe.settings.get("tasks", {})
        return "" if found == recorded else f"scored on {', '.join(sorted(found)) or 'no tasks'} since"

    def _shard_hashes(self, corpus: Corpus, dump: str) -> list[str]:
        """Return the hash of each shard's byte range of a dump; empty if it is missing or has other shards."""
        if (corpus.name, dump) not in self._hashes:
            source = self._catalog.source(corpus, dump)
            try:
                shards = json.loads(read_bytes(source.location / "shards.json"))["shards"] if source else []
                found = [shard["sha256"] for shard in shards] if len(shards) == len(self._catalog.shards) else []
            except (OSError, ValueError, KeyError, TypeError):
                found = []
            self._hashes[corpus.name, dump] = found
        return self._hashes[corpus.name, dump]

    def _environment_settings(self, asset: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Yield the settings from the environment that one root may change: name, recorded value, value now."""
        for corpus in self._catalog.corpora:
            if asset == corpus.source_asset and isinstance(corpus.source, Archive):
                yield "the URL", settings["url"], corpus.source.recorded_url
        for corpus in self._catalog.dated_corpora:
            if asset == corpus.text_asset and settings.get("text") == "clean":
                yield RULES_FILE, settings.get(RULES_FILE, "none"), self._rules
        if asset == TRAINING_SET:
            names = sorted(corpus.name for corpus in self._catalog.corpora)
            yield "the corpora", ", ".join(sorted(settings["weights"])), ", ".join(names)

    @cached_property
    def _rules(self) -> str:
        """The fingerprint of the root's rules for templates, or why they cannot be read."""
        try:
            return rules_setting(read_rules(self._catalog.root.location)).get(RULES_FILE, "none")
        except TemplateRulesError as error:
            return f"unreadable: {error}"

    def _version(self, distribution: str) -> str | None:
        """Return the installed version, or the fingerprint of the segmenter in use; None if it is unknown."""
        if distribution not in self._installed:
            try:
                self._installed[distribution] = (
                    self._segmenter_fingerprint() if distribution == "segmenter" else version(distribution)
                )
            except (PackageNotFoundError, SegmenterError):
                self._installed[distribution] = None
        return self._installed[distribution]

    def _segmenter_fingerprint(self) -> str:
        with open_segmenter(self._segmenter) as segmenter:
            return segmenter.fingerprint
