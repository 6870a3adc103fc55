"""A data root made by earlier code opens as it is. Only its release is made again, of the finished model; it generates.

Where this fails, data roots that people have would be made again, at worst after months of training. A stage whose
output is meant to change raises its code version, and CHANGELOG says what becomes stale.
"""

import re
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster_tests.fixtures import make_root
from jgpt_dagster_tests.support.deployments import DUMP, Deployment, text_partitions

pytestmark = pytest.mark.slow

ASSETS = [*text_partitions(DUMP, ["000", "001"], cc100=True), *MODEL_ASSETS]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The data root in `fixtures/root.tar.xz`. Every test leaves its data as it is."""
    return unpacked(make_root.ARCHIVE, tmp_path_factory.mktemp("earlier") / "data")


def unpacked(archive: Path, data: Path) -> Deployment:
    """Return the deployment of an archived data root; skip if a library has another version than it was made with."""
    with tarfile.open(archive) as packed:
        packed.extractall(data, filter="data")
    deployment = make_root.deployment(data)
    if changed := sorted({*changed_libraries(deployment)}):
        pytest.skip("; ".join(changed))
    return deployment


def changed_libraries(deployment: Deployment) -> Iterator[str]:
    """Yield which library has another version than the one that an output was made with."""
    with open_segmenter("mecab") as segmenter:
        engine = segmenter.fingerprint
    for _, path in deployment.paths():
        directory = path.name == "manifest.json"
        artifact = DirectoryArtifact("", "", path.parent) if directory else ParquetArtifact("", "", path)
        manifest = artifact.manifest()
        for name, made_with in manifest.recipe.libraries.items() if manifest else ():
            installed = engine if name == "segmenter" else version(name)
            if installed != made_with:
                yield f"{name} is {installed}, fixtures/root.tar.xz was made with {made_with}"


def states(earlier: Deployment) -> dict[str, str]:
    """Return what `jgpt status` says of each asset."""
    lines = earlier.invoke("status", "--dump", DUMP).splitlines()
    told = [line.split(maxsplit=1) for line in lines if re.match(r"  \w", line)]
    found = {asset: state for asset, state in told if asset in ASSETS}
    return {asset: found[asset] for asset in ASSETS}


def test_a_run_over_an_earlier_root_makes_its_release_again_and_nothing_else(earlier: Deployment) -> None:
    before = earlier.mtimes()
    found = states(earlier)
    assert {state for asset, state in found.items() if asset != "release"} == {"done", "2 done"}
    assert found["release"].startswith("stale")
    output = earlier.succeed("jgpt", "run", "--dump", DUMP, "--config", make_root.RUN_CONFIG)
    assert all(asset in output for asset in ASSETS)
    after = earlier.mtimes()
    assert {name.split("/")[0] for name in before.keys() | after.keys() if after.get(name) != before.get(name)} == {
        "release"
    }
    assert "next: nothing: the release is made" in earlier.invoke("status", "--dump", DUMP)


def test_the_release_of_an_earlier_root_generates(earlier: Deployment) -> None:
    prompt = "海に近い町で"
    text = earlier.invoke("generate", prompt, "--max-new-tokens", "5").strip()
    assert text.startswith(prompt) and len(text) > len(prompt)


@pytest.mark.long
def test_a_root_of_before_text_was_cleaned_anew_keeps_its_model_and_tokenizer(tmp_path: Path) -> None:
    """Verdicts of checks, run config and links to training data were not kept then."""
    former = unpacked(make_root.ARCHIVE.with_name("former_root.tar.xz"), tmp_path / "data")
    before = former.files()
    found = states(former)
    kept = {asset for asset, state in found.items() if "stale" not in state}
    assert kept == {"wikipedia_dump", "cc100_dump", "cc100_documents", "tokenizer"}
    assert {found[asset] for asset in MODEL_ASSETS} == {"stale (kept)"}
    former.succeed("jgpt", "run", "--dump", DUMP, "--config", make_root.RUN_CONFIG)
    after = former.files()
    # The words of this small wiki are what they were, so only the records of how they were made are new.
    changed = {name.split("/")[0] for name in before if after.get(name) != before[name]}
    assert changed == {"wikipedia_articles", "wikipedia_segmented", "cc100_segmented", "release"}
    assert {*states(former).values()} == {"done", "2 done"}
