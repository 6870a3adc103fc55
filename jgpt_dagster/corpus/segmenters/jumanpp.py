"""The Juman++ engine: the binary `jumanpp` (Juman++ 2) as a long-lived child process.

Juman++ exits with 0 after errors, prints no line for some inputs and crashes on others, so nothing is trusted: each
batch ends with a sentinel line, every answer must join to its piece, and a batch that fails is halved until the piece
that causes it is alone. Only that piece falls back.
"""

import hashlib
import re
import shlex
import shutil
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Event, Thread, Timer
from typing import IO

from jgpt_dagster.corpus.segmenters.base import PieceSegmenter, SegmenterError
from jgpt_dagster.runtime.batching import batches

_BATCH_PIECES = 2000
"""Pieces per exchange. Juman++ does 348 a second one at a time, ten times as many in batches of thousands."""

_ADDRESS_SPACE_KIB = 4 << 20
"""Limit of the child's address space, so that a runaway analysis kills the child and not the machine."""

# What Juman++ takes for digits and for decimal points (`src/util/characters.cc`). For a piece that ends in one of each,
# releases up to 2.0.0-rc4 read behind its end (ku-nlp/jumanpp, issue 157): they crash, or the words depend on what the
# memory there holds. Such a point is always a word of its own, so the program is never asked.
_DIGITS = frozenset("0123456789０１２３４５６７８９○〇零一二三四五六七八九十百千万億兆")
_POINTS = frozenset("・·．")

_CANARY = "魅力 が たっぷり と 詰まって いる"
"""The example of Juman++'s README: what a working model answers."""

# Word boundaries here depend on what a model has learned: compounds, kana, names, new words, spoken language.
_FINGERPRINT_SENTENCES = (
    "外国人参政権について東京都知事が会見した",
    "すもももももももものうち",
    "ここではきものをぬいでください",
    "にわにはにわにわとりがいる",
    "新型コロナウイルス感染症対策本部を設置",
    "うらにわにはにわとりがいてなんかめっちゃかわいいし",
    "自然言語処理の深層学習モデルをファインチューニングする",
    "きゃりーぱみゅぱみゅのライブにいってきたよー",
    "京都大学大学院情報学研究科知能情報学専攻",
    "それってどういうことなんでしょうかねえ",
)

_INSTALL = (
    "Install Juman++ 2 (https://github.com/ku-nlp/jumanpp/releases, with its model) so that `jumanpp` is on PATH, "
    "or set JGPT_SEGMENTER=mecab."
)


class JumanppSegmenter(PieceSegmenter):
    """Juman++ 2 as a child process.

    `path` names the binary, looked up on PATH. An exchange that takes longer than `timeout` seconds raises
    SegmenterError rather than falling back, so that words never depend on the speed of a machine. Raises SegmenterError
    if the binary is missing, is not Juman++ 2, or fails on a known sentence.
    """

    def __init__(self, path: str = "jumanpp", timeout: float = 600) -> None:
        super().__init__()
        found = shutil.which(path)
        if found is None:
            raise SegmenterError(f"JGPT_SEGMENTER=jumanpp needs the program {path!r}, which was not found. {_INSTALL}")
        self._binary = found
        self._timeout = timeout
        self._version = _version(found)
        self._child = self._start()

    @property
    def fingerprint(self) -> str:
        """Version line (which names dictionary and language model too) and sha256 of model and settings.

        If those files are not found, the hash is of the words of a few sentences on which models differ.
        """
        model = _model_digest(Path(self._binary)) or f"unknown, its words sha256:{self._words_digest}"
        return f"jumanpp {self._version} model {model}"

    @cached_property
    def _words_digest(self) -> str:
        return hashlib.sha256("\n".join(self._split(_FINGERPRINT_SENTENCES)).encode()).hexdigest()

    def close(self) -> None:
        self._child.kill()

    def _start(self) -> "_JumanppProcess":
        child = _JumanppProcess(self._binary, self._timeout)
        try:
            answers = child.exchange([_CANARY.replace(" ", "")])
        except SegmenterError:
            child.kill()
            raise
        if answers != [_CANARY]:
            child.kill()
            raise SegmenterError(
                f"{self._binary} does not work: asked to segment {_CANARY.replace(' ', '')!r} it answered {answers!r} "
                f"and not {_CANARY!r}. It said: {child.stderr_tail() or 'nothing'}\n"
                f"Check its model with `echo 魅力 | {shlex.quote(str(self._binary))} --segment`. {_INSTALL}"
            )
        return child

    def _split(self, pieces: Sequence[str]) -> list[str]:
        asked = [piece[:-1] if _ends_in_digit_and_point(piece) else piece for piece in pieces]
        answers = [words for batch in batches(asked, max_items=_BATCH_PIECES) for words in self._split_batch(batch)]
        return [
            words if not words or len(part) == len(piece) else f"{words} {piece[-1]}"
            for piece, part, words in zip(pieces, asked, answers, strict=True)
        ]

    def _split_batch(self, pieces: Sequence[str]) -> Iterator[str]:
        """Yield the words of each piece; an empty string for one that Juman++ cannot process even alone."""
        answers = self._ask(pieces)
        if answers is None:  # it died; if something other than the text killed it, another attempt succeeds
            answers = self._ask(pieces)
        if answers is not None and [answer.replace(" ", "") for answer in answers] == [*pieces]:
            yield from answers
        elif len(pieces) == 1:
            yield ""
        else:
            middle = len(pieces) // 2
            yield from self._split_batch(pieces[:middle])
            yield from self._split_batch(pieces[middle:])

    def _ask(self, pieces: Sequence[str]) -> list[str] | None:
        if not self._child.alive:
            self._child = self._start()
        return self._child.exchange(pieces)


class _JumanppProcess:
    """One running `jumanpp --segment`; killed after an exchange that it did not complete."""

    def __init__(self, binary: str, timeout: float) -> None:
        self._binary = binary
        self._timeout = timeout
        # The shell sets the limit and is replaced by the binary: no Python runs between fork and exec.
        limited = f'ulimit -v {_ADDRESS_SPACE_KIB} 2>/dev/null; exec "$0" --segment'
        self._process = subprocess.Popen(  # noqa: S603  # the binary is an argument of a fixed script
            ["/bin/sh", "-c", limited, binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._stderr: deque[bytes] = deque(maxlen=20)
        self._stderr_reader = Thread(target=self._read_stderr, daemon=True)
        self._stderr_reader.start()
        self.alive = True

    def exchange(self, pieces: Sequence[str]) -> list[str] | None:
        """Return the output lines, words joined by one space, up to the sentinel, or None if the child died first."""
        assert self._process.stdin and self._process.stdout  # noqa: S101  # both are pipes
        sentinel = _sentinel_not_in(pieces)
        late = Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = Timer(self._timeout, give_up)
        question = "".join(f"{piece}\n" for piece in (*pieces, sentinel)).encode()
        writer = Thread(target=_write, args=(self._process.stdin, question), daemon=True)
        timer.start()
        writer.start()
        answers = None
        try:
            answers = self._read_until(sentinel, self._process.stdout)
        finally:
            timer.cancel()
            if answers is None or late.is_set():
                self.kill()
            writer.join()
        if late.is_set():
            raise SegmenterError(
                f"{self._binary} gave no answer to {len(pieces)} pieces of text in {self._timeout:g} seconds; the "
                f"first is {pieces[0][:80]!r}. It said: {self.stderr_tail() or 'nothing'}"
            )
        return answers

    def _read_until(self, sentinel: str, stdout: IO[bytes]) -> list[str] | None:
        answers: list[str] = []
        for line in stdout:  # bytes split only at \n; text mode would split at \r too
            words = line.removesuffix(b"\n").decode(errors="replace")
            if words.replace(" ", "") == sentinel:
                return answers
            answers.append(words)
        return None

    def _read_stderr(self) -> None:
        assert self._process.stderr  # noqa: S101  # it is a pipe
        with suppress(ValueError, OSError):  # closed by kill()
            self._stderr.extend(self._process.stderr)

    def stderr_tail(self) -> str:
        """Return the last lines of the child's standard error."""
        return b"".join(self._stderr).decode(errors="replace").strip()

    def kill(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.wait()
        self._stderr_reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                pipe and pipe.close()


def _ends_in_digit_and_point(piece: str) -> bool:
    return piece[-1:] in _POINTS and piece[-2:-1] in _DIGITS


def _write(pipe: IO[bytes], data: bytes) -> None:
    with suppress(OSError, ValueError):  # the child died: the reader notices
        pipe.write(data)
        pipe.flush()


def _sentinel_not_in(pieces: Sequence[str]) -> str:
    """Return a short ordinary line that is not among the pieces."""
    taken = set(pieces)
    number = 0
    while (sentinel := f"区切り{number}番") in taken:
        number += 1
    return sentinel


def _version(binary: str) -> str:
    # Some releases exit with 1 after printing their version: what counts is the line.
    try:
        result = subprocess.run(  # noqa: S603  # no shell; the engine found on the PATH
            [binary, "--version"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SegmenterError(f"{binary} --version failed: {error}. {_INSTALL}") from error
    output = (result.stdout + result.stderr).decode(errors="replace").strip()
    match = re.search(r"Juman\+\+ Version: (2\..*)", output)
    if match is None:
        raise SegmenterError(
            f"{binary} --version says {output[:200]!r}; expected 'Juman++ Version: 2. ...'. {_INSTALL}"
        )
    return match[1].strip()


def _model_digest(binary: Path) -> str | None:
    """Return the sha256 of the settings and model files that Juman++ loads, without their paths; None if not found.

    Juman++ reads `jumandic.config` from PREFIX/libexec/jumanpp (PREFIX/libexec in some builds), else from
    ~/.config/jumanpp. The file holds command line arguments; --model and --rnn-model may be relative to it.
    """
    prefix = binary.resolve().parent.parent
    directories = (prefix / "libexec/jumanpp", prefix / "libexec", Path.home() / ".config/jumanpp")
    config = next((file for folder in directories if (file := folder / "jumandic.config").is_file()), None)
    if config is None:
        return None
    arguments = shlex.split(config.read_text(errors="replace").replace("=", " "))
    digest = hashlib.sha256()
    model_follows = False
    for argument in arguments:
        if model_follows:
            try:
                with open(config.parent / argument, "rb") as model:
                    digest.update(hashlib.file_digest(model, "sha256").digest())
            except OSError:
                return None
        else:
            digest.update(f"{argument}\n".encode())
        model_follows = argument in ("--model", "--rnn-model")
    return f"sha256:{digest.hexdigest()}"
