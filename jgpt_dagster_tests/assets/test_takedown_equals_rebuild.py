"""A takedown takes out what the list matches and touches nothing else, and its files are those of a full rebuild.

Two data roots share a tokenizer and a list. In one, everything was made before there was a list; in the other, nothing.
"""

import json
import lzma
import random
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jgpt_dagster.catalog.status import DeploymentStatus
from jgpt_dagster.cli.code_versions import installed_code_versions
from jgpt_dagster.corpus.exclusions.exclusion_list import FILE, Kind, read_list, write_list
from jgpt_dagster.corpus.exclusions.screen import exclusions_of
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.provenance.near_copies import dropped_copies, kept_copies
from jgpt_dagster.sample.pack import Page, write_dump
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import shard_names
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, in_process_instance, mini_pages

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

SHARDS = shard_names(2)
STAGES = {
    "wikipedia": ("wikipedia_articles", "wikipedia_segmented", "wikipedia_tokens"),
    "cc100": ("cc100_documents", "cc100_segmented", "cc100_tokens"),
    "own": ("own_documents", "own_segmented", "own_tokens"),
}
_CHOOSER = random.Random(7)
TEXTS = ["".join(_CHOOSER.choices("あいうえおかきくけこさしすせそたちつてとなにぬねの", k=120)) for _ in range(24)]
PHRASE = "この一文だけは New Yorkでも　公開しない"

# Document 9 of the archive is dropped as a copy of document 1, and the samples of what is dropped hold its text.
ARCHIVE = [f"{text}\n{number}番目の文書です。" for number, text in enumerate(TEXTS[:9])]
ARCHIVE += [ARCHIVE[1], f"{TEXTS[9]}\n彼は言った。「{PHRASE}。」", f"{TEXTS[2]}\n{TEXTS[10]}{TEXTS[11]}"]
FOLDER = [
    {"text": text, "url": f"https://example.org/{'news/' * (number % 4 == 1)}{number}"}
    for number, text in enumerate([*TEXTS[12:19], TEXTS[8]])
]

ENTRIES: list[tuple[Kind, str]] = [
    ("page", "4"),
    ("title", "第7の町"),
    ("title", "却下された頁"),
    ("document", "cc100:8"),
    ("document", "cc100:9"),
    ("url", "https://example.org/2"),
    ("url", "https://example.org/news/*"),
    ("phrase", PHRASE),
    ("phrase", "人口は5万人"),
    ("phrase", "人口は4万人"),  # page 4 went with the first entry
    ("phrase", "人口は４万人。\n人口"),
    ("phrase", TEXTS[12][20:60]),
    ("title", "どこにもない頁"),
]
# By the numbers that they get after three others.
HITS = {
    "wikipedia_articles": {4, 5, 6, 11, 12},
    "cc100_documents": {7, 8, 11},
    "own_documents": {9, 10, 15},
}


def pages(later: bool = False) -> list[Page]:
    """Return the pages of the wiki; in the later one, page 3 is edited and page 20 is new."""
    found = [
        Page(page.title, page.id, page.revision_id, page.text + f"\n\n{PHRASE}。", page.ns) if page.id == 6 else page
        for page in mini_pages(14)
    ]
    found.append(Page("却下された頁", 15, 1015, "[[" * 3000))
    if later:
        found[2] = Page(found[2].title, 3, 2003, f"'''町'''は広い。\n\n{TEXTS[20]}")
        found += [Page("新しい町", 20, 2020, f"'''新しい町'''。\n\n{PHRASE}。"), Page("村", 21, 2021, TEXTS[21])]
    return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_dump(folder / "mirror", "miniwiki", DUMP, pages(), pages_per_stream=4)
    write_dump(folder / "mirror", "miniwiki", LATER_DUMP, pages(later=True), pages_per_stream=3)
    (folder / "ja.txt.xz").write_bytes(lzma.compress("\n\n".join(ARCHIVE).encode()))
    (folder / "own").mkdir()
    (folder / "own" / "a.jsonl").write_text("\n".join(map(json.dumps, FOLDER)))
    return folder


@pytest.fixture(scope="module", params=["clean", "seed"])
def made(request: pytest.FixtureRequest, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A root with everything up to the training set of a dump, made without a list. Read only."""
    deployment = Deployment(
        tmp_path_factory.mktemp(request.param) / "data",
        {
            "WIKI": "miniwiki",
            "DUMPS_URL": (sources / "mirror").as_uri(),
            "CC100_URL": (sources / "ja.txt.xz").as_uri(),
            "FOLDERS": f"own={sources / 'own'}",
            "TEXT": request.param,
            "SHARDS": "2",
            "MODEL": "tiny",
            "WORKERS": "1",
        },
    )
    bring_up(deployment, DUMP)
    return deployment


def bring_up(deployment: Deployment, dump: str) -> None:
    """Run every asset up to the training set of a dump, the stages of a shard in one run."""
    job = text_job(deployment.data, tuple(deployment.settings.items()))

    def run(key: str | None, *assets: str, **config: object) -> None:
        job.execute_in_process(
            instance=in_process_instance(),
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            partition_key=key,
            run_config={"ops": {assets[0]: {"config": config}}, **QUIET},
        )

    run(dump, "wikipedia_dump")
    run(None, "cc100_dump")
    if deployment.root.directory("tokenizer").manifest() is None:
        for shard in SHARDS:
            for corpus, stages in STAGES.items():
                run(f"{dump}|{shard}" if corpus == "wikipedia" else shard, *stages[:2])
        run(None, "tokenizer", vocab_size=600, limit_alphabet=300)
    for shard in SHARDS:
        run(f"{dump}|{shard}", *STAGES["wikipedia"])
        run(shard, *STAGES["cc100"], *STAGES["own"])
    run(dump, "training_set", validation_share=0.3)


@lru_cache(maxsize=16)
def text_job(data: Path, settings: tuple[tuple[str, str], ...]) -> dg.JobDefinition:
    """Return the job of the assets of a deployment up to the training set, without checks."""
    values: dict[str, Any] = {name.lower(): value for name, value in settings}
    built = build_definitions(Settings(data=data, scratch=None, **values))
    names = {
        "wikipedia_dump",
        "cc100_dump",
        "tokenizer",
        "training_set",
        *(each for of in STAGES.values() for each in of),
    }
    assets = [
        asset
        for asset in built.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and {key.to_user_string() for key in asset.keys} <= names
    ]
    definitions = dg.Definitions(assets=assets, resources=built.resources, executor=dg.in_process_executor)
    return definitions.resolve_implicit_global_asset_job_def()


def exclude(deployment: Deployment, entries: Sequence[tuple[Kind, str]]) -> None:
    write_list(deployment.root, read_list(deployment.data).with_added(entries, "asked for", "2026-02-03"))


def withdraw(deployment: Deployment, *numbers: int) -> None:
    write_list(deployment.root, read_list(deployment.data).with_withdrawn(numbers, "2026-02-04"))


def rebuilt(made: Deployment, like: Deployment, data: Path, dump: str = DUMP) -> Deployment:
    """Return a root with a tokenizer and the list of another, in which everything else is made from nothing."""
    deployment = Deployment(data, made.settings)
    data.mkdir()
    shutil.copytree(made.data / "tokenizer", data / "tokenizer")
    shutil.copy(like.data / FILE, data / FILE)
    bring_up(deployment, dump)
    return deployment


def text_files(deployment: Deployment, dump: str = DUMP) -> dict[str, bytes]:
    """Return what must be the same: all but the list's own records, word counts, and what belongs to other dumps."""
    other = {DUMP, LATER_DUMP} - {dump}
    return {
        name: content
        for name, content in deployment.files().items()
        if not any(each in name for each in (*other, "_word_counts/")) and not name.startswith(("run_config", "excl"))
    }


def hits(deployment: Deployment, dump: str = DUMP) -> dict[str, set[int]]:
    """Return the numbers of the entries that took something out of each text, by the recipes of its shards."""
    found: dict[str, set[int]] = {}
    for asset in HITS:
        for shard in SHARDS:
            manifest = deployment.shard(asset, dump if asset.startswith("wiki") else None, shard).manifest()
            assert manifest is not None
            numbers = {int(each.partition(":")[0]) for each in exclusions_of(manifest.recipe)}
            found.setdefault(asset, set()).update(numbers)
    return found


def stale(deployment: Deployment, dump: str = DUMP) -> set[str]:
    """Return the labels of the texts that are stale, as `jgpt status` and the check `is_current` find them."""
    values: dict[str, Any] = {name.lower(): value for name, value in deployment.settings.items()}
    settings = Settings(data=deployment.data, scratch=None, **values)
    status = DeploymentStatus(settings.catalog, installed_code_versions(settings.corpora), settings.segmenter)
    reasons = {**status.reasons(None), **status.reasons(dump)}
    return {each.label for each, reason in reasons.items() if each.asset in HITS and reason}


def test_near_copies_are_named_that_were_dropped_and_that_are_kept(made: Deployment) -> None:
    clean = made.settings["TEXT"] == "clean"
    dropped = [(copy.key, copy.of) for copy in dropped_copies(made.root, {"cc100": {1}})]
    assert dropped == ([(9, ("cc100", 1))] if clean else [])
    kept = {(copy.corpus, copy.key): copy.of for copy in kept_copies(made.root, {"cc100": {1, 8}})}
    assert kept == {("own", 7): ("cc100", 8), **({} if clean else {("cc100", 9): ("cc100", 1)})}


def test_a_takedown_gives_the_files_of_a_rebuild(made: Deployment, tmp_path: Path) -> None:
    taken = take_down(made, tmp_path)
    if made.settings["TEXT"] == "clean":
        bring_back_and_refresh(made, taken, tmp_path)


@pytest.mark.long
def test_what_comes_back_and_a_refresh_have_the_files_of_a_rebuild(made: Deployment, tmp_path: Path) -> None:
    bring_back_and_refresh(made, take_down(made, tmp_path), tmp_path)


def take_down(made: Deployment, tmp_path: Path) -> Deployment:
    """Take everything down in two steps, compare with a rebuild, and return the root."""
    taken = made.copy(tmp_path / "taken")
    exclude(taken, [("phrase", "どこにもない文"), ("page", "4711"), ("document", "cc100:4711")])
    assert stale(taken) == set()
    withdraw(taken, 1, 2, 3)
    before = taken.mtimes()
    exclude(taken, ENTRIES[:2])
    assert stale(taken) == {f"wikipedia_articles {DUMP}|000"}
    exclude(taken, ENTRIES[2:6])
    bring_up(taken, DUMP)
    assert stale(taken) == set()
    touched = {name for name, time in taken.mtimes().items() if before.get(name, time) != time}
    texts = {name for name in before if name.endswith(".parquet") and name.partition("/")[0] in HITS}
    assert texts - touched == {"own_documents/shard=001.parquet"}
    assert not any(name.startswith("own_") and "shard=001" in name for name in touched)
    exclude(taken, ENTRIES[6:])
    bring_up(taken, DUMP)
    assert hits(taken) == HITS
    assert text_files(taken) == text_files(rebuilt(made, taken, tmp_path / "rebuilt"))
    return taken


def bring_back_and_refresh(made: Deployment, taken: Deployment, tmp_path: Path) -> None:
    """Let some entries count no more, make a later dump as well, and compare with a rebuild."""
    withdraw(taken, 4, 8, 11, 15)
    bring_up(taken, DUMP)
    bring_up(taken, LATER_DUMP)
    again = rebuilt(made, taken, tmp_path / "again", LATER_DUMP)
    assert text_files(taken, LATER_DUMP) == text_files(again, LATER_DUMP)
