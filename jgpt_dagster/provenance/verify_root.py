"""Whether a data root is what its manifests say: every output hashed, in its place, and made of what lies beside it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jgpt_dagster.catalog.evaluated_models import EVALUATIONS
from jgpt_dagster.lm.training.checkpoint_trust import (
    UntrustedError,
    read_signed_manifest,
    read_unsigned_manifest,
    signing_key,
)
from jgpt_dagster.provenance.chain import SHARD_RANGES, shard_hashes
from jgpt_dagster.provenance.final_checkpoint import other_checkpoints
from jgpt_dagster.provenance.finding import Finding
from jgpt_dagster.provenance.labels import PAGES, Label, dump_of_pages, is_output, kept_roots, parse_label
from jgpt_dagster.provenance.root_files import RECEIPTS, ROOT_RECORDS, RootFiles, kept_checkpoints, root_files
from jgpt_dagster.provenance.verify_output import OnRead, hashed_bytes, verify_output, verify_sealed
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.damage import clear_damage, mark_damage
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.manifest import Manifest
from jgpt_dagster.storage.object_store import read_bytes
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster.storage.sealed_json import read_sealed_json

_HASH_CHUNK = 1 << 20
_NUMBERED = ("document_id", "key")
_OF_ONE_DUMP = ("training_set", "evaluation", "release", *EVALUATIONS)

OnOutput = Callable[[str], None]


def bytes_to_hash(root: DataRoot, scratch: Path) -> int:
    """Return about how many bytes `verify_root` reads."""
    outputs = sum(hashed_bytes(output) for place in (root, *kept_roots(root)) for output in root_files(place).outputs)
    checkpoints = (path for folder in kept_checkpoints(scratch) for path in folder.rglob("*") if path.is_file())
    return outputs + sum(path.stat().st_size for path in checkpoints)


def verify_root(
    root: DataRoot, scratch: Path, on_read: OnRead = lambda size: None, *, mark: bool = False
) -> Iterator[Finding]:
    """Yield everything in a root, and in the checkpoints of its scratch directory, that is not as it was recorded.

    Files are streamed; `on_read` is called with the number of bytes after each read. The Dagster instance, locks, keys
    and the working files of training runs are not outputs and are not looked at. With `mark`, an output that is damaged
    is marked as such for `jgpt status` and the UI, and one that is whole loses its mark.
    """
    for name in ROOT_RECORDS:
        if (root.path / name).is_file():
            yield from verify_sealed(root.path / name, name)
    for receipt in sorted((root.path / RECEIPTS).glob("*.json")):
        yield from verify_sealed(receipt, f"{RECEIPTS}/{receipt.name}")
    yield from verify_outputs(root, root_files(root), on_read, mark=mark)
    for place in kept_roots(root):
        for finding in verify_outputs(place, root_files(place), on_read):
            if finding.kind != "missing":  # only what training reads is kept there
                yield finding
    for checkpoint in kept_checkpoints(scratch):
        yield from verify_checkpoint(root, checkpoint, on_read)
    yield from other_checkpoints(root, scratch)


def verify_outputs(
    root: DataRoot, files: RootFiles, on_read: OnRead = lambda size: None, *, mark: bool = False
) -> Iterator[Finding]:
    """Yield what is wrong with these outputs of a root, and the files that belong to none."""
    manifests = {output.label: manifest for output in files.outputs if (manifest := output.manifest())}
    places = {output.label: output for output in files.outputs}
    shards = _shard_count(root)
    for output in files.outputs:
        findings = list(verify_output(output, on_read))
        yield from findings
        if mark:
            _mark(output, findings)
        manifest = manifests.get(output.label)
        if manifest is None:
            continue
        if output.asset.endswith("_dump"):
            yield from _verify_published_sha1(output, manifest)
        yield from (_misplaced(output, problem) for problem in _misplacements(output, manifest, places, shards))
        yield from _verify_inputs(output, manifest, manifests)
    for path in files.strays:
        yield Finding("unlisted", str(path.relative_to(root.path)), str(path), f"{path} belongs to no output")


def _mark(output: Artifact, findings: list[Finding]) -> None:
    """Mark an output by what was found of its data."""
    records = (str(output.run_path), str(output.verdicts_path))
    damage = [each.problem for each in findings if each.kind == "damaged" and each.path not in records]
    if damage:
        mark_damage(output, damage[0])
    else:
        clear_damage(output)


def verify_checkpoint(root: DataRoot, checkpoint: Path, on_read: OnRead = lambda size: None) -> Iterator[Finding]:
    """Yield what is wrong with a checkpoint: its manifest must be signed with this user's key if the root has one."""
    label = f"checkpoint {checkpoint.parent.parent.name} {checkpoint.name}"
    try:
        if any(root.path.glob(".keys/checkpoints-*.key")):
            manifest = read_signed_manifest(checkpoint, signing_key(root.path), root.path)
        else:
            manifest = read_unsigned_manifest(checkpoint)
    except UntrustedError as error:
        yield Finding("damaged", label, str(checkpoint), f"{checkpoint}: {str(error).splitlines()[0]}")
        return
    for name, entry in manifest.files.items():
        if mismatch := entry.mismatch(checkpoint / name, on_read):
            yield Finding("damaged", label, str(checkpoint / name), mismatch)


def _misplaced(output: Artifact, problem: str) -> Finding:
    return Finding("misplaced", output.label, str(output.path), f"{output.path} {problem}")


def _misplacements(
    output: Artifact, manifest: Manifest, places: Mapping[str, Artifact], shards: int | None
) -> Iterator[str]:
    """Yield why an output cannot belong where it lies, by what its recipe and its rows say."""
    label, recipe = parse_label(output.label), manifest.recipe
    if recipe.stage != output.asset:
        yield f"is an output of {recipe.stage}"
        return
    if shards is not None and label.shard is not None and int(label.shard) >= shards:
        yield f"is none of the {shards} shards of this root"
    if (dump := recipe.settings.get("dump", label.dump)) != label.dump:
        yield f"is that of {dump}"
    for made_of, sha256 in recipe.inputs.items():
        source = parse_label(made_of, output.model)
        if made_of == PAGES:
            yield from _other_pages(label, sha256, places)
        elif _belongs_elsewhere(output.asset, label, source):
            yield f"was made of {made_of}"
    if isinstance(output, ParquetArtifact) and label.dump is None and shards:
        yield from _other_numbers(output, int(label.shard or 0), shards)


def _belongs_elsewhere(asset: str, label: Label, source: Label) -> bool:
    """Return whether an output with this label cannot have been made of a source with that one."""
    if label.shard and source.shard:
        return (source.dump, source.shard) != (label.dump, label.shard)
    return asset in _OF_ONE_DUMP and source.dump not in (None, label.dump)


def _other_pages(articles: Label, sha256: str, places: Mapping[str, Artifact]) -> Iterator[str]:
    """Yield that a shard of articles was read from the pages of another one, if one has these bytes and it has not."""
    own = dump_of_pages(articles)
    readers = [
        (dump.partition, number)
        for dump in places.values()
        if dump.asset == own.asset
        for number, range_sha256 in enumerate(_ranges(dump))
        if range_sha256 == sha256
    ]
    if readers and (own.dump, int(articles.shard or 0)) not in readers:
        yield f"was read from the pages of {readers[0][0]}|{readers[0][1]:03d}"


def _ranges(dump: Artifact) -> list[str]:
    try:
        return shard_hashes(read_bytes(dump.location / SHARD_RANGES).decode())
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _other_numbers(output: ParquetArtifact, shard: int, shards: int) -> Iterator[str]:
    """Yield that the rows are of another shard: document i of a source is in shard i modulo their number."""
    try:
        columns = [name for name in pq.read_schema(output.path).names if name in _NUMBERED]
        first = next(read_rows(output.path, columns), (shard,))[0] if columns else shard
    except (OSError, ValueError, pa.ArrowException):  # told as damage
        return
    if first % shards != shard:
        yield f"holds document {first}, which belongs into shard {first % shards:03d}"


def _verify_inputs(output: Artifact, manifest: Manifest, manifests: Mapping[str, Manifest]) -> Iterator[Finding]:
    """Yield the inputs that are not those beside an output: made again since, or removed."""
    for made_of, sha256 in manifest.recipe.inputs.items():
        if not is_output(made_of):
            continue
        label = str(parse_label(made_of, output.model))
        found = manifests.get(label)
        if found is None:
            problem = f"{label}, of which it was made, is not here"
            yield Finding("missing", output.label, str(output.path), problem)
        elif found.data_sha256 != sha256:
            problem = f"{label} is not the one that it was made of: it was made again or exchanged since"
            yield Finding("stale", output.label, str(output.path), problem)


def _verify_published_sha1(output: Artifact, manifest: Manifest) -> Iterator[Finding]:
    """Yield the files of a dump that have another sha1 than their publisher gave."""
    for name, published in manifest.counts.get("sha1", {}).items():
        path = output.path / name
        if path.is_file() and (found := _sha1(path)) != published:
            problem = f"{path} has sha1 {found}, the publisher gave {published}"
            yield Finding("damaged", output.label, str(path), problem)


def _sha1(path: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as stream:
        while chunk := stream.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _shard_count(root: DataRoot) -> int | None:
    try:
        shards = read_sealed_json((root.path / "root.json").read_bytes()).get("shards")
    except (OSError, ValueError):
        return None
    return shards if isinstance(shards, int) else None
