"""An archive without a published checksum: the first download decides what later ones have to be."""

import hashlib
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest

from jgpt_dagster.catalog.corpora import Archive, configured_corpora
from jgpt_dagster.corpus.fetch import retry
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.deployments import Deployment
from jgpt_dagster_tests.support.flaky_server import Server, serving

FIRST, OTHER = (lzma.compress(text.encode(), preset=0) for text in ("文。\n", "別の文。\n"))
SHA256 = {archive: hashlib.sha256(archive).hexdigest() for archive in (FIRST, OTHER)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(retry, "_sleep", lambda seconds: None)
    with serving() as server:
        server.files["/ja.txt.xz"] = FIRST
        yield server


@pytest.fixture
def deployment(server: Server, tmp_path: Path) -> Deployment:
    settings = {"CC100_URL": server.url("/ja.txt.xz"), "SHARDS": "1", "TEXT": "clean", "MODEL": "tiny"}
    return Deployment(tmp_path / "data", settings)


def archive_of(deployment: Deployment) -> bytes:
    return (deployment.root.directory("cc100_dump").path / "ja.txt.xz").read_bytes()


def test_another_archive_at_the_same_address_is_refused_until_its_sha256_is_given(
    server: Server, deployment: Deployment
) -> None:
    assert deployment.materialize("cc100_dump").error is None
    assert deployment.materialize("cc100_dump", force=True).error is None
    server.files["/ja.txt.xz"] = OTHER
    error = deployment.materialize("cc100_dump", force=True).error
    assert error is not None
    assert f"its sha256 is {SHA256[OTHER]}, expected {SHA256[FIRST]}" in error
    assert "that of the first download" in error and "`force: true`" in error
    assert archive_of(deployment) == FIRST
    assert deployment.materialize("cc100_dump", force=True, sha256=SHA256[OTHER]).error is None
    assert archive_of(deployment) == OTHER
    server.files["/ja.txt.xz"] = FIRST
    assert deployment.materialize("cc100_dump", force=True).error is not None


def test_the_setting_decides_over_what_a_run_says(server: Server, deployment: Deployment) -> None:
    pinned = deployment.with_settings(CC100_SHA256=SHA256[FIRST].upper())
    server.files["/ja.txt.xz"] = OTHER
    for config in ({}, {"sha256": SHA256[OTHER]}):
        error = pinned.materialize("cc100_dump", **config).error
        assert error is not None and f"expected {SHA256[FIRST]}" in error
    server.files["/ja.txt.xz"] = FIRST
    assert pinned.materialize("cc100_dump").error is None


def test_an_archive_that_is_cut_short_is_not_served_and_continued_once_the_server_has_all_of_it(
    server: Server, deployment: Deployment
) -> None:
    server.files["/ja.txt.xz"] = FIRST[:-10]
    error = deployment.materialize("cc100_dump").error
    assert error is not None and "is cut short" in error and "JGPT_CC100_URL" in error
    assert (deployment.data / ".incoming" / "cc100" / "ja.txt.xz.part").read_bytes() == FIRST[:-10]
    server.files["/ja.txt.xz"] = FIRST
    assert deployment.materialize("cc100_dump").error is None
    assert archive_of(deployment) == FIRST
    assert not (deployment.data / ".incoming" / "cc100").exists()


def test_an_archive_that_was_fetched_by_http_is_current_under_the_default_of_https(tmp_path: Path) -> None:
    default = Settings(data=tmp_path).cc100_url
    assert default == "https://data.statmt.org/cc-100/ja.txt.xz"
    recorded = [recorded_url(url) for url in (default, "http://data.statmt.org/cc-100/ja.txt.xz")]
    assert recorded == ["http://data.statmt.org/cc-100/ja.txt.xz"] * 2
    assert recorded_url("https://example.org/a.xz") == "https://example.org/a.xz"


def recorded_url(url: str) -> str:
    source = configured_corpora("jawiki", url, {})[1].source
    assert isinstance(source, Archive)
    return source.recorded_url
