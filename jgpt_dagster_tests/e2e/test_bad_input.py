"""Bad input gets an error that says what is wrong and what to do, harms nothing, and is forgiven once it is mended.

Cases start from a deployment whose first dump is whole. Most run their assets in this process, as Dagster runs whose
error is the very text that `jgpt run` prints; some run the command.
"""

import bz2
import hashlib
import json
import lzma
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.sample.pack import Page, write_dump
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, mini_deployment, mini_pages

pytestmark = pytest.mark.slow

STEM = f"miniwiki-{LATER_DUMP}-pages-articles-multistream"
DUMP_FILE, INDEX_FILE = f"{STEM}.xml.bz2", f"{STEM}-index.txt.bz2"


class Wiki:
    """The mirror's folder of the later dump, to be spoilt: whole at first, and announced as it is found."""

    def __init__(self, mirror: Path) -> None:
        self.mirror = mirror
        self.folder = mirror / "miniwiki" / LATER_DUMP
        self.mend()

    def mend(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.write(mini_pages())

    def write(self, pages: list[Page], wiki: str = "miniwiki") -> None:
        write_dump(self.mirror, wiki, LATER_DUMP, pages, pages_per_stream=4)

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def put(self, name: str, data: bytes, *, announce: bool = True) -> None:
        """Replace a file, of the very size and sha1 that the mirror announces unless told otherwise."""
        (self.folder / name).write_bytes(data)
        if announce:
            entry = {"size": len(data), "sha1": hashlib.sha1(data).hexdigest()}
            self.announce(lambda job: job["files"][name].update(entry))

    def put_xml(self, xml: bytes) -> None:
        """Replace the dump by one of this XML, a page a stream, without an index."""
        streams = re.split(rb"(?=<page>|</mediawiki>)", xml)
        self.put(DUMP_FILE, b"".join(map(bz2.compress, streams)))
        self.announce(lambda job: job["files"].pop(INDEX_FILE, None))

    def xml(self) -> bytes:
        return bz2.decompress(self.file(DUMP_FILE))

    def announce(self, change: Callable[[dict[str, Any]], object]) -> None:
        status = self.folder / "dumpstatus.json"
        document = json.loads(status.read_text())
        change(document["jobs"]["articlesmultistreamdump"])
        write_json(status, document)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A very small wiki whose first dump is segmented. Read only."""
    deployment = mini_deployment(tmp_path_factory.mktemp("good"))
    for asset, partition in (
        ("wikipedia_dump", DUMP),
        ("wikipedia_articles", f"{DUMP}|000"),
        ("wikipedia_segmented", f"{DUMP}|000"),
    ):
        assert deployment.materialize(asset, partition).error is None
    return deployment


@dataclass(frozen=True)
class Case:
    """A spoilt dump: how it is spoilt, and what the error must say."""

    spoil: Callable[[Wiki], object]
    says: tuple[str, ...]


def flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :]


def in_page(xml: bytes, text: bytes) -> bytes:
    """Write `text` into the third page."""
    before, mark, after = xml.partition("人口は3万人".encode())
    assert mark
    return before + text + after


def cut_off_without_index(wiki: Wiki) -> None:
    wiki.put(DUMP_FILE, wiki.file(DUMP_FILE)[:-200])
    wiki.announce(lambda job: job["files"].pop(INDEX_FILE))


CASES = {
    "cut-off bz2": Case(
        lambda wiki: wiki.put(DUMP_FILE, wiki.file(DUMP_FILE)[:-200]),
        (DUMP_FILE, "damaged in the compressed stream at byte", "take another date"),
    ),
    "cut-off bz2 without index": Case(
        cut_off_without_index,
        (DUMP_FILE, "damaged in the compressed stream at byte"),
    ),
    "a bz2 cut between two streams": Case(
        lambda wiki: wiki.put(DUMP_FILE, wiki.file(DUMP_FILE)[: wiki.file(DUMP_FILE).rfind(b"BZh91AY&SY")]),
        (DUMP_FILE, "</mediawiki>", "cut short"),
    ),
    "corrupted bz2": Case(
        lambda wiki: wiki.put(DUMP_FILE, flipped(wiki.file(DUMP_FILE), 1500)),
        (DUMP_FILE, "damaged in the compressed stream at byte", "take another date"),
    ),
    "wrong sha1": Case(
        lambda wiki: wiki.put(DUMP_FILE, flipped(wiki.file(DUMP_FILE), 1500), announce=False),
        (DUMP_FILE, "its sha1 is", "expected", "replace it"),
    ),
    "wrong size": Case(
        lambda wiki: wiki.announce(lambda job: job["files"][DUMP_FILE].update(size=7)),
        (DUMP_FILE, "its size is", "expected 7"),
    ),
    "an index of another dump": Case(
        lambda wiki: wiki.put(INDEX_FILE, bz2.compress(b"7:1:a\n900:2:b\n")),
        (INDEX_FILE, "line 1", "no bz2 stream begins", "take another date"),
    ),
    "an index that lists other pages": Case(
        lambda wiki: wiki.put(INDEX_FILE, bz2.compress(bz2.decompress(wiki.file(INDEX_FILE)).partition(b"\n")[2])),
        ("wikipedia_articles 20260120|000", "12 pages", "index lists 11"),
    ),
    "XML without siteinfo": Case(
        lambda wiki: wiki.put_xml(b"<mediawiki><page>" + wiki.xml().partition(b"<page>")[2]),
        (DUMP_FILE, "<siteinfo>"),
    ),
    "a UTF-16 file": Case(
        lambda wiki: wiki.put_xml(wiki.xml().decode().encode("utf-16")),
        (DUMP_FILE, "UTF-8 (UTF-16?)"),
    ),
    "invalid UTF-8 in a page": Case(
        lambda wiki: wiki.put_xml(in_page(wiki.xml(), b"\xff\xfe")),
        ("wikipedia_articles 20260120|000", "after page 2 '第2の町'", "UTF-8"),
    ),
    "deep nesting": Case(
        lambda wiki: wiki.put_xml(in_page(wiki.xml(), b"</text>" + b"<a>" * 100_000)),
        ("wikipedia_articles 20260120|000", "after page 2 '第2の町'", "nested more than 32 deep"),
    ),
    "entities that expand": Case(
        lambda wiki: wiki.put_xml(b'<!DOCTYPE mediawiki [<!ENTITY a "aaaaaaaaaa">]>' + wiki.xml()),
        (DUMP_FILE, "document type declaration"),
    ),
    "a dump of another wiki": Case(
        lambda wiki: wiki.put_xml(wiki.xml().replace(b"<dbname>miniwiki<", b"<dbname>otherwiki<")),
        (DUMP_FILE, "is a dump of otherwiki, expected miniwiki (JGPT_WIKI)"),
    ),
    "a dump that is not done": Case(
        lambda wiki: wiki.announce(lambda job: job.update(status="in-progress")),
        ("the miniwiki dump of 20260120 is not ready", "'in-progress'", "Take an earlier date"),
    ),
    "an unknown date": Case(
        lambda wiki: shutil.rmtree(wiki.folder),
        ("no status of the miniwiki dump of 20260120", "dumpstatus.json"),
    ),
    "a status that is no status": Case(
        lambda wiki: (wiki.folder / "dumpstatus.json").write_text("<html>"),
        ("dumpstatus.json",),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_dump_is_refused_and_harms_nothing(tmp_path: Path, good: Deployment, case: Case) -> None:
    deployment, wiki = _spoilt(tmp_path, good, case.spoil)
    before = deployment.files()

    error = _take(deployment)
    assert error is not None
    for words in case.says:
        assert words in error
    assert ".tmp" not in error
    articles = deployment.root.parquet("wikipedia_articles", LATER_DUMP, "000")
    assert not articles.path.exists()
    assert before.items() <= deployment.files().items()

    wiki.mend()
    # A fault that was announced with the right sha1 and lies in the pages is found after the dump was accepted.
    accepted = deployment.root.directory("wikipedia_dump", LATER_DUMP).manifest() is not None
    assert accepted == ("force: true" in error)
    assert _take(deployment, force=accepted) is None
    assert articles.verified().counts["articles"] == len(mini_pages()) - 2
    assert before.items() <= deployment.files().items()
    assert deployment.leftovers() == []


def test_jgpt_run_names_the_shard_and_the_command_to_resume(tmp_path: Path, good: Deployment) -> None:
    deployment, wiki = _spoilt(tmp_path, good, CASES["cut-off bz2"].spoil)
    command = ("jgpt", "run", "--dump", LATER_DUMP, "--to", "wikipedia_articles")
    refused = deployment.run(*command)
    assert refused.code == 1
    assert "Error: wikipedia_dump 20260120 failed: " in refused.output
    assert (
        "What was finished is kept. Resume with:\n  jgpt run --dump 20260120 --to wikipedia_articles" in refused.output
    )
    assert "Traceback" not in refused.output
    wiki.mend()
    assert _take(deployment) is None


def _spoilt(tmp_path: Path, good: Deployment, spoil: Callable[[Wiki], object]) -> tuple[Deployment, Wiki]:
    wiki = Wiki(tmp_path / "mirror")
    spoil(wiki)
    return good.copy(tmp_path / "data").with_settings(DUMPS_URL=wiki.mirror.as_uri()), wiki


def _take(deployment: Deployment, *, force: bool = False) -> str | None:
    """Make the later dump's articles from its mirror; return the first error."""
    return (
        deployment.materialize("wikipedia_dump", LATER_DUMP, force=force).error
        or deployment.materialize("wikipedia_articles", f"{LATER_DUMP}|000").error
    )


def test_one_bad_page_is_kept_aside_and_counted(tmp_path: Path, good: Deployment) -> None:
    huge = Page("大きな町", 50, 5000, "大きな町の話。" * 1_000_000)
    deep = Page("表", 51, 5001, "{{" * 50_000 + "[[" * 50_000)
    deployment, _ = _spoilt(tmp_path, good, lambda wiki: wiki.write([*mini_pages(), huge, deep]))
    assert _take(deployment) is None
    articles = deployment.root.parquet("wikipedia_articles", LATER_DUMP, "000")
    counts = articles.verified().counts
    assert counts["pages"] == 14
    assert counts["articles"] + counts["rejected"] == 12
    rejected = [json.loads(line) for line in articles.rejected_path.read_text().splitlines()]
    assert rejected[0] == {
        "page_id": 50,
        "revision_id": 5000,
        "title": "大きな町",
        "reason": "its text has more than 4,194,304 bytes",
    }


XZ = lzma.compress("一つ目の文書である。\n\n二つ目の文書である。\n\n".encode() * 2000)


@pytest.mark.parametrize(
    ("archive", "says"),
    [(XZ[: len(XZ) // 2], "is cut short"), (b"<html>Come back later</html>", "is no xz file"), (b"", "is no xz file")],
    ids=["cut-off", "a web page", "empty"],
)
def test_what_is_no_whole_archive_is_not_taken_for_one(
    tmp_path: Path, good: Deployment, archive: bytes, says: str
) -> None:
    source = tmp_path / "ja.txt.xz"
    source.write_bytes(archive)
    deployment = good.copy(tmp_path / "data").with_settings(CC100_URL=source.as_uri())
    before = deployment.files()
    error = deployment.materialize("cc100_dump", force=True).error
    assert error is not None
    assert says in error and "JGPT_CC100_URL" in error
    assert before.items() <= deployment.files().items()
    _replace(source, XZ)
    assert deployment.materialize("cc100_dump").error is None


def test_a_corrupted_cc100_archive_is_refused_and_harms_nothing(tmp_path: Path, good: Deployment) -> None:
    source = tmp_path / "ja.txt.xz"
    source.write_bytes(flipped(XZ, len(XZ) // 2))
    deployment = good.copy(tmp_path / "data").with_settings(CC100_URL=source.as_uri())
    before = deployment.files()
    deployment.materialize("cc100_dump")
    error = deployment.materialize("cc100_documents", "000").error
    assert error is not None
    assert "ja.txt.xz" in error
    assert "damaged in the compressed stream at byte 0" in error
    archive = deployment.root.directory("cc100_dump")
    assert f"delete {archive.path} and materialize cc100_dump again" in error
    assert not list(deployment.data.glob("cc100_documents/*.parquet"))
    assert before.items() <= deployment.files().items()

    _replace(source, XZ)
    archive.remove()
    assert deployment.materialize("cc100_dump").error is None
    assert deployment.materialize("cc100_documents", "000").error is None
    assert deployment.root.parquet("cc100_documents", shard="000").verified().counts["documents"] == 4000


def test_an_archive_of_another_sha256_is_refused(tmp_path: Path, good: Deployment) -> None:
    source = tmp_path / "ja.txt.xz"
    source.write_bytes(XZ)
    deployment = good.copy(tmp_path / "data").with_settings(CC100_URL=source.as_uri())
    error = deployment.materialize("cc100_dump", sha256="0" * 64).error
    assert error is not None
    assert "its sha256 is" in error
    assert deployment.root.directory("cc100_dump").manifest() is None


def test_a_missing_segmenter_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    deployment = mini_deployment(tmp_path).with_settings(SEGMENTER="jumanpp")
    for asset, partition in (("wikipedia_dump", DUMP), ("wikipedia_articles", f"{DUMP}|000")):
        assert deployment.materialize(asset, partition).error is None
    error = deployment.materialize("wikipedia_segmented", f"{DUMP}|000").error
    assert error is not None
    assert "JGPT_SEGMENTER=jumanpp needs the program 'jumanpp', which was not found. Install Juman++ 2" in error
    assert not deployment.root.parquet("wikipedia_segmented", DUMP, "000").path.exists()


def test_a_damaged_shard_is_found_and_made_again(tmp_path: Path, good: Deployment) -> None:
    deployment = good.copy(tmp_path / "data")
    whole = deployment.files()
    shard = deployment.root.parquet("wikipedia_articles", DUMP, "000")
    _replace(shard.path, flipped(shard.path.read_bytes(), 200))
    # What follows refuses it and says what to run…
    error = deployment.materialize("wikipedia_segmented", f"{DUMP}|000").error
    assert error is not None
    assert "shard=000.parquet holds data of sha256" in error
    assert "--select wikipedia_articles --partition '20260101|000'" in error
    # …which makes the same bytes again.
    for asset in ("wikipedia_articles", "wikipedia_segmented"):
        assert deployment.materialize(asset, f"{DUMP}|000").error is None
    assert deployment.files() == whole


def test_a_damaged_tokenizer_is_refused_and_replaced_only_when_asked(tmp_path: Path, good: Deployment) -> None:
    deployment = good.copy(tmp_path / "data")
    settings: dict[str, Any] = {"vocab_size": 500, "limit_alphabet": 50}
    assert deployment.materialize("tokenizer", **settings).error is None
    whole = deployment.files()
    path = deployment.root.directory("tokenizer").path / "tokenizer.json"
    _replace(path, flipped(path.read_bytes(), 5000))
    for asset, partition in (("tokenizer", None), ("wikipedia_tokens", f"{DUMP}|000")):
        error = deployment.materialize(asset, partition).error
        assert error is not None
        assert "tokenizer.json has sha256" in error
        assert "retrain: true" in error
    assert deployment.materialize("tokenizer", retrain=True, **settings).error is None
    assert deployment.files() == whole
    assert deployment.materialize("wikipedia_tokens", f"{DUMP}|000").error is None


def test_a_tokenizer_of_another_segmenter_is_refused(tmp_path: Path, good: Deployment) -> None:
    deployment = good.copy(tmp_path / "data")
    assert deployment.materialize("tokenizer", vocab_size=500, limit_alphabet=50, encodes="words").error is None
    tokenizer = deployment.root.directory("tokenizer")
    manifest = tokenizer.verified()
    with tokenizer.writing(manifest.recipe) as out:
        for name in manifest.files:
            text = (tokenizer.path / name).read_text()
            if name == "segmentation.json":
                text = json.dumps({**json.loads(text), "segmenter": "jumanpp", "fingerprint": "jumanpp-2"})
            (out.path / name).write_text(text)
        out.counts = manifest.counts
    error = deployment.materialize("wikipedia_tokens", f"{DUMP}|000").error
    assert error is not None
    assert "was trained on text segmented by jumanpp" in error
    assert "train a new tokenizer with `retrain: true`" in error
    assert not list(deployment.data.glob("wikipedia_tokens/*/*"))


@pytest.mark.parametrize(("present", "other"), [("words", "text"), ("text", "words")])
def test_one_root_does_not_mix_words_and_text(tmp_path: Path, good: Deployment, present: str, other: str) -> None:
    deployment = good.copy(tmp_path / "data")
    settings: dict[str, Any] = {"vocab_size": 500, "limit_alphabet": 50}
    assert deployment.materialize("tokenizer", encodes=present, **settings).error is None
    tokenizer = deployment.root.directory("tokenizer")
    made = tokenizer.verified()
    assert made.recipe.settings["encodes"] == present
    error = deployment.materialize("tokenizer", encodes=other, **settings).error or ""
    assert f"encodes {present}" in error and f"encodes: {other}" in error and "retrain: true" in error
    # Without `encodes`, the tokenizer stays what it is even where it is trained again.
    assert deployment.materialize("tokenizer", retrain=True, **settings).error is None
    assert tokenizer.verified() == made
    assert deployment.materialize("tokenizer", retrain=True, encodes=other, **settings).error is None
    assert tokenizer.verified().recipe.settings["encodes"] == other


def test_a_full_disk_loses_nothing_and_the_same_command_goes_on(tmp_path: Path, small_disk: Path) -> None:
    # Incompressible text: the articles do not fit on the disk.
    noise = [
        Page(f"第{number}の町", number, number, hashlib.shake_256(bytes([number])).hexdigest(600_000))
        for number in range(1, 6)
    ]
    deployment = replace(mini_deployment(tmp_path, noise), data=small_disk / "data")
    assert deployment.materialize("wikipedia_dump", DUMP).error is None
    error = deployment.materialize("wikipedia_articles", f"{DUMP}|000").error
    assert error is not None
    assert "the disk is full" in error
    assert "run the same command again" in error
    assert deployment.leftovers() == []
    assert deployment.root.directory("wikipedia_dump", DUMP).verified()
    subprocess.check_call(["mount", "-o", "remount,size=64m", small_disk])
    assert deployment.materialize("wikipedia_articles", f"{DUMP}|000").error is None
    assert deployment.root.parquet("wikipedia_articles", DUMP, "000").verified().counts["articles"] == 5


def test_a_data_root_that_cannot_be_written_is_named(tmp_path: Path, small_disk: Path) -> None:
    subprocess.check_call(["mount", "-o", "remount,ro", small_disk])
    deployment = replace(
        mini_deployment(tmp_path), data=small_disk / "data", environment={"DAGSTER_HOME": str(tmp_path / "dagster")}
    )
    command = ("run", "--dump", DUMP, "--to", "wikipedia_dump")
    refused = deployment.try_invoke(*command)
    assert refused.code == 1
    assert refused.output.startswith(
        f"Error: JGPT_DATA={deployment.data} cannot be written. Make it writable, or point"
    )
    subprocess.check_call(["mount", "-o", "remount,rw", small_disk])
    assert deployment.materialize("wikipedia_dump", DUMP).error is None


@pytest.mark.parametrize(
    ("setting", "refusal"),
    [
        ("SCRATCH", "Error: JGPT_SCRATCH=/dev/null/scratch cannot be written. Make it writable, or point JGPT_SCRATCH"),
        ("SEGMENTER", "JGPT_SEGMENTER=jumanpp needs the program 'jumanpp', which was not found."),
    ],
)
def test_what_a_late_stage_needs_is_missed_before_anything_is_fetched(
    tmp_path: Path, setting: str, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    values = {"SCRATCH": "/dev/null/scratch", "SEGMENTER": "jumanpp"}
    deployment = mini_deployment(tmp_path)
    deployment = replace(deployment, settings={**deployment.settings, setting: values[setting]})
    refused = deployment.try_invoke("run", "--dump", DUMP, "--to", "training_set")
    assert refused.code == 1 and refusal in refused.output
    assert not list(deployment.data.glob("*_dump"))


def test_a_file_in_the_place_of_dagster_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    deployment = replace(mini_deployment(tmp_path), environment={"DAGSTER_HOME": str(tmp_path / "file")})
    refused = deployment.try_invoke("status")
    assert refused.code == 1 and f"{tmp_path / 'file'}: a part of this path is no directory." in refused.output


def test_settings_that_one_root_cannot_mix_are_refused(good: Deployment) -> None:
    before = good.mtimes()
    other = good.with_settings(TEXT="seed", SHARDS="2")
    refused = other.try_invoke("run", "--dump", DUMP, "--to", "wikipedia_dump")
    assert refused.code == 1
    assert "JGPT_TEXT=seed, but the data in it was made with clean; JGPT_SHARDS=2, but" in refused.output
    assert "Set the variable back, or point JGPT_DATA elsewhere" in refused.output
    assert "Traceback" not in refused.output
    assert good.mtimes() == before


def _replace(path: Path, data: bytes) -> None:
    """Give a file other content, leaving what shares its inode as it is."""
    path.unlink()
    path.write_bytes(data)
