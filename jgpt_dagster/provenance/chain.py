"""The chain of steps from the sources to an output: who was made of whom, by the hashes that recipes record."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.provenance.labels import PAGES, SOURCE_FILES, Label, dump_of_pages, find_output, parse_label
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.object_store import read_bytes

SHARD_RANGES = "shards.json"
"""The file of a dump that holds the hash of each shard's byte range; a step carries its text."""


@dataclass(frozen=True)
class Step:
    """One output of a chain: its label, its manifest, and the text of the files that links to it are checked by."""

    label: str
    manifest: Manifest
    contents: Mapping[str, str] = field(default_factory=dict)

    @property
    def parsed(self) -> Label:
        """The parts of the label."""
        return parse_label(self.label)

    def to_dict(self) -> dict[str, Any]:
        """Return the step as JSON-like values."""
        return {
            "name": self.label,
            "dataSha256": self.manifest.data_sha256,
            **self.manifest.to_dict(),
            **({"contents": dict(self.contents)} if self.contents else {}),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Step":
        """Return the step that `to_dict` wrote. Raises KeyError, TypeError or ValueError if it is malformed."""
        step = cls(value["name"], Manifest.from_dict(value), value.get("contents", {}))
        if step.manifest.data_sha256 != value["dataSha256"]:
            raise ValueError(f"{step.label}: the hash of its data does not follow from those of its files")
        return step


@dataclass(frozen=True)
class Chain:
    """Steps, each after what it was made of."""

    steps: Sequence[Step]

    def find(self, label: str, sha256: str) -> Step | None:
        """Return the step with this label and data; None if the chain does not carry it."""
        return self._by_identity.get((label, sha256))

    @cached_property
    def _by_identity(self) -> Mapping[tuple[str, str], Step]:
        return {(step.label, step.manifest.data_sha256): step for step in self.steps}

    def sources(self) -> list[Step]:
        """Return the steps that were downloaded."""
        return [step for step in self.steps if step.parsed.asset.endswith("_dump")]


@dataclass(frozen=True)
class Links:
    """How a chain holds together: links that were checked, gaps (why a link cannot be), and faults, in words."""

    checked: int
    gaps: Sequence[str]
    faults: Sequence[str]


def collect_chain(root: DataRoot, inputs: Mapping[str, str], model: str | None) -> Chain:
    """Return the steps behind an output with these inputs, as far as they are still in a root.

    `model` is the name of the model that the output belongs to. The order depends on the inputs alone.
    """
    steps: dict[tuple[str, str], Step] = {}

    def visit(label: str, sha256: str, model: str | None) -> None:
        parsed = parse_label(label, model)
        if (str(parsed), sha256) in steps:
            return
        found = find_output(root, parsed, sha256)
        if found is None:
            return
        manifest = _without_local_paths(found[1])
        visit_inputs(parsed, manifest.recipe.inputs)
        steps[str(parsed), sha256] = Step(str(parsed), manifest)

    def visit_inputs(of: Label, inputs: Mapping[str, str]) -> None:
        for label, sha256 in sorted(inputs.items()):
            if label == PAGES:
                visit_dump(dump_of_pages(of))
            elif label != SOURCE_FILES:
                visit(label, sha256, of.model)

    def visit_dump(label: Label) -> None:
        if (found := find_output(root, label)) and SHARD_RANGES in found[1].files:
            output, manifest = found
            text = read_bytes(output.location / SHARD_RANGES).decode()
            steps.setdefault((str(label), manifest.data_sha256), Step(str(label), manifest, {SHARD_RANGES: text}))

    for label, sha256 in sorted(inputs.items()):
        visit(label, sha256, model)
    return Chain(tuple(steps.values()))


def _without_local_paths(manifest: Manifest) -> Manifest:
    """Return the manifest with the name alone of a source that was a file of the machine."""
    url = manifest.recipe.settings.get("url")
    if not (isinstance(url, str) and url.startswith("file:")):
        return manifest
    settings = {**manifest.recipe.settings, "url": f"file:{url.rpartition('/')[2]}"}
    return replace(manifest, recipe=replace(manifest.recipe, settings=settings))


def check_links(chain: Chain, inputs: Mapping[str, str], model: str | None) -> Links:
    """Follow every link of a chain, beginning with the inputs of the output that it leads to."""
    checked, gaps, faults = 0, list[str](), list[str]()
    ends = [(Label("this release", None, None, model), inputs)]
    ends += [(_with_model(step, model), step.manifest.recipe.inputs) for step in chain.steps]
    for consumer, made_of in ends:
        for label, sha256 in sorted(made_of.items()):
            if label == SOURCE_FILES:
                gaps.append(f"{consumer}: its text files have sha256 {sha256}; they are no output of the pipeline")
            elif label == PAGES:
                problem = _pages_problem(chain, consumer, sha256)
                checked += problem is None
                gaps += [problem] if problem else []
            elif chain.find(str(parse_label(label, consumer.model)), sha256):
                checked += 1
            else:
                gaps.append(f"{_shown(consumer)} was made of {label} (sha256 {sha256[:16]}…), which is not carried")
    faults += [problem for step in chain.steps for problem in _content_problems(step)]
    return Links(checked, gaps, faults)


def _shown(label: Label) -> str:
    return label.asset if label.asset == "this release" else str(label)


def _with_model(step: Step, model: str | None) -> Label:
    label = step.parsed
    return label._replace(model=label.model or model) if label.asset in MODEL_ASSETS else label


def _pages_problem(chain: Chain, articles: Label, sha256: str) -> str | None:
    """Return why a shard of articles cannot be traced to its dump; None if it can."""
    label = str(dump_of_pages(articles))
    dumps = [step for step in chain.steps if step.label == label]
    ranges = [shard_hashes(step.contents.get(SHARD_RANGES, "{}")) for step in dumps]
    if any(sha256 == hashes[int(articles.shard or 0)] for hashes in ranges if int(articles.shard or 0) < len(hashes)):
        return None
    why = "other byte ranges" if dumps else "no dump"
    return f"{articles} was read from pages of sha256 {sha256[:16]}…; the chain carries {why} of {label}"


def shard_hashes(text: str) -> list[str]:
    """Return the hash of each shard's byte range in the text of a dump's `shards.json`. Raises ValueError, KeyError."""
    return [shard["sha256"] for shard in json.loads(text).get("shards", [])]


def _content_problems(step: Step) -> Iterator[str]:
    for name, text in step.contents.items():
        entry = step.manifest.files.get(name)
        if entry is None or hashlib.sha256(text.encode()).hexdigest() != entry.sha256:
            yield f"{step.label}: the text of {name} is not the one with the hash that the step records"
