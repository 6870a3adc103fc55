"""What a golden file records of an output, and what to do when an output no longer matches."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from gguf import GGUFReader

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.lm.training.run_progress import FINAL_CHECKPOINT
from jgpt_dagster.provenance.papers.write_papers import BILL_OF_MATERIALS
from jgpt_dagster.provenance.statement import PROVENANCE, read_statement
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.data_root import shard_names
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster_tests.support.deployments import PROJECT, Deployment, text_partitions

UPDATE = "python -m pytest jgpt_dagster_tests/golden --update-golden"

# Outputs of one asset and dump (all shards), by `<asset> <dump>`: code version, hash of the settings, hash of the data.
Golden = dict[str, dict[str, str]]

# Its bytes are the publisher's alone; those of the sample are liblzma's.
_NOT_RECORDED = "cc100_dump"

# The distributions behind a name in `Recipe.libraries`, where that is not the distribution's own.
_DISTRIBUTIONS = {"segmenter": ("fugashi", "jumandic")}

# Weights, losses and scores differ between types of CPU. Of a file that holds them, what is left is compared: names and
# shapes of tensors, integers, words. Hex digests stand in the model card: that of the sample's archive is liblzma's.
_MASKED_TEXT = re.compile(r"\d+\.\d+|[0-9a-f]{64}|(?<=## Sample\n).*?(?=\n## )", re.DOTALL)
_SAMPLED_TEXT = "text"


def recorded(deployment: Deployment, dumps: Iterable[str]) -> tuple[Golden, dict[str, list[Manifest]]]:
    """Return what a golden file has to say of a deployment, and the manifests of the same outputs.

    Of the assets that all dumps share, every shard counts once. Outputs that are not there are left out.
    """
    golden: Golden = {}
    manifests: dict[str, list[Manifest]] = {}
    for name, artifacts in _outputs(deployment, dumps).items():
        made = [(artifact, artifact.manifest()) for artifact in artifacts]
        found = [(artifact, manifest) for artifact, manifest in made if manifest]
        if not found:
            continue
        recipe = found[0][1].recipe
        manifests[name] = [manifest for _, manifest in found]
        golden[name] = {
            "code_version": recipe.code_version,
            "settings": sha256_value(recipe.settings),
            "data": sha256_value([_content(artifact, manifest) for artifact, manifest in found]),
        }
    return golden, manifests


def unpinned_libraries(manifests: Mapping[str, list[Manifest]]) -> list[str]:
    """Say which of the libraries that shaped outputs are not at the version that constraints.txt has."""
    named = {name for group in manifests.values() for manifest in group for name in manifest.recipe.libraries}
    distributions = sorted({name for library in named for name in _DISTRIBUTIONS.get(library, (library,))})
    pinned = dict(line.split("==") for line in (PROJECT / "constraints.txt").read_text().split() if "==" in line)
    return [
        f"{name} is {version(name)}, constraints.txt has {pinned.get(name)}"
        for name in distributions
        if version(name).partition("+")[0] != pinned.get(name, "").partition("+")[0]
    ]


def differences(
    golden: Golden, found: Golden, manifests: Mapping[str, list[Manifest]], definitions: dg.Definitions
) -> list[str]:
    """Explain each output that is not as recorded; of outputs made from such a one, only name them."""
    differing = {name for name in golden.keys() | found.keys() if golden.get(name) != found.get(name)}
    explained, following = [], []
    for name in sorted(differing):
        if _sources(name, manifests.get(name, [])) & differing:
            following.append(name)
        else:
            explained.append(_explanation(name, golden.get(name), found.get(name), definitions))
    return [*explained, *([f"Made from these, and different as well: {', '.join(following)}"] if following else [])]


def code_version_constant(definitions: dg.Definitions, asset: str) -> tuple[str, Path, str]:
    """Return the constant that holds an asset's code version: its name, its file in the project, and its value."""
    assets_def = definitions.resolve_assets_def(asset)
    function: Any = inspect.unwrap(assets_def.op.compute_fn.decorated_fn)  # type: ignore[union-attr]
    (name,) = set(re.findall(r"\bcode_version=(\w+)", inspect.getsource(function).partition("def ")[0]))
    file = Path(inspect.getsourcefile(function) or "").relative_to(PROJECT)
    return name, file, function.__globals__[name]


def _outputs(deployment: Deployment, dumps: Iterable[str]) -> dict[str, list[Artifact]]:
    shards = shard_names(int(deployment.settings["SHARDS"]))
    outputs: dict[str, list[Artifact]] = {}
    for dump in dumps:
        for asset, keys in text_partitions(dump, shards, cc100=True).items():
            of_dump = any(key and key.startswith(dump) for key in keys)
            name = f"{asset} {dump}" if of_dump else asset
            sharded = len(keys) > 1
            if asset != _NOT_RECORDED:
                outputs[name] = [
                    deployment.shard(asset, dump if of_dump else None, shard)
                    if sharded
                    else deployment.root.directory(asset, dump if of_dump else None)
                    for shard in (shards if sharded else [""])
                ]
        for asset in MODEL_ASSETS:
            outputs[f"{asset} {dump}"] = [deployment.root.directory(asset, dump, model=deployment.settings["MODEL"])]
    return outputs


def _content(artifact: Artifact, manifest: Manifest) -> Any:
    if artifact.asset not in MODEL_ASSETS:
        return {"files": manifest.data_sha256, "counts": manifest.counts}
    counts = {} if artifact.asset == "release" else manifest.counts  # a release counts the bytes of its scores' digits
    counts = {name: count for name, count in counts.items() if name != FINAL_CHECKPOINT}  # its bytes vary with the CPU
    return {
        "files": {name: _masked_file(artifact.path / name) for name in sorted(manifest.files)},
        "counts": _masked(counts),
    }


def _masked_file(path: Path) -> Any:
    if path.suffix == ".safetensors":
        content = path.read_bytes()
        return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    if path.suffix == ".gguf":
        return _gguf_content(path)
    text = path.read_text()
    if path.name == PROVENANCE:  # hashes and counts of steps that have entries of their own
        steps = read_statement(text.encode()).chain.steps
        return [[step.label, step.manifest.recipe.stage, *sorted(step.manifest.recipe.inputs)] for step in steps]
    if path.name == BILL_OF_MATERIALS:  # the hashes and scores of a model differ between processors
        return [[part["type"], part["name"]] for part in json.loads(text)["components"]]
    if path.suffix in (".md", ".svg"):
        return _MASKED_TEXT.sub("…", text)
    return [_masked(json.loads(line)) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]


def _gguf_content(path: Path) -> Any:
    """Return the settings and tokens of a GGUF, and the names, types and shapes of its tensors."""
    reader = GGUFReader(path)
    tensors = [[tensor.name, tensor.tensor_type.name, tensor.shape.tolist()] for tensor in reader.tensors]
    return {"fields": {name: field.contents() for name, field in reader.fields.items()}, "tensors": tensors}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "…" if name == _SAMPLED_TEXT else _masked(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_masked(entry) for entry in value]
    return "…" if isinstance(value, float) else value


def _sources(name: str, manifests: Iterable[Manifest]) -> set[str]:
    """Return the outputs that an output was made from, by their names in a golden file."""
    dump = name.partition(" ")[2]
    labels = {label for manifest in manifests for label in manifest.recipe.inputs}
    return {f"wikipedia_dump {dump}" if label == "pages" else label.partition("|")[0] for label in labels} | {
        label.partition(" ")[0] for label in labels
    }


def _explanation(
    name: str, golden: Mapping[str, str] | None, found: Mapping[str, str] | None, definitions: dg.Definitions
) -> str:
    asset = name.partition(" ")[0]
    if golden is None or found is None:
        what = "not recorded" if golden is None else "recorded but not made"
        return f"{name} is {what}. Update the golden file:\n  {UPDATE}"
    if golden["code_version"] != found["code_version"]:
        raised = f"{golden['code_version']} to {found['code_version']}"
        return f"{name}: its code version was raised from {raised}. Update the golden file:\n  {UPDATE}"
    if golden["settings"] != found["settings"]:
        return f"{name} was made with other settings than the recorded one. Update the golden file:\n  {UPDATE}"
    constant, file, value = code_version_constant(definitions, asset)
    return (
        f"{name}: the same input no longer gives the same bytes, but its code version is still {value!r}. If that is "
        f"meant, raise {constant} in {file}, say in CHANGELOG what becomes stale (CONTRIBUTING.md), and update the "
        f"golden file:\n  {UPDATE}"
    )
