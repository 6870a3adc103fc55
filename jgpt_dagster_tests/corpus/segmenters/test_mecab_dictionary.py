"""MeCab with the smaller dictionary gives the words of the whole one: random dictionaries, JumanDIC, any text."""

import os
import random
import shlex
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import fugashi
import jumandic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.segmenters.mecab_dictionary import pruned_dictionary, write_pruned
from jgpt_dagster.corpus.segmenters.piece_splitting import is_standalone, split_into_pieces
from jgpt_dagster_tests.support.hostile_text import AWKWARD_TEXT, JAPANESE_TEXT

JUMANDIC = Path(jumandic.DICDIR)

Parse = Callable[[str], str]


def opened(directory: Path) -> Parse:
    parse: Parse = fugashi.GenericTagger(f"-O wakati -r /dev/null -d {shlex.quote(str(directory))}").parse
    return parse


@cache
def both() -> tuple[Parse, Parse]:
    """MeCab with JumanDIC whole, and made smaller."""
    with pruned_dictionary(JUMANDIC) as prepared:
        return opened(JUMANDIC), opened(prepared)


def compile_dictionary(directory: Path, seed: int) -> Path:
    """Compile a dictionary of surfaces of あ and い whose costs are so few that many paths are equally cheap."""
    draw = random.Random(seed)
    source, target = directory / "source", directory / "compiled"
    source.mkdir()
    target.mkdir()
    surfaces = ["".join(letters) for length in (1, 2, 3) for letters in product("あい", repeat=length)]
    entries = [
        f"{surface},{draw.randrange(4)},{draw.randrange(4)},{draw.randrange(3)},reading{number}"
        for surface in surfaces
        for number in range(draw.choice([0, 1, 3, 9]))
    ]
    draw.shuffle(entries)
    costs = [f"{left} {right} {draw.randrange(3)}" for left, right in product(range(4), repeat=2)]
    files = {
        "dicrc": "cost-factor = 800\nbos-feature = BOS/EOS\n",
        "char.def": "DEFAULT 0 1 0\nSPACE 0 1 0\n0x0020 SPACE\n",
        "unk.def": "DEFAULT,0,0,2,unknown\nSPACE,0,0,2,unknown\n",
        "matrix.def": "4 4\n" + "\n".join(costs),
        "words.csv": "\n".join(entries) + "\n",
        "feature.def": "",
        "rewrite.def": "",
        "left-id.def": "",
        "right-id.def": "",
        "pos-id.def": "",
    }
    for name, text in files.items():
        (source / name).write_text(text)
    (target / "dicrc").write_text(files["dicrc"])
    fugashi.build_dictionary(f"-f utf8 -t utf8 -d {shlex.quote(str(source))} -o {shlex.quote(str(target))}")
    return target


@pytest.mark.parametrize("seed", range(20))
def test_words_are_the_same_where_many_paths_are_equally_cheap(tmp_path: Path, seed: int) -> None:
    directory = compile_dictionary(tmp_path, seed)
    with pruned_dictionary(directory) as prepared:
        assert (prepared / "sys.dic").stat().st_size < (directory / "sys.dic").stat().st_size
        whole, smaller = opened(directory), opened(prepared)
    texts = ["".join(letters) for length in range(1, 9) for letters in product("あい", repeat=length)]
    assert [*map(smaller, texts)] == [*map(whole, texts)]


def parsed(parse: Parse, text: str) -> str:
    try:
        return parse(text)
    except UnicodeDecodeError as error:  # a word that ends within a character
        return repr(error.object)


@given(st.lists(AWKWARD_TEXT | JAPANESE_TEXT))
def test_words_are_those_of_the_whole_dictionary_for_any_text(lines: list[str]) -> None:
    whole, smaller = both()
    for piece in (piece for line in lines for piece in split_into_pieces(line) if not is_standalone(piece)):
        assert parsed(smaller, piece) == parsed(whole, piece)


def test_words_are_those_of_the_whole_dictionary_on_real_text() -> None:
    if not (root := os.environ.get("JGPT_TEST_DATA")):
        pytest.skip("needs gold/jumanstandard-words.tsv under the directory that JGPT_TEST_DATA names")
    rows = (Path(root) / "gold/jumanstandard-words.tsv").read_text(encoding="utf-8").splitlines()
    lines = [row.split("\t")[0] for row in rows]
    whole, smaller = both()
    assert [*map(smaller, lines)] == [*map(whole, lines)]


def test_is_a_third_of_the_size(tmp_path: Path) -> None:
    write_pruned(JUMANDIC / "sys.dic", tmp_path / "sys.dic")
    assert (tmp_path / "sys.dic").stat().st_size < (JUMANDIC / "sys.dic").stat().st_size / 3


def test_nothing_is_left_behind() -> None:
    with pruned_dictionary(JUMANDIC) as prepared:
        assert {file.name for file in prepared.iterdir()} == {file.name for file in JUMANDIC.iterdir()}
    assert not prepared.exists()


UNKNOWN = (JUMANDIC / "unk.dic").read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"no dictionary" * 100, UNKNOWN[:-1], UNKNOWN[:28] + b"\x10\0\0\0" + UNKNOWN[32:]]
)
def test_what_is_no_whole_dictionary_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sys.dic").write_bytes(content)
    with pytest.raises(ValueError, match=r"sys\.dic is not a whole dictionary"):
        write_pruned(tmp_path / "sys.dic", tmp_path / "smaller.dic")
