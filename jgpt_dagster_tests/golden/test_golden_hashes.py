"""A stage gives the same bytes for the same input until its code version is raised.

An output stays current as long as its recipe does. If its bytes changed under the same recipe, data roots would mix old
and new outputs. The files beside this one were written by earlier code.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jgpt_dagster.definitions import build_definitions, code_versions
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.manifest import Manifest, Recipe
from jgpt_dagster_tests.golden.outputs import (
    Golden,
    code_version_constant,
    differences,
    recorded,
    unpinned_libraries,
)
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, REAL_DUMPS, Deployment, sample_deployment

HERE = Path(__file__).parent
DEFINITIONS = build_definitions(Settings(cc100_url="file:///ja.txt.xz"))

real_data = pytest.mark.skipif("JGPT_TEST_DATA" not in os.environ, reason="JGPT_TEST_DATA names no folder of real data")


@pytest.mark.slow
def test_the_sample_gives_the_recorded_bytes_under_clean(refreshed: Deployment, update_golden: bool) -> None:
    compare("sample-clean", refreshed, (DUMP, LATER_DUMP), update_golden)


@pytest.mark.slow
def test_the_sample_gives_the_recorded_bytes_under_seed(tmp_path: Path, mirror: Path, update_golden: bool) -> None:
    deployment = sample_deployment(tmp_path / "data", mirror).with_settings(TEXT="seed")
    for dump in (DUMP, LATER_DUMP):
        deployment.materialize_text(dump)
    compare("sample-seed", deployment, (DUMP, LATER_DUMP), update_golden)


@real_data
@pytest.mark.slow
@pytest.mark.parametrize("profile", ["clean", pytest.param("seed", marks=pytest.mark.long)])
def test_a_real_excerpt_gives_the_recorded_bytes(
    real_excerpt: Callable[[str], Deployment], profile: str, update_golden: bool
) -> None:
    compare(f"excerpt-{profile}", real_excerpt(profile), REAL_DUMPS[:1], update_golden)


def compare(name: str, deployment: Deployment, dumps: tuple[str, ...], update: bool) -> None:
    """Compare a deployment with a golden file or, where asked to, write that file."""
    file = HERE / f"{name}.json"
    found, manifests = recorded(deployment, dumps)
    if unpinned := unpinned_libraries(manifests):
        pytest.skip("; ".join(unpinned))
    if update:
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    problems = differences(json.loads(file.read_text()), found, manifests, DEFINITIONS)
    assert not problems, "\n".join(problems)


def test_the_constant_of_every_asset_is_found_in_its_file() -> None:
    for asset, code_version in code_versions(DEFINITIONS).items():
        constant, file, value = code_version_constant(DEFINITIONS, asset)
        assert value == code_version
        assert f'\n{constant} = "{code_version}"\n' in file.read_text()


# ---- what a difference is answered with --------------------------------------------------------------------------

ARTICLES, SEGMENTED = f"wikipedia_articles {DUMP}", f"wikipedia_segmented {DUMP}"
GOLDEN: Golden = {
    ARTICLES: {"code_version": "4", "settings": "00", "data": "aa"},
    SEGMENTED: {"code_version": "2", "settings": "00", "data": "bb"},
}
MANIFESTS = {
    ARTICLES: [Manifest(Recipe("wikipedia_articles", "4", inputs={"pages": "00"}), {}, {})],
    SEGMENTED: [Manifest(Recipe("wikipedia_segmented", "2", inputs={f"{ARTICLES}|000": "00"}), {}, {})],
}


def changed(name: str, **entries: str) -> Golden:
    return {**GOLDEN, name: {**GOLDEN[name], **entries}}


def test_what_matches_is_not_spoken_of() -> None:
    assert differences(GOLDEN, GOLDEN, MANIFESTS, DEFINITIONS) == []


def test_other_bytes_of_the_same_code_version_name_the_constant_to_raise_and_how_to_update() -> None:
    (problem,) = differences(GOLDEN, changed(SEGMENTED, data="cc"), MANIFESTS, DEFINITIONS)
    assert problem.startswith(f"{SEGMENTED}: the same input no longer gives the same bytes")
    assert "raise CODE_VERSION in jgpt_dagster/assets/segmented_text.py" in problem
    assert "CHANGELOG" in problem and "--update-golden" in problem


def test_after_a_raised_code_version_only_the_file_is_to_be_updated() -> None:
    (problem,) = differences(GOLDEN, changed(SEGMENTED, data="cc", code_version="3"), MANIFESTS, DEFINITIONS)
    assert "raised from 2 to 3. Update the golden file" in problem
    (problem,) = differences(GOLDEN, changed(SEGMENTED, data="cc", settings="11"), MANIFESTS, DEFINITIONS)
    assert "other settings" in problem and "raise" not in problem


def test_what_follows_from_a_change_is_named_but_not_blamed() -> None:
    found = {**changed(ARTICLES, data="cc"), SEGMENTED: {**GOLDEN[SEGMENTED], "data": "dd"}}
    first, last = differences(GOLDEN, found, MANIFESTS, DEFINITIONS)
    assert "raise CODE_VERSION in jgpt_dagster/assets/wikipedia_articles.py" in first
    assert last == f"Made from these, and different as well: {SEGMENTED}"


def test_a_library_at_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("wikipedia_segmented", "2", libraries={"pyarrow": "0", "segmenter": "mecab"})
    manifests = {SEGMENTED: [replace(MANIFESTS[SEGMENTED][0], recipe=recipe)]}
    assert unpinned_libraries(manifests) == []
    monkeypatch.setattr("jgpt_dagster_tests.golden.outputs.version", lambda name: "1.0" if name == "jumandic" else "2")
    names = [line.split(" ")[0] for line in unpinned_libraries(manifests)]
    assert names == ["fugashi", "jumandic", "pyarrow"]
