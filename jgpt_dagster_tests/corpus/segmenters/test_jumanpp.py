"""Promises of the Juman++ wrapper, kept against a stand-in that misbehaves in every way that Juman++ 2 is known to.

The stand-in has the command line, the faults and the canary answer of the real program; its words are two characters
long, so that they cannot be taken for those of the fallback.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jgpt_dagster.corpus.segmenters import Segmenter, SegmenterError, open_segmenter
from jgpt_dagster.corpus.segmenters.jumanpp import JumanppSegmenter
from jgpt_dagster.corpus.segmenters.piece_splitting import split_by_character_class
from jgpt_dagster_tests.support.hostile_text import ANY_TEXT, HOSTILE_LINES

STAND_IN = r"""
import itertools, os, re, sys, time

version, canary = {version!r}, {canary!r}
if sys.argv[1:] == ["--version"]:
    print(version)
    sys.exit(1)
assert sys.argv[1:] == ["--segment"], sys.argv
first_run = os.path.join(os.path.dirname(os.path.abspath(__file__)), "died-once")
out = sys.stdout.buffer
swallowing = False
answered = 0
for line in sys.stdin.buffer:
    line = line.removesuffix(b"\n")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        continue
    if len(line) > 4096:
        sys.stderr.write("byte size of input string (%d) is greater than maximum allowed (4096)\n" % len(line))
        continue
    if text.startswith("# "):
        swallowing = len(line) > 1024
        continue
    if swallowing or "消" in text:
        swallowing = False
        continue
    if re.search(r"[0-9０-９]．$", text) or "死" in text:
        os.abort()
    answered += 1
    if re.search("[0-9０-９○〇零一二三四五六七八九十百千万億兆][・·．]$", text):
        text = text[:answered % len(text)] + " " + text[answered % len(text):]
    if re.search(r"([!-~]{{1000}}|[ぁ-ゟ]{{1000}}|[ァ-ヿ]{{1000}}|[一-鿿]{{1000}})", text):
        os.abort()
    if "一度" in text and not os.path.exists(first_run):
        open(first_run, "w").close()
        os.abort()
    if "膨" in text:
        bytearray(5 << 30)
    if "眠" in text:
        time.sleep(60)
    if "喋" in text:
        sys.stderr.write("warning\n" * 100_000)
    if "増" in text:
        out.write(b"\n")
    if "歪" in text:
        text = text.replace("歪", "正")
    known = canary if text == canary.replace(" ", "") else None
    out.write((known or " ".join(re.findall(" |[^ ]{{1,{longest}}}", text))).encode() + b"\n")
    out.flush()
"""

VERSION = "Juman++ Version: 2.0.0-rc3 / Dictionary: 20190731-356e143 / LM: K:20190430-7d143fb"
CANARY = "魅力 が たっぷり と 詰まって いる"

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Writes a stand-in as PREFIX/bin/jumanpp, with a model if asked; gives its path."""

    def write(
        prefix: str = "opt",
        version: str = VERSION,
        canary: str = CANARY,
        model: bytes | None = None,
        longest: int = 2,
    ) -> str:
        binary = tmp_path / prefix / "bin/jumanpp"
        binary.parent.mkdir(parents=True)
        binary.write_text(f"#!{sys.executable}\n" + STAND_IN.format(version=version, canary=canary, longest=longest))
        binary.chmod(0o755)
        if model is not None:
            share = tmp_path / prefix / "libexec/jumanpp"
            share.mkdir(parents=True)
            (share / "jumandic.jppmdl").write_bytes(model)
            (share / "jumandic.config").write_text(f"--model={share}/jumandic.jppmdl\n--beam=5\n")
        return str(binary)

    return write


@pytest.fixture
def jumanpp(install: Install) -> Iterator[JumanppSegmenter]:
    with JumanppSegmenter(install()) as segmenter:
        yield segmenter


def pairs(text: str) -> list[str]:
    return re.findall("..?", text)


def check_only_falls_back_on(segmenter: Segmenter, guilty: list[str]) -> None:
    """`guilty` among harmless lines: those fall back, the others keep the engine's words, in their places."""
    lines = [f"ふつうの文{number}" for number in range(100)]
    for place, line in zip((0, 37, 38, 99), guilty, strict=False):
        lines[place] = line
    expected = [split_by_character_class(line) if line in guilty else pairs(line) for line in lines]
    assert segmenter.segment(lines) == expected
    assert segmenter.fallbacks == len(guilty)


def test_lines_keep_their_order_over_many_batches(jumanpp: JumanppSegmenter) -> None:
    lines = [f"第{number}の文" for number in range(5000)]
    assert jumanpp.segment(lines) == [pairs(line) for line in lines]
    assert jumanpp.segment([]) == []
    assert jumanpp.fallbacks == 0


def test_a_batch_larger_than_the_pipes_does_not_block(install: Install) -> None:
    lines = [f"{number}" + "長い行" * 100 for number in range(2000)]  # 1.8 MB each way, a pipe holds 64 KiB
    with JumanppSegmenter(install()) as segmenter:
        assert segmenter.segment(lines) == [pairs(line) for line in lines]


def test_hostile_lines_come_back_whole_without_fallback(jumanpp: JumanppSegmenter) -> None:
    assert ["".join(words) for words in jumanpp.segment(HOSTILE_LINES)] == HOSTILE_LINES
    assert jumanpp.fallbacks == 0


@pytest.mark.parametrize("digit", ["3", "３", "三", "〇", "十", "万"])
@pytest.mark.parametrize("point", "・·．")
def test_a_piece_that_ends_in_a_digit_and_a_point_is_never_asked(
    jumanpp: JumanppSegmenter, digit: str, point: str
) -> None:
    """Releases up to 2.0.0-rc4, and the stand-in, die of it, or answer by what they were asked before."""
    lines = [f"第{digit}{point}", f"約{digit}{point} 次", f"{digit}{point}", "あ" * 97 + f"、1{digit}{point}"]
    words = jumanpp.segment(lines)
    assert words[:3] == [[f"第{digit}", point], [f"約{digit}", point, " ", "次"], [digit, point]]
    assert words[3][-1] == point
    assert jumanpp.segment([*lines, *lines]) == [*words, *words]
    assert jumanpp.segment_joined(lines)[0] == f"第{digit} {point}"
    assert jumanpp.fallbacks == 0


def test_other_points_are_left_to_the_program(jumanpp: JumanppSegmenter) -> None:
    lines = ["第3・第4", "甲・", "3。", "3・・", "・"]
    assert jumanpp.segment(lines) == [pairs(line) if len(line) > 1 else [line] for line in lines]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ANY_TEXT))
def test_words_join_to_their_line_for_any_text(jumanpp: JumanppSegmenter, lines: list[str]) -> None:
    assert ["".join(words) for words in jumanpp.segment(lines)] == lines


FAULTS: dict[str, tuple[list[str], list[bytes] | None, int]] = {
    # What Juman++ 2 is known to do with lines: which it prints (None: it dies), and how often we must fall back.
    "no line for more than 4096 bytes": (["吾輩は猫である。" * 200], [], 0),
    "no line for what is no UTF-8": (["\udcff"], [], 0),
    "no line for a comment": (["# 注釈", "次の"], ["次の".encode()], 0),
    "a long comment takes the next line with it": (["# " + "長い話" * 200, "次の"], [], 0),
    "an empty line for an empty line": ([""], [b""], 0),
    "a space is a word like any other": (["a b"], [b"a   b"], 0),
    "controls are printed as they are": (["a\tb\r\v\x85"], ["a\t b\r \v\x85".encode()], 0),
    "it dies of a long run of one class": (["あ" * 1000, "A" * 1000], None, 0),
    "it dies of digits before a wide stop": (["１２３．"], None, 0),
}


@pytest.mark.parametrize(("lines", "printed", "fallbacks"), FAULTS.values(), ids=FAULTS)
def test_a_known_fault_of_the_program_loses_nothing(
    install: Install, lines: list[str], printed: list[bytes] | None, fallbacks: int
) -> None:
    binary = install()
    question = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
    alone = subprocess.run([binary, "--segment"], input=question, capture_output=True, timeout=60)
    if printed is None:
        assert alone.returncode == -signal.SIGABRT
    else:
        assert (alone.returncode, alone.stdout.split(b"\n")[:-1]) == (0, printed)
    with JumanppSegmenter(binary) as segmenter:
        result = segmenter.segment(["前の", *lines, "後の"])
        assert ["".join(words) for words in result] == ["前の", *lines, "後の"]
        assert result[0] == ["前の"] and result[-1] == ["後の"]
        assert segmenter.fallbacks == fallbacks


def test_comments_are_text(jumanpp: JumanppSegmenter) -> None:
    assert jumanpp.segment(["# 注釈" + "長い" * 50, "次の文"]) == [
        ["#", " ", *pairs("注釈" + "長い" * 50)],
        ["次の", "文"],
    ]
    assert jumanpp.fallbacks == 0


@pytest.mark.parametrize(
    "guilty",
    [
        pytest.param(["消える行", "また消える", "消", "消え"], id="lines without an answer"),
        pytest.param(["死ぬ行", "また死ぬ"], id="lines that kill it"),
        pytest.param(["増える行"], id="two answers to one line"),
        pytest.param(["歪む行"], id="other characters in the answer"),
        pytest.param(["増える行", "消える行"], id="answers that are only as many as the lines"),
        pytest.param(["膨らむ行"], id="runaway memory"),
    ],
)
def test_a_bad_line_costs_no_other_line(jumanpp: JumanppSegmenter, guilty: list[str]) -> None:
    check_only_falls_back_on(jumanpp, guilty)


def test_a_flood_on_standard_error_does_not_block(jumanpp: JumanppSegmenter) -> None:
    assert jumanpp.segment(["喋る行"] * 20) == [["喋る", "行"]] * 20


def test_a_child_that_dies_once_is_replaced_and_nothing_falls_back(jumanpp: JumanppSegmenter) -> None:
    assert jumanpp.segment(["一度だけ", "次"]) == [["一度", "だけ"], ["次"]]
    assert jumanpp.fallbacks == 0


def test_a_child_killed_between_batches_is_replaced(jumanpp: JumanppSegmenter) -> None:
    jumanpp.segment(["前"])
    os.kill(jumanpp._child._process.pid, signal.SIGKILL)
    assert jumanpp.segment(["猫である"]) == [["猫で", "ある"]]
    assert jumanpp.fallbacks == 0


def test_our_own_mark_may_stand_in_the_text(jumanpp: JumanppSegmenter) -> None:
    lines = ["区切り0番", "区切り1番", "後の文"]
    assert jumanpp.segment(lines) == [pairs(line) for line in lines]
    assert jumanpp.fallbacks == 0


def test_a_child_that_hangs_is_an_error_and_never_a_fallback(jumanpp: JumanppSegmenter) -> None:
    # Only the child that will hang is short of time: it has started, and its successor starts when it can.
    jumanpp._child._timeout = 0.5
    with pytest.raises(SegmenterError, match=r"no answer to 2 pieces of text in 0\.5 seconds; the first is '眠る行'"):
        jumanpp.segment(["眠る行", "次"])
    assert jumanpp.segment(["次の文"]) == [["次の", "文"]]


def test_close_leaves_no_child(jumanpp: JumanppSegmenter) -> None:
    pid = jumanpp._child._process.pid
    jumanpp.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_missing_binary_says_what_to_install_or_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SegmenterError, match=r"'jumanpp', which was not found.*JGPT_SEGMENTER=mecab"):
        open_segmenter("jumanpp")


def test_another_program_is_refused(install: Install) -> None:
    with pytest.raises(SegmenterError, match=r"says 'JUMAN\+\+ 1.02'"):
        JumanppSegmenter(install(version="JUMAN++ 1.02"))


@pytest.mark.parametrize("canary", ["魅力がたっぷりと 詰まっている", "魅 力 が たっぷり と 詰まって いる"])
def test_a_model_that_fails_on_a_known_sentence_is_refused(install: Install, canary: str) -> None:
    with pytest.raises(SegmenterError, match="does not work: asked to segment '魅力がたっぷりと詰まっている'"):
        JumanppSegmenter(install(canary=canary))


def test_the_fingerprint_is_of_version_model_and_settings_and_of_no_path(install: Install) -> None:
    def fingerprint(**options: object) -> str:
        with JumanppSegmenter(install(**options)) as segmenter:
            return segmenter.fingerprint

    one = fingerprint(prefix="one", model=b"model")
    assert re.fullmatch(r"jumanpp 2\.0\.0-rc3 / Dictionary.* model sha256:[0-9a-f]{64}", one)
    assert fingerprint(prefix="two", model=b"model") == one
    assert fingerprint(prefix="three", model=b"other model") != one
    assert fingerprint(prefix="four", model=b"model", version="Juman++ Version: 2.0.0-rc4") != one


def test_models_that_are_not_found_are_told_apart_by_their_words(install: Install) -> None:
    def fingerprint(**options: object) -> str:
        with JumanppSegmenter(install(**options)) as segmenter:
            assert segmenter.fingerprint == segmenter.fingerprint
            return segmenter.fingerprint

    one = fingerprint(prefix="one")
    assert re.fullmatch(r"jumanpp 2\.0\.0-rc3 / Dictionary.* model unknown, its words sha256:[0-9a-f]{64}", one)
    assert fingerprint(prefix="two") == one
    assert fingerprint(prefix="three", longest=3) != one
