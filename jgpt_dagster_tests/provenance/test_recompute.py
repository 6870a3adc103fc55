"""Documents are derived again from their sources, and one that comes out otherwise is named; so is another source."""

import gzip
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from jgpt_dagster.provenance.chain import Chain, collect_chain
from jgpt_dagster.provenance.recompute import Recomputed, RecomputeError, recompute
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, mini_deployment

PARAGRAPH = "この段落はいくつかの文書に書かれているが、残るのは最初の一つだけであり、ほかの文書からは取り除かれる。"


def texts(count: int) -> list[list[str]]:
    draw = random.Random(1)
    words = ["海", "山", "川", "町", "駅", "人", "船", "空", "道", "島", "白い", "古い", "広い", "近い", "歩く", "読む"]
    lines = [["".join(draw.choices(words, k=30)) + "のである。" for _ in range(4)] for _ in range(count)]
    return [[*text, PARAGRAPH] if number % 3 == 0 else text for number, text in enumerate(lines)]


def write_folder(folder: Path) -> Path:
    """Write text files of every form, one document in three with a paragraph that stands in the others too."""
    folder.mkdir()
    found = texts(24)
    for number in range(8):
        (folder / f"{number}.txt").write_text("\n\n".join(found[number]))
    records = [json.dumps({"text": "\n".join(lines), "id": number}) for number, lines in enumerate(found[8:])]
    (folder / "more.jsonl").write_text("\n".join(["not json", *records[:8]]))
    (folder / "rest.jsonl.gz").write_bytes(gzip.compress("\n\n".join(records[8:]).encode()))
    return folder


@pytest.fixture(scope="module", params=["clean", "seed"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, Path, Chain]:
    """A deployment with the token files of a small wiki and a folder of texts, the folder, and their chain."""
    place = tmp_path_factory.mktemp("recompute")
    folder = write_folder(place / "own")
    deployment = mini_deployment(place).with_settings(FOLDERS=f"own={folder}", TEXT=request.param)
    of_dump = f"{DUMP}|000"
    steps = {
        "wikipedia_dump": DUMP,
        "wikipedia_articles": of_dump,
        "wikipedia_segmented": of_dump,
        "own_documents": "000",
        "own_segmented": "000",
        "tokenizer": None,
        "wikipedia_tokens": of_dump,
        "own_tokens": "000",
    }
    for asset, key in steps.items():
        config = {"vocab_size": 600, "limit_alphabet": 300} if asset == "tokenizer" else {}
        result = deployment.materialize(asset, key, **config)
        assert result.error is None, (asset, result.error)
    tokens = [
        deployment.root.directory("own_tokens", shard="000"),
        deployment.root.directory("wikipedia_tokens", DUMP, "000"),
    ]
    return (
        deployment,
        folder,
        collect_chain(deployment.root, {each.label: each.verified().data_sha256 for each in tokens}, None),
    )


def recomputed(deployment: Deployment, chain: Chain, folder: Path) -> Sequence[Recomputed]:
    return list(recompute(deployment.root, chain, 1000, 0, {"own": folder}))


def test_every_document_of_a_folder_and_of_a_wiki_comes_out_with_the_same_token_ids(
    made: tuple[Deployment, Path, Chain],
) -> None:
    deployment, folder, chain = made
    results = recomputed(deployment, chain, folder)
    assert [result for result in results if not result.same] == []
    assert {result.key for result in results if result.label == "own_tokens 000"} == {*range(25)} - {8}


def test_a_token_that_was_exchanged_is_named_with_its_document(
    made: tuple[Deployment, Path, Chain], tmp_path: Path
) -> None:
    deployment, folder, chain = made
    copy = deployment.copy(tmp_path / "data")
    tokens = copy.root.directory("own_tokens", shard="000").path / "tokens.bin"
    content = bytearray(tokens.read_bytes())
    content[0] ^= 1
    tokens.unlink()
    tokens.write_bytes(content)
    (wrong,) = (result for result in recomputed(copy, chain, folder) if not result.same)
    assert (wrong.label, wrong.key) == ("own_tokens 000", 0)


def test_a_folder_with_other_files_is_not_taken_for_damage(
    made: tuple[Deployment, Path, Chain], tmp_path: Path
) -> None:
    deployment, folder, chain = made
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / "0.txt").write_text("別の文書である。")
    with pytest.raises(RecomputeError, match="other holds other text files than those that own was made of"):
        recomputed(deployment, chain, other)
    with pytest.raises(RecomputeError, match="name it in JGPT_FOLDERS"):
        list(recompute(deployment.root, chain, 1000, 0, {}))


def test_other_rules_for_templates_are_not_taken_for_damage(
    made: tuple[Deployment, Path, Chain], tmp_path: Path
) -> None:
    deployment, folder, chain = made
    copy = deployment.copy(tmp_path / "data")
    (copy.data / "templates.yaml").write_text("注釈: silent\n")
    if deployment.settings["TEXT"] == "seed":  # which has no such rules
        assert all(result.same for result in recomputed(copy, chain, folder))
        return
    with pytest.raises(RecomputeError, match=r"templates\.yaml holds other rules"):
        recomputed(copy, chain, folder)
