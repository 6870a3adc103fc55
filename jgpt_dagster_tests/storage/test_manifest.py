"""A manifest from a bucket names only files that an output can have."""

import json
from pathlib import Path

import pytest

from jgpt_dagster.storage.directory_artifact import MANIFEST, DirectoryArtifact
from jgpt_dagster.storage.manifest import FileEntry, Manifest, Recipe, parse_json, require_plain_names

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a//b",
    "a/",
    "./a",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "C:\\x",
    "C:x",
    "..\\x",
    "\ud800",
    "manifest.json",
    "Manifest.JSON",
    "run.json",
    "x" * 256,
    "a/" * 2500 + "a",
    "\u202etxt",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_that_no_file_of_an_output_can_have_makes_the_output_incomplete(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a file of an output"):
        require_plain_names(["tokens.bin", name])
    values = Manifest(Recipe("stage", "1"), {}, {name: FileEntry(0, "00")}).to_dict()
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    assert DirectoryArtifact("asset", "", tmp_path).manifest() is None


def test_two_names_that_cannot_both_exist_are_refused() -> None:
    require_plain_names(["engine/a.pt", "engine/b.pt", "日本語 の.txt", "a-b_c.0"])
    for names in (["a", "a/b"], ["Tokens.bin", "tokens.bin"], ["a/B/c", "A/b"]):
        with pytest.raises(ValueError, match="of an output"):
            require_plain_names(names)


@pytest.mark.parametrize(
    "files",
    [
        [],
        "x",
        {"a": None},
        {"a": {"size": -1, "sha256": "00"}},
        {"a": {"size": True, "sha256": "00"}},
        {"a": {"size": 1, "sha256": 0}},
        {"a": {"size": 1, "sha256": "00", "path": "/etc/passwd"}},
    ],
)
def test_files_that_are_no_files_make_the_output_incomplete(tmp_path: Path, files: object) -> None:
    recipe = {"stage": "stage", "code_version": "1", "settings": {}, "inputs": {}, "libraries": {}}
    (tmp_path / MANIFEST).write_text(json.dumps({"recipe": recipe, "counts": {}, "files": files}))
    assert DirectoryArtifact("asset", "", tmp_path).manifest() is None


def test_a_document_that_repeats_a_name_is_not_read_by_its_last_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repeats a name"):
        parse_json(b'{"files": {"a": 1, "a": 2}}')
    with pytest.raises(ValueError, match="nested"):
        parse_json(b"[" * 100_000)
    assert parse_json('{"名": [1]}'.encode()) == {"名": [1]}
