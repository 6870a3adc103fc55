"""An output is whole, current, or refused with the file, what was expected, and what to run."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from jgpt_dagster.storage.artifact import ArtifactError
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe, library_versions
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

RECIPE = Recipe("stage", "1", {"text": "clean"}, {"input": "00ff"}, {"pyarrow": "1"})
SCHEMA = pa.schema([("page_id", pa.int64()), ("lines", pa.list_(pa.string()))])

OTHER_RECIPES = [
    replace(RECIPE, stage="other"),
    replace(RECIPE, code_version="2"),
    replace(RECIPE, settings={"text": "seed"}),
    replace(RECIPE, inputs={"input": "00fe"}),
    replace(RECIPE, inputs={}),
    replace(RECIPE, libraries={"pyarrow": "2"}),
]


def flip_bit(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryArtifact:
    artifact = DataRoot(tmp_path).directory("wikipedia_tokens", "20260101", "003")
    with artifact.writing(RECIPE) as out:
        (out.path / "tokens.bin").write_bytes(bytes(1000))
        (out.path / "below").mkdir()
        (out.path / "below" / "other").write_text("町")
        out.counts = {"tokens": 500}
    return artifact


@pytest.fixture
def shard(tmp_path: Path) -> ParquetArtifact:
    artifact = DataRoot(tmp_path).parquet("wikipedia_articles", "20260101", "003")
    rows = ((number, ["海に近い町", str(number)]) for number in range(300))
    artifact.write(SCHEMA, rows, RECIPE, lambda: {"pages": 301}, lambda: [{"page_id": 7, "reason": "too large"}])
    return artifact


def test_a_manifest_comes_back_from_its_json() -> None:
    manifest = Manifest(RECIPE, {"rows": 3}, {"data": FileEntry(5, "aa")})
    assert Manifest.from_dict(manifest.to_dict()) == manifest


def test_the_identity_of_data_depends_on_the_data_alone() -> None:
    files = {"data": FileEntry(5, "aa"), "rejected": FileEntry(0, "bb")}
    manifest = Manifest(RECIPE, {"rows": 3}, files)
    same = Manifest(OTHER_RECIPES[0], {}, dict(reversed(files.items())))
    assert manifest.data_sha256 == same.data_sha256
    assert manifest.data_sha256 != replace(manifest, files={"data": FileEntry(5, "ab")}).data_sha256


def test_library_versions_are_the_installed_ones() -> None:
    assert library_versions("pyarrow") == {"pyarrow": pa.__version__}


def test_a_directory_lists_every_file_with_size_and_hash(directory: DirectoryArtifact) -> None:
    manifest = directory.verified()
    assert manifest.recipe == RECIPE
    assert manifest.counts == {"tokens": 500}
    assert {name: entry.size for name, entry in manifest.files.items()} == {"below/other": 3, "tokens.bin": 1000}
    assert directory.up_to_date_manifest(RECIPE) == manifest


def test_a_shard_carries_its_manifest(shard: ParquetArtifact) -> None:
    manifest = shard.verified()
    assert manifest.counts == {"pages": 301, "rows": 300}
    assert shard.rejected_path.read_text() == '{"page_id":7,"reason":"too large"}\n'
    assert shard.up_to_date_manifest(RECIPE) == manifest


@pytest.mark.parametrize(
    "recipe",
    OTHER_RECIPES,
    ids=lambda recipe: next(
        name
        for name in ("stage", "code_version", "settings", "inputs", "libraries")
        if getattr(recipe, name) != getattr(RECIPE, name)
    ),
)
def test_what_another_recipe_made_is_not_current(
    directory: DirectoryArtifact, shard: ParquetArtifact, recipe: Recipe
) -> None:
    assert directory.up_to_date_manifest(recipe) is None
    assert shard.up_to_date_manifest(recipe) is None


DIRECTORY_DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda path: (path / "tokens.bin").unlink(), r"tokens\.bin is missing \(expected 1,000 bytes\)"),
    "cut file": (
        lambda path: (path / "tokens.bin").write_bytes(bytes(999)),
        r"tokens\.bin has 999 bytes, expected 1,000",
    ),
    "flipped bit": (lambda path: flip_bit(path / "tokens.bin", 500), r"tokens\.bin has sha256 \w+…, expected \w+…"),
    "flipped bit below": (lambda path: flip_bit(path / "below" / "other", 1), r"below/other has sha256"),
    "no manifest": (lambda path: (path / "manifest.json").unlink(), "is missing or incomplete"),
    "cut manifest": (lambda path: (path / "manifest.json").write_text("{"), "is missing or incomplete"),
    "foreign manifest": (lambda path: (path / "manifest.json").write_text("[]"), "is missing or incomplete"),
}


@pytest.mark.parametrize(("damage", "message"), DIRECTORY_DAMAGE.values(), ids=DIRECTORY_DAMAGE)
def test_a_damaged_directory_is_refused_with_what_to_run(
    directory: DirectoryArtifact, damage: Callable[[Path], object], message: str
) -> None:
    damage(directory.path)
    assert directory.up_to_date_manifest(RECIPE) is None
    with pytest.raises(ArtifactError, match=message) as caught:
        directory.verified()
    assert "--select wikipedia_tokens --partition '20260101|003'" in str(caught.value)
    assert str(directory.path) in str(caught.value)


SHARD_DAMAGE: dict[str, tuple[Callable[[ParquetArtifact], object], str]] = {
    "missing": (lambda shard: shard.path.unlink(), "missing or incomplete"),
    "empty": (lambda shard: shard.path.write_bytes(b""), "missing or incomplete"),
    "cut": (lambda shard: shard.path.write_bytes(shard.path.read_bytes()[:-100]), "missing or incomplete"),
    "flipped bit in the first row group": (lambda shard: flip_bit(shard.path, 60), "holds data of sha256"),
    "flipped bit in the footer's magic": (
        lambda shard: flip_bit(shard.path, shard.path.stat().st_size - 1),
        "missing or incomplete",
    ),
    "no rejected rows": (lambda shard: shard.rejected_path.unlink(), r"rejected\.jsonl is missing"),
    "flipped bit in the rejected rows": (lambda shard: flip_bit(shard.rejected_path, 3), r"rejected\.jsonl has sha256"),
}


@pytest.mark.parametrize(("damage", "message"), SHARD_DAMAGE.values(), ids=SHARD_DAMAGE)
def test_a_damaged_shard_is_refused_with_what_to_run(
    shard: ParquetArtifact, damage: Callable[[ParquetArtifact], object], message: str
) -> None:
    damage(shard)
    assert shard.up_to_date_manifest(RECIPE) is None
    with pytest.raises(ArtifactError, match=message) as caught:
        shard.verified()
    assert "--select wikipedia_articles --partition '20260101|003'" in str(caught.value)


def test_no_flipped_bit_of_a_shard_goes_unseen(shard: ParquetArtifact) -> None:
    whole = shard.path.read_bytes()
    found = shard.verified()
    for offset in range(0, len(whole), 97):
        shard.path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        manifest = shard.manifest()
        assert manifest is None or manifest != found or shard.find_mismatch(manifest), f"byte {offset} of {len(whole)}"


def test_a_parquet_file_of_another_program_is_no_output(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    shard = DataRoot(tmp_path).parquet("wikipedia_articles", "20260101", "000")
    shard.path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"page_id": [1]}), shard.path)
    assert shard.manifest() is None


def test_one_file_of_a_directory_can_be_verified_alone(directory: DirectoryArtifact) -> None:
    (directory.path / "below" / "other").unlink()
    sha256 = directory.manifest().files["tokens.bin"].sha256  # type: ignore[union-attr]
    assert directory.verified_file("tokens.bin", sha256) == directory.path / "tokens.bin"
    with pytest.raises(ArtifactError, match="has been made again since"):
        directory.verified_file("tokens.bin", "0" * 64)
    with pytest.raises(ArtifactError, match="missing or incomplete"):
        directory.verified_file("unlisted")


def test_the_record_of_the_run_is_no_part_of_the_output(directory: DirectoryArtifact, shard: ParquetArtifact) -> None:
    for artifact in (directory, shard):
        assert artifact.run_record() == {}
        artifact.run_path.write_text('{"seconds": 1.5}')
        assert artifact.run_record() == {"seconds": 1.5}
        assert artifact.up_to_date_manifest(RECIPE)
        artifact.run_path.write_text("{")
        assert artifact.run_record() == {}


def test_a_removed_output_leaves_nothing(directory: DirectoryArtifact, shard: ParquetArtifact) -> None:
    for artifact in (directory, shard):
        artifact.run_path.write_text("{}")
        artifact.remove()
        assert artifact.manifest() is None
        assert list(artifact.path.parent.iterdir()) == []


def test_a_killed_removal_leaves_a_leftover_and_nothing_that_looks_like_the_output(
    directory: DirectoryArtifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as moment:
        moment.setattr(shutil, "rmtree", lambda *arguments, **options: None)  # killed before it has removed anything
        directory.remove()
    assert [path.name for path in directory.path.parent.iterdir()] == [f".{directory.path.name}.old"]
    with directory.writing(RECIPE):
        pass
    directory.remove()
    assert list(directory.path.parent.iterdir()) == []


def test_a_failed_rewrite_leaves_the_output_as_it_was(directory: DirectoryArtifact, shard: ParquetArtifact) -> None:
    with pytest.raises(RuntimeError), directory.writing(OTHER_RECIPES[0]) as out:
        (out.path / "tokens.bin").write_bytes(b"")
        raise RuntimeError

    def rows() -> "list[tuple[int, list[str]]]":
        raise RuntimeError

    with pytest.raises(RuntimeError):
        shard.write(SCHEMA, (row for row in rows()), OTHER_RECIPES[0], dict, list)
    assert directory.up_to_date_manifest(RECIPE)
    assert shard.up_to_date_manifest(RECIPE)
