"""A data root on an object store: what is published is whole or no data, and what is fetched is what was published."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage import object_store
from jgpt_dagster.storage.artifact import Artifact, ArtifactError
from jgpt_dagster.storage.data_root import DataRoot, RootMismatchError
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.object_store import ObjectStoreError
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster.storage.sealed_json import read_sealed_json
from jgpt_dagster_tests.support.s3_bucket import s3_bucket

RECIPE = Recipe("stage", "1")
SCHEMA = pa.schema([("id", pa.int64())])


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as (url, _):
        yield url


@pytest.fixture
def url(bucket: str, tmp_path: Path) -> str:
    return f"{bucket}/{tmp_path.name}"


@pytest.fixture
def here(url: str, tmp_path: Path) -> DataRoot:
    """The root as one machine has it."""
    return DataRoot.open(url, tmp_path / "here")


@pytest.fixture
def there(url: str, tmp_path: Path) -> DataRoot:
    """The same root on a machine that has no copy of anything."""
    return DataRoot.open(url, tmp_path / "there")


def directory(root: DataRoot, text: str = "text", recipe: Recipe = RECIPE, upload: bool = True) -> DirectoryArtifact:
    artifact = root.directory("training_set", "20250801")
    with artifact.writing(recipe) as out:
        (out.path / "below").mkdir()
        (out.path / "a.txt").write_text(text)
        (out.path / "below" / "b.txt").write_text("b")
    if upload:
        artifact.upload()
    return artifact


def shard(root: DataRoot, rows: int = 3, recipe: Recipe = RECIPE, upload: bool = True) -> ParquetArtifact:
    artifact = root.parquet("wikipedia_articles", "20250801", "000")
    artifact.write(SCHEMA, iter([(row,) for row in range(rows)]), recipe, dict, lambda: [{"page_id": 7}])
    if upload:
        artifact.upload()
    return artifact


MAKERS: list[Callable[..., Artifact]] = [directory, shard]


def same(artifact: Artifact, root: DataRoot) -> Artifact:
    return (
        root.parquet(artifact.asset, "20250801", "000")
        if "|" in artifact.partition
        else root.directory(artifact.asset, "20250801")
    )


def files(path: Path) -> dict[str, bytes]:
    found = path.parent.rglob("*") if path.is_file() else path.rglob("*")
    return {str(file.name): file.read_bytes() for file in found if file.is_file() and file.name[0] != "."}


@pytest.mark.parametrize("make", MAKERS)
def test_another_machine_gets_the_same_bytes(make: Callable[..., Artifact], here: DataRoot, there: DataRoot) -> None:
    made = make(here)
    copy = same(made, there)
    assert copy.manifest() == made.manifest() and not copy.path.exists()  # to ask costs no download
    assert copy.up_to_date_manifest(RECIPE) is not None
    fetched = files(copy.path)
    assert fetched == {name: data for name, data in files(made.path).items() if name in fetched}
    assert len(fetched) == 2


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_not_uploaded_to_the_end_is_no_data_and_is_not_made_again_where_it_was_made(
    make: Callable[..., Artifact], here: DataRoot, there: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = iter(range(1, 9))

    class Killed(BaseException):
        pass

    def killed_at_the_last(file: Path, location: UPath) -> None:
        if next(uploads) == last:
            raise Killed
        upload(file, location)

    upload, last = object_store.upload, 3 if make is directory else 2
    made = make(here, upload=False)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(object_store, "upload", killed_at_the_last)
        made.upload()
    assert same(made, there).manifest() is None and here.dumps(made.asset) == ["20250801"]
    with pytest.raises(ArtifactError, match="missing or incomplete"):
        same(made, there).verified()
    assert made.up_to_date_manifest(RECIPE) is not None  # taken up by the next run
    same(made, there).verified()


@pytest.mark.parametrize("make", MAKERS)
def test_an_old_output_is_not_mixed_with_a_new_one_that_is_uploaded_in_part(
    make: Callable[..., Artifact], here: DataRoot, there: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(here)
    newer = Recipe("stage", "2")
    with monkeypatch.context() as patch:
        patch.setattr(object_store, "upload", lambda file, location: None)
        make(here, recipe=newer)
    found = same(made, there).manifest()
    assert found is None if make is directory else found is not None and found.recipe == RECIPE
    assert same(made, there).up_to_date_manifest(newer) is None


@pytest.mark.parametrize(("make", "name"), [(directory, "below/b.txt"), (shard, "shard=000.rejected.jsonl")])
@pytest.mark.parametrize("damage", ["bytes", "absence"])
def test_a_damaged_object_is_refused_by_its_url_with_what_to_run(
    make: Callable[..., Artifact], name: str, damage: str, here: DataRoot, there: DataRoot
) -> None:
    made = make(here)
    assert made.remote is not None
    location = (made.remote if make is directory else made.remote.parent) / name
    if damage == "bytes":
        location.write_bytes(b"x" * location.stat().st_size)
    else:
        location.unlink()
    copy = same(made, there)
    assert copy.up_to_date_manifest(RECIPE) is None
    with pytest.raises(ArtifactError) as refusal:
        copy.verified()
    assert str(location) in str(refusal.value) and made.rebuild_command in str(refusal.value)


def test_a_damaged_parquet_object_is_refused(here: DataRoot, there: DataRoot) -> None:
    made = shard(here)
    assert made.remote is not None
    data = bytearray(made.path.read_bytes())
    data[6] ^= 1
    made.remote.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="s3://"):
        same(made, there).verified()


@pytest.mark.parametrize("make", MAKERS)
def test_a_stale_or_damaged_copy_is_fetched_anew(
    make: Callable[..., Artifact], here: DataRoot, there: DataRoot
) -> None:
    copy = same(make(here), there)
    copy.verified()
    newer = Recipe("stage", "2")
    made = make(here, **({"text": "other"} if make is directory else {"rows": 5}), recipe=newer)
    assert copy.up_to_date_manifest(RECIPE) is None and copy.up_to_date_manifest(newer) is not None
    target = copy.path / "a.txt" if make is directory else copy.path
    target.write_bytes(b"rotten")
    copy.verified()
    assert target.read_bytes() == (made.path / "a.txt" if make is directory else made.path).read_bytes()


def test_one_file_is_fetched_alone(here: DataRoot, there: DataRoot) -> None:
    directory(here)
    copy = there.directory("training_set", "20250801")
    assert copy.unverified_file("a.txt").read_text() == "text"
    assert copy.verified_file("below/b.txt").read_text() == "b"
    assert not (copy.path / "manifest.json").exists()


def test_an_outage_does_not_look_like_missing_data(
    here: DataRoot, there: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make(here) for make in MAKERS]

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    for method in ("cat_file", "open", "_open", "info"):
        monkeypatch.setattr(type(made[0].remote.fs), method, refuse)  # type: ignore[union-attr]
    for artifact in made:
        with pytest.raises(ObjectStoreError, match=r"s3://.*Access Denied"):
            same(artifact, there).manifest()


def test_the_settings_of_a_root_bind_every_machine(here: DataRoot, there: DataRoot) -> None:
    here.pin_settings({"wiki": "jawiki"})
    there.pin_settings({"wiki": "jawiki"})
    with pytest.raises(RootMismatchError, match="JGPT_WIKI=jawikinews"):
        there.pin_settings({"wiki": "jawikinews"})


def test_a_manifest_cannot_make_a_file_outside_of_its_output(here: DataRoot, there: DataRoot, tmp_path: Path) -> None:
    made = directory(here)
    assert made.remote is not None
    manifest = read_sealed_json((made.remote / "manifest.json").read_bytes())
    for name in ("../../../../escaped", str(tmp_path / "escaped")):
        manifest["files"] = {name: {"size": 1, "sha256": "0" * 64}}
        (made.remote / "manifest.json").write_bytes(json.dumps(manifest).encode())
        with pytest.raises(JgptError):
            same(made, there).verified()
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_store_that_nothing_installed_can_open_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreError, match="JGPT_DATA=nosuch://bucket"):
        DataRoot.open("nosuch://bucket", tmp_path)


def test_an_object_that_is_larger_than_its_manifest_says_is_not_stored(
    here: DataRoot, there: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = directory(here)
    assert made.remote is not None
    (made.remote / "a.txt").write_bytes(bytes(20_000_000))
    with pytest.raises(ArtifactError, match=r"a\.txt is larger than the 4 bytes"):
        same(made, there).verified()
    assert not (there.path / "training_set" / "dump=20250801" / "a.txt").exists()
    monkeypatch.setattr(object_store, "_MAX_SMALL_BYTES", 100)
    assert same(made, there).manifest() is None


def test_a_footer_is_not_read_if_it_claims_to_be_larger_than_any(tmp_path: Path) -> None:
    made = shard(DataRoot(tmp_path))
    size = made.path.stat().st_size
    with open(made.path, "r+b") as stream:
        stream.truncate(1 << 30)
        stream.seek((1 << 30) - 8)
        stream.write(((1 << 30) - size).to_bytes(4, "little") + b"PAR1")
    assert made.manifest() is None
