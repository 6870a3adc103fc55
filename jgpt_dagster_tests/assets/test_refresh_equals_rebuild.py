"""A refresh makes what changed and nothing more, and its files are byte for byte those of a full rebuild.

Wikis, and what happens to them between two dumps, are drawn at random. The refreshed data root has both dumps, the
rebuilt one the later dump alone; they share a tokenizer. Which rows a stage has to make is told by comparing its inputs
in the two roots as plain dictionaries.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from jgpt_dagster.assets import segmented_text, tokens, wikipedia_articles
from jgpt_dagster.assets.training_set import build_training_set_asset
from jgpt_dagster.assets.wikipedia_dump import build_wikipedia_dump
from jgpt_dagster.catalog.corpora import Corpus, WikiDumps
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.sample.dump_writer import NAMESPACES
from jgpt_dagster.sample.pack import Page, write_dump
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.data_root import shard_names
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.support.deployments import (
    DUMP,
    LATER_DUMP,
    REAL_DUMPS,
    Deployment,
    in_process_instance,
    mini_pages,
)

REAL_DATA = os.environ.get("JGPT_TEST_DATA")

ARTICLES, SEGMENTED, TOKENS = STAGES = ("wikipedia_articles", "wikipedia_segmented", "wikipedia_tokens")
CODE_VERSIONS = {
    ARTICLES: (wikipedia_articles, "CODE_VERSION"),
    SEGMENTED: (segmented_text, "CODE_VERSION"),
    TOKENS: (tokens, "CODE_VERSION"),
}
WIKI = "miniwiki"
CORPUS = Corpus("wikipedia", WikiDumps(WIKI))
ASSETS: list[Any] = [
    build_wikipedia_dump(CORPUS),
    wikipedia_articles.build_wikipedia_articles(CORPUS),
    segmented_text.build_segmented(CORPUS),
    tokens.build_tokens(CORPUS),
    build_training_set_asset([CORPUS]),
]
THIRD_DUMP = "20260201"

# At this share pages 1 and 4 are trained on and pages 2 and 3 held out, so that there is always a training set.
VALIDATION_SHARE = 0.5
PERMANENT_PAGES = 4

PROSE = (
    "'''町'''は海に近い町である。\n\n人口は5万人。「広い。」と言う人もいる（昔は狭かった）。",
    "== 歴史 ==\nNew York の話を聞いた。　1990年〜2000年の▁話。<ref>出典</ref>\n* 一つ\n* 二つ</s>",
    "{{基礎情報|名=空}}",
    "",
    "川の水は山から来る。\n\n" * 40,
)
REJECTED = "[[" * 3000
REDIRECT = "#REDIRECT [[第1の記事]]"


def run_stages(deployment: Deployment, dump: str, *stages: str, force: bool = False) -> list[str]:
    """Materialize text stages of a dump (by default all, and the training set); return the warnings of the runs."""
    job = text_job(deployment.data, tuple(deployment.settings.items()))
    instance = in_process_instance()
    instance.add_dynamic_partitions("dump", [dump])
    warnings: list[str] = []

    def run(key: str, *names: str, **config: Any) -> None:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in names],
            partition_key=key,
            run_config={
                "ops": {name: {"config": config} for name in names},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        entries = instance.all_logs(result.run_id)
        warnings.extend(entry.user_message for entry in entries if entry.level == logging.WARNING)

    run(dump, "wikipedia_dump")
    for shard in shard_names(int(deployment.settings["SHARDS"])):
        run(f"{dump}|{shard}", *(stages or STAGES), force=force)
    if not stages:
        run(dump, "training_set", validation_share=VALIDATION_SHARE)
    return warnings


@lru_cache(maxsize=16)
def text_job(data: Path, settings: tuple[tuple[str, str], ...]) -> dg.JobDefinition:
    values: dict[str, Any] = {name.lower(): value for name, value in settings}
    resources = build_definitions(Settings(data=data, scratch=None, **values)).resources
    definitions = dg.Definitions(assets=ASSETS, resources=resources, executor=dg.in_process_executor)
    return definitions.resolve_implicit_global_asset_job_def()


def deployment_of(data: Path, mirror: Path, tokenizer: Deployment, wiki: str = WIKI, shards: int = 2) -> Deployment:
    """Return a data root in which nothing but the tokenizer of another one is."""
    shutil.copytree(tokenizer.data / "tokenizer", data / "tokenizer")
    own = {"WIKI": wiki, "DUMPS_URL": mirror.as_uri(), "SHARDS": str(shards)}
    return Deployment(data, {**tokenizer.settings, **own})


def files_of(deployment: Deployment, dump: str) -> dict[str, bytes]:
    return {name: content for name, content in deployment.files().items() if f"dump={dump}" in name}


def made_rows(deployment: Deployment, dump: str, count: str = "made_rows") -> dict[str, int]:
    """Return how many rows each stage made, as the records of its runs tell."""
    shards = shard_names(int(deployment.settings["SHARDS"]))
    return {
        stage: sum(deployment.shard(stage, dump, shard).run_record()[count] for shard in shards) for stage in STAGES
    }


def lines_of(deployment: Deployment, stage: str, dump: str) -> dict[int, Any]:
    shards = [deployment.root.parquet(stage, dump, shard) for shard in shard_names(int(deployment.settings["SHARDS"]))]
    return {page_id: lines for shard in shards for page_id, lines in read_rows(shard.path, ["page_id", "lines"])}


def rows_to_make(
    earlier: Sequence[Page], later: Sequence[Page], refreshed: Deployment, rebuilt: Deployment, changed: str | None
) -> dict[str, int]:
    """Return what a refresh has to make: rows whose input is not the earlier dump's, or all rows of a changed stage."""
    kept = {page.id: (page.revision_id, page.title) for page in earlier if is_article(page) and page.text != REJECTED}
    asked = {page.id: (page.revision_id, page.title) for page in later if is_article(page)}
    inputs = {ARTICLES: (kept, asked)}
    for stage, source in ((SEGMENTED, ARTICLES), (TOKENS, SEGMENTED)):
        inputs[stage] = (lines_of(refreshed, source, DUMP), lines_of(rebuilt, source, LATER_DUMP))
    return {
        stage: sum(1 for key, value in new.items() if stage == changed or old.get(key) != value)
        for stage, (old, new) in inputs.items()
    }


def is_article(page: Page) -> bool:
    return page.ns == 0 and page.redirect is None


@contextmanager
def changed_since(change: str | None) -> Iterator[None]:
    """Within the block, a stage has another code version, or the wiki other namespaces."""
    with pytest.MonkeyPatch.context() as patch:
        if change == "namespaces":
            patch.setitem(NAMESPACES, 14, "カテゴリ")
        elif change is not None:
            patch.setattr(*CODE_VERSIONS[change], "another")
        yield


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    """A frozen tokenizer for each text profile, learned from a wiki of its own. Read only."""
    found = {}
    for profile in ("clean", "seed"):
        folder = tmp_path_factory.mktemp(f"tokenizer-{profile}")
        write_dump(folder / "mirror", WIKI, DUMP, mini_pages())
        values = {"WIKI": WIKI, "DUMPS_URL": (folder / "mirror").as_uri(), "CC100_URL": "", "SHARDS": "1"}
        deployment = Deployment(folder / "data", {**values, "TEXT": profile, "MODEL": "tiny"})
        run_stages(deployment, DUMP, ARTICLES, SEGMENTED)
        made = deployment.materialize("tokenizer", vocab_size=600, limit_alphabet=300)
        assert made.error is None
        found[profile] = deployment
    return found


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that every example clears and uses: at the same path, a job need not be built again."""
    return tmp_path_factory.mktemp("playground")


def article(number: int, text: str) -> Page:
    return Page(f"第{number}の記事", number, 10 * number, text_of(number, text))


def text_of(number: int, text: str) -> str:
    """Return the text of a page. Page 2 is held out and repeats no other, so that a document is left to be scored."""
    return text if number != 2 else f"岬の灯台は百年前に建てられ、今も船を導いている。\n\n階段は{len(text)}段ある。"


def after(change: str, page: Page, text: str) -> list[Page]:
    """Return what there is of a page in a later dump."""
    new_revision = replace(page, revision_id=page.revision_id + 1)
    return {
        "keep": [page],
        "touch": [new_revision],
        "edit": [replace(new_revision, text=text_of(page.id, text))],
        "move": [replace(new_revision, title=f"{page.title}改")],
        "rename": [replace(page, title=f"{page.title}改")],
        "delete": [],
    }[change]


@st.composite
def pairs_of_wikis(draw: st.DrawFn) -> tuple[list[Page], list[Page]]:
    """A wiki at two dates. Ids from 5 on have gaps, in which the later wiki may have pages that the earlier had not."""
    prose, texts = st.sampled_from(PROSE), st.sampled_from([*PROSE, REJECTED, REDIRECT])
    lasting = ["keep", "keep", "keep", "touch", "edit", "move", "rename"]
    earlier: list[Page] = []
    later: list[Page] = []
    for number in range(1, PERMANENT_PAGES + 1):
        earlier.append(article(number, draw(prose)))
        later += after(draw(st.sampled_from(lasting)), earlier[-1], draw(prose))
    for number in range(PERMANENT_PAGES + 1, draw(st.integers(PERMANENT_PAGES + 1, 14))):
        page = article(number, draw(texts))
        change = draw(st.sampled_from([*lasting, "delete", "add"]))
        earlier += [] if change == "add" else [page]
        later += [page] if change == "add" else after(change, page, draw(texts))
    return earlier, later


REFRESHES: dict[str, st.SearchStrategy[Any]] = {
    "wikis": pairs_of_wikis(),
    "pages_per_stream": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    "shards": st.integers(1, 3),
    "profile": st.sampled_from(["clean", "seed"]),
    "change": st.sampled_from([None, None, None, "namespaces", *STAGES]),
}
# An example takes seconds: making a failing one smaller would take minutes, and they are small as they are drawn.
FEW = settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@FEW
@given(**REFRESHES)
def test_a_refresh_gives_the_files_of_a_rebuild_and_makes_only_what_changed(
    tokenizers: dict[str, Deployment], playground: Path, **refresh: Any
) -> None:
    assert_refresh_equals_rebuild(tokenizers, playground, **refresh)


@pytest.mark.long
@settings(FEW, max_examples=40)
@given(**REFRESHES)
def test_many_refreshes_give_the_files_of_a_rebuild_and_make_only_what_changed(
    tokenizers: dict[str, Deployment], playground: Path, **refresh: Any
) -> None:
    assert_refresh_equals_rebuild(tokenizers, playground, **refresh)


def assert_refresh_equals_rebuild(
    tokenizers: dict[str, Deployment],
    playground: Path,
    wikis: tuple[list[Page], list[Page]],
    pages_per_stream: tuple[int, int],
    shards: int,
    profile: str,
    change: str | None,
) -> None:
    earlier, later = wikis
    shutil.rmtree(playground, ignore_errors=True)
    mirror = playground / "mirror"
    refreshed, rebuilt = (
        deployment_of(playground / name, mirror, tokenizers[profile], shards=shards)
        for name in ("refreshed", "rebuilt")
    )
    write_dump(mirror, WIKI, DUMP, earlier, pages_per_stream=pages_per_stream[0])
    run_stages(refreshed, DUMP, *STAGES)
    with changed_since(change):
        write_dump(mirror, WIKI, LATER_DUMP, later, pages_per_stream=pages_per_stream[1])
        assert run_stages(refreshed, LATER_DUMP) == []
        run_stages(rebuilt, LATER_DUMP)
    assert files_of(refreshed, LATER_DUMP) == files_of(rebuilt, LATER_DUMP)
    changed = ARTICLES if change == "namespaces" else change
    expected = rows_to_make(earlier, later, refreshed, rebuilt, changed)
    assert made_rows(refreshed, LATER_DUMP) == expected
    made, reused = (sum(made_rows(refreshed, LATER_DUMP, count).values()) for count in ("made_rows", "reused_rows"))
    event(f"reused {10 * reused // (made + reused)} tenths")


# ---- one wiki, in three shards, of which two articles change ------------------------------------------------------

EARLIER_PAGES = [article(number, f"{PROSE[0]}\n\n{number}番目の話。") for number in range(1, 10)]
LATER_PAGES = [
    page
    for old in EARLIER_PAGES
    for page in after({3: "edit", 5: "touch", 6: "delete"}.get(old.id, "keep"), old, "新。")
] + [article(12, PROSE[1])]
CHANGED = {ARTICLES: 3, SEGMENTED: 2, TOKENS: 2}
ALL = dict.fromkeys(STAGES, len(LATER_PAGES))


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mirror = tmp_path_factory.mktemp("refresh") / "mirror"
    write_dump(mirror, WIKI, DUMP, EARLIER_PAGES, pages_per_stream=1)
    write_dump(mirror, WIKI, LATER_DUMP, LATER_PAGES, pages_per_stream=1)
    return mirror


@pytest.fixture(scope="module")
def with_earlier(
    tmp_path_factory: pytest.TempPathFactory, mirror: Path, tokenizers: dict[str, Deployment]
) -> Deployment:
    """A data root that has the earlier dump. Read only."""
    deployment = deployment_of(tmp_path_factory.mktemp("earlier") / "data", mirror, tokenizers["clean"], shards=3)
    run_stages(deployment, DUMP)
    return deployment


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory, mirror: Path, tokenizers: dict[str, Deployment]) -> Deployment:
    """A data root that has the later dump alone. Read only."""
    deployment = deployment_of(tmp_path_factory.mktemp("rebuilt") / "data", mirror, tokenizers["clean"], shards=3)
    run_stages(deployment, LATER_DUMP)
    return deployment


@pytest.fixture
def refreshable(tmp_path: Path, with_earlier: Deployment) -> Deployment:
    """A data root that has the earlier dump."""
    return with_earlier.copy(tmp_path / "data")


def spoil(path: Path, position: int) -> None:
    """Change one byte of a file that may have other names."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_only_what_changed_is_made_again(refreshable: Deployment, rebuilt: Deployment) -> None:
    run_stages(refreshable, LATER_DUMP)
    assert files_of(refreshable, LATER_DUMP) == files_of(rebuilt, LATER_DUMP)
    assert made_rows(refreshable, LATER_DUMP) == CHANGED
    assert made_rows(refreshable, LATER_DUMP, "reused_rows") == {stage: ALL[stage] - CHANGED[stage] for stage in STAGES}


@pytest.mark.parametrize(
    ("stage", "name", "position"),
    [
        (ARTICLES, "shard=001.parquet", 20),
        (ARTICLES, "shard=001.parquet", -20),
        (SEGMENTED, "shard=001.parquet", 20),
        (SEGMENTED, "shard=001.parquet", -20),
        (TOKENS, "shard=001/tokens.bin", 0),
        (TOKENS, "shard=001/documents.parquet", 20),
        (TOKENS, "shard=001/manifest.json", 0),
    ],
)
def test_a_damaged_earlier_shard_is_named_and_passed_over(
    stage: str, name: str, position: int, refreshable: Deployment, rebuilt: Deployment
) -> None:
    spoil(refreshable.data / stage / f"dump={DUMP}" / name, position)
    warnings = run_stages(refreshable, LATER_DUMP)
    assert files_of(refreshable, LATER_DUMP) == files_of(rebuilt, LATER_DUMP)
    assert any(f"{stage} {DUMP}|001: {refreshable.data}" in warning for warning in warnings)
    assert CHANGED[stage] < made_rows(refreshable, LATER_DUMP)[stage] < ALL[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_another_code_version_makes_all_rows_of_its_stage_alone(stage: str, refreshable: Deployment) -> None:
    with changed_since(stage):
        run_stages(refreshable, LATER_DUMP)
    assert made_rows(refreshable, LATER_DUMP) == {**CHANGED, stage: ALL[stage]}


def test_another_tokenizer_makes_all_tokens_again_and_nothing_else(
    refreshable: Deployment, tokenizers: dict[str, Deployment]
) -> None:
    other = tokenizers["clean"].copy(refreshable.data.parent / "other")
    assert other.materialize("tokenizer", vocab_size=300, limit_alphabet=20, retrain=True).error is None
    shutil.rmtree(refreshable.data / "tokenizer")
    shutil.copytree(other.data / "tokenizer", refreshable.data / "tokenizer")
    run_stages(refreshable, LATER_DUMP)
    assert made_rows(refreshable, LATER_DUMP) == {**CHANGED, TOKENS: ALL[TOKENS]}


def test_without_an_earlier_dump_everything_is_made(refreshable: Deployment, rebuilt: Deployment) -> None:
    for earlier in refreshable.data.glob(f"*/dump={DUMP}"):
        shutil.rmtree(earlier)
    run_stages(refreshable, LATER_DUMP)
    assert files_of(refreshable, LATER_DUMP) == files_of(rebuilt, LATER_DUMP)
    assert made_rows(refreshable, LATER_DUMP) == ALL


def test_force_reuses_nothing(refreshable: Deployment, rebuilt: Deployment) -> None:
    run_stages(refreshable, LATER_DUMP)
    run_stages(refreshable, LATER_DUMP, *STAGES, force=True)
    assert files_of(refreshable, LATER_DUMP) == files_of(rebuilt, LATER_DUMP)
    assert made_rows(refreshable, LATER_DUMP) == ALL
    assert made_rows(refreshable, LATER_DUMP, "reused_rows") == dict.fromkeys(STAGES, 0)


def test_an_unfinished_dump_is_passed_over_for_an_older_one(refreshable: Deployment, mirror: Path) -> None:
    write_dump(mirror, WIKI, THIRD_DUMP, LATER_PAGES, pages_per_stream=2)
    run_stages(refreshable, LATER_DUMP)
    for stage in STAGES:
        refreshable.shard(stage, LATER_DUMP, "002").remove()
    run_stages(refreshable, THIRD_DUMP)
    assert made_rows(refreshable, THIRD_DUMP) == CHANGED


def test_rows_reused_once_are_reused_again(refreshable: Deployment, mirror: Path) -> None:
    write_dump(mirror, WIKI, THIRD_DUMP, LATER_PAGES, pages_per_stream=2)
    run_stages(refreshable, LATER_DUMP)
    run_stages(refreshable, THIRD_DUMP)
    assert made_rows(refreshable, THIRD_DUMP) == dict.fromkeys(STAGES, 0)
    # What it saved is known from the run that last made everything, and is no more than that took.
    for stage in STAGES:
        for shard in shard_names(3):
            full = refreshable.shard(stage, DUMP, shard).run_record()["seconds"]
            for dump in (LATER_DUMP, THIRD_DUMP):
                record = refreshable.shard(stage, dump, shard).run_record()
                assert 0 < record["saved_seconds"] <= full or record["reused_rows"] == 0


@pytest.mark.slow
@pytest.mark.skipif(REAL_DATA is None, reason="JGPT_TEST_DATA does not name a folder of real dumps")
@pytest.mark.parametrize("profile", ["clean", pytest.param("seed", marks=pytest.mark.long)])
def test_of_a_real_wiki_17_articles_are_extracted_and_14_segmented(
    profile: str, tmp_path: Path, real_excerpt: Callable[[str], Deployment]
) -> None:
    excerpt = real_excerpt(profile).with_settings(CC100_URL="")
    refreshed = excerpt.copy(tmp_path / "refreshed")
    rebuilt = deployment_of(tmp_path / "rebuilt", Path(REAL_DATA or "") / "mirror", excerpt, wiki="jawiki", shards=4)
    later = REAL_DUMPS[1]
    refreshed.invoke("config", "set", f"training_set.validation_share={VALIDATION_SHARE}", "--yes")
    run_stages(refreshed, later)
    run_stages(rebuilt, later)
    assert made_rows(refreshed, later) == {ARTICLES: 17, SEGMENTED: 14, TOKENS: 14}
    assert files_of(refreshed, later) == files_of(rebuilt, later)
