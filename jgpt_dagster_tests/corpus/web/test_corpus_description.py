import os
from pathlib import Path

import pytest

from jgpt_dagster.corpus.web.corpus_description import (
    DESCRIPTION,
    CorpusDescription,
    CorpusDescriptionError,
    read_description,
)

WHOLE = "name: 港の新聞\nlicence: CC BY 4.0\nsource: https://example.org/news\n"


def test_a_folder_says_what_it_holds_under_which_licence_and_where_from(tmp_path: Path) -> None:
    assert read_description(tmp_path) is None
    (tmp_path / DESCRIPTION).write_text(WHOLE)
    expected = CorpusDescription("港の新聞", "cc-by-4.0", "https://example.org/news")
    assert read_description(tmp_path) == expected
    (tmp_path / DESCRIPTION).write_text(WHOLE.replace("licence", "license"))
    assert read_description(tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a list of fields"),
        (b"- a\n- b", "is not a list of fields"),
        (b"name: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML"),
        (b"[" * 5000, "is not YAML"),
        (b"name: a\nsource: b", "licence is missing"),
        (b"name: a\nlicence: 4.0\nsource: b", "licence is no text"),
        (b"name: '  '\nlicence: mit\nsource: b", "name is no text"),
        (b"name: a\nlicence: mit\nsource: b\nautor: c", "field 'autor'"),
        (b"name: a\nlicence: mit\nlicense: mit\nsource: b", "`licence` and `license`"),
        (b"name: a\nlicence: mit\nsource: " + b"b" * 2000, "more than 1,000 characters"),
        (b"#" * 70_000, "more than 65,536 bytes"),
    ],
)
def test_a_malformed_description_is_refused_with_the_file_and_an_example(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / DESCRIPTION).write_bytes(content)
    with pytest.raises(CorpusDescriptionError, match=says) as raised:
        read_description(tmp_path)
    assert str(tmp_path / DESCRIPTION) in str(raised.value) and "licence: cc-by-4.0" in str(raised.value)


def test_a_link_out_of_the_folder_and_a_fifo_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "elsewhere").write_text(WHOLE)
    (folder / DESCRIPTION).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorpusDescriptionError, match="leads out of the folder"):
        read_description(folder)
    (folder / DESCRIPTION).unlink()
    os.mkfifo(folder / DESCRIPTION)
    with pytest.raises(CorpusDescriptionError, match="no file"):
        read_description(folder)
