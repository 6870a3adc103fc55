"""Splitting lines into pieces that are safe for any engine, and the fallback segmentation by character class.

Engines drop spaces, stop at NUL, take `# x` for a comment, lose lines above 4096 bytes, and need memory cubic in the
length of a run of one character class. Pieces have no spaces or control characters and are limited in length, so none
of that can happen. The pieces of any line join to the line. Pure functions, the same for all engines.
"""

import re
from collections.abc import Iterator

MAX_RUN = 100
"""Longest run of one character class in a piece: Juman++ takes 3.5 GB at 1000 and aborts at 1365."""

MAX_BYTES = 4096
"""Longest piece in bytes of UTF-8: Juman++ gives no output for a longer line."""

# Controls (C0, DEL, C1), everything str.isspace() knows, the byte order mark, the space symbol U+2581, lone surrogates.
_STANDALONE = "\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2581\u3000\ufeff\ud800-\udfff"
_STANDALONE_CHARACTER = re.compile(f"([{_STANDALONE}])")

_KANA = "ぁ-ヿｦ-ﾟ"
_KANJI = "々〇〻\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U00033fff"
_WESTERN = "!-~¡-ɏ！-～"
_CLASSES = (f"[{_KANA}]", f"[{_KANJI}]", f"[{_WESTERN}]", f"[^{_KANA}{_KANJI}{_WESTERN}]")
_SHORT_RUNS = re.compile(
    f"(?:{'|'.join(f'{characters}{{1,{MAX_RUN - 1}}}+(?!{characters})' for characters in _CLASSES)})*+"
)
_LONG_RUN = re.compile("|".join(f"{characters}{{{MAX_RUN}}}" for characters in _CLASSES))
_RUN = re.compile("|".join(f"{characters}+" for characters in _CLASSES))


def is_standalone(piece: str) -> bool:
    """Return whether `piece` is a character that is a word of its own and is not passed to the engine."""
    return len(piece) == 1 and _STANDALONE_CHARACTER.match(piece) is not None


def is_single_piece(line: str) -> bool:
    """Return whether `line` is certainly one piece."""
    return line != "" and _STANDALONE_CHARACTER.search(line) is None and _is_within_limits(line)


def split_into_pieces(line: str) -> list[str]:
    """Return the non-empty pieces of `line`: standalone characters (see `is_standalone`) and text within the limits."""
    pieces = []
    for part in _STANDALONE_CHARACTER.split(line):
        if _is_within_limits(part):
            if part:
                pieces.append(part)
        else:
            for piece in _cut_runs(part):
                pieces.extend(_cut_bytes(piece))
    return pieces


def split_by_character_class(piece: str) -> list[str]:
    """Return the fallback words if an engine has no usable answer: runs of kana, of kanji, of Latin or of the rest."""
    return _RUN.findall(piece)


def _is_within_limits(text: str) -> bool:
    """Return whether `text` is certainly within the limits; a character has at most 4 bytes."""
    return len(text) <= MAX_RUN or (len(text) <= MAX_BYTES // 4 and _SHORT_RUNS.fullmatch(text) is not None)


def _cut_runs(text: str) -> Iterator[str]:
    start = 0
    for run in _LONG_RUN.finditer(text):
        yield text[start : run.end()]
        start = run.end()
    if start < len(text):
        yield text[start:]


def _cut_bytes(text: str) -> Iterator[str]:
    data = text.encode()
    start = 0
    while len(data) - start > MAX_BYTES:
        end = start + MAX_BYTES
        while data[end] & 0xC0 == 0x80:  # a byte inside a character
            end -= 1
        yield data[start:end].decode()
        start = end
    yield data[start:].decode()
