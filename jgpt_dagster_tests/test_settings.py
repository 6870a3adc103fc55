"""Settings are read from the environment, and one that is out of range is named with its value."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jgpt_dagster.runtime.resource_limits import available_cores
from jgpt_dagster.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("JGPT_"):
            monkeypatch.delenv(name)


def test_defaults_are_those_of_the_full_corpus() -> None:
    settings = load_settings()
    assert settings.data == Path("data").absolute()
    assert settings.scratch_directory == settings.data / ".scratch"
    assert (settings.wiki, settings.dumps_url) == ("jawiki", "https://dumps.wikimedia.org")
    assert settings.cc100_url == "https://data.statmt.org/cc-100/ja.txt.xz"
    assert (settings.shards, settings.segmenter, settings.text, settings.model) == (64, "mecab", "clean", "xl")
    assert settings.workers == available_cores()
    assert [corpus.name for corpus in settings.corpora] == ["wikipedia", "cc100"]


def test_an_empty_cc100_url_leaves_only_wikipedia(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_CC100_URL", "")
    assert [corpus.name for corpus in load_settings().corpora] == ["wikipedia"]


def test_names_of_the_ui_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_UI_HOSTS", "UI.example.org, 10.0.0.5,2001:db8::1,[::2],")
    assert load_settings().ui_hosts == ("ui.example.org", "10.0.0.5", "2001:db8::1", "::2")


def test_scratch_can_lie_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_SCRATCH", "/scratch")
    assert load_settings().scratch_directory == Path("/scratch")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SHARDS", "0", "greater than or equal to 1"),
        ("SHARDS", "100", "less than or equal to 99"),
        ("SHARDS", "many", "valid integer"),
        ("WORKERS", "0", "greater than or equal to 1"),
        ("SEGMENTER", "sudachi", "must be one of mecab, jumanpp"),
        ("TEXT", "raw", "'seed' or 'clean'"),
        ("MODEL", "a|b", "is not a model's name"),
        ("WIKI", "ja wiki/..", "pattern"),
        ("DUMPS_URL", "ftp://dumps.example.org", "must start with http://, https:// or file://"),
        ("DUMPS_URL", "", "must not be empty"),
        ("CC100_URL", "/data/ja.txt.xz", "must start with http://, https:// or file://"),
        ("DATA", "", "must not be empty"),
        ("FOLDERS", "/data/news", "must read NAME=FOLDER"),
        ("FOLDERS", "cc100=/data/news", "must read NAME=FOLDER"),
        ("FOLDERS", "news=/a,news=/b", "must read NAME=FOLDER"),
        ("FOLDERS", "../x=/a", "must read NAME=FOLDER"),
        ("UI_HOSTS", "https://ui.example.org", "must be host names"),
        ("UI_HOSTS", "ui.example.org,10.0.0.5:3000", "must be host names"),
        ("UI_HOSTS", "*.example.org", "must be host names"),
        ("CONTACT", "me", "pattern"),
        ("CONTACT", "me@example.org)\r\nHost: x", "pattern"),
    ],
)
def test_a_value_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str) -> None:
    monkeypatch.setenv(f"JGPT_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"JGPT_{name}={value}" in str(caught.value)
    assert allowed in str(caught.value) and "Value error" not in str(caught.value)


def test_all_values_out_of_range_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_SHARDS", "0")
    monkeypatch.setenv("JGPT_MODEL", "../x")
    with pytest.raises(SettingsError, match=r"(?s)JGPT_SHARDS=0.*JGPT_MODEL=../x"):
        load_settings()


@pytest.mark.parametrize("command", [["run", "--dump", "20260101"], ["dumps", "list"], ["generate", "海"], ["ui"]])
def test_every_command_says_what_is_wrong_without_a_traceback(tmp_path: Path, command: list[str]) -> None:
    environment = {**os.environ, "JGPT_SHARDS": "100", "JGPT_DATA": str(tmp_path / "data")}
    result = subprocess.run(
        [Path(sys.executable).parent / "jgpt", *command], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert (
        result.stderr
        == "Error: JGPT_SHARDS=100: Input should be less than or equal to 99 (allowed: at least 1 and at most 99)\n"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["DUMPS_URL", "CC100_URL"])
@pytest.mark.parametrize(
    "url", ["https://me:hush@example.org/x", "https://hush@example.org", "https://example.org/ja.txt.xz?token=hush"]
)
def test_a_url_with_a_secret_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(f"JGPT_{name}", url)
    with pytest.raises(SettingsError, match=r"netrc") as caught:
        load_settings()
    assert f"JGPT_{name}=https://example.org" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_folders_become_corpora_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGPT_CC100_URL", "")
    monkeypatch.setenv("JGPT_FOLDERS", "news=/data/news,books=books")
    settings = load_settings()
    assert [corpus.name for corpus in settings.corpora] == ["wikipedia", "books", "news"]
    assert settings.folders == {"books": Path("books").absolute(), "news": Path("/data/news")}


def test_every_number_has_bounds_and_an_error_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            bounds = {bound for part in field.metadata for bound in ("ge", "gt", "le", "lt") if hasattr(part, bound)}
            assert bounds & {"ge", "gt"} and bounds & {"le", "lt"}, name
    for value in ("0", "5000"):
        monkeypatch.setenv("JGPT_WORKERS", value)
        with pytest.raises(SettingsError, match=rf"JGPT_WORKERS={value}: .*at least 1 and at most 1,024"):
            load_settings()
