"""Normalisation of one line of text, the step before sentence splitting.

Two profiles. `seed` is the published recipe to the letter: neologdn after `str.rstrip`. `clean` mends what that recipe
breaks: invisible characters stay in, tildes of ranges are deleted, dashes become long vowels, and text punctuated with
．， is never split into sentences. What neologdn does on purpose (narrow Latin, wide kana, no space beside Japanese,
one ー for many) holds in both. Pure functions over one line; nothing here knows of documents or files.
"""

import re
from collections.abc import Callable

from jgpt_dagster.corpus.text_profile import TextProfile

_JAPANESE = "ぁ-ゖゝ-ゟァ-ヺー-ヿｦ-ﾟ々〆〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U00033fff"
_KANJI_DIGITS = "〇一二三四五六七八九十百千万億兆"
_LATIN = "A-Za-zＡ-Ｚａ-ｚ"

# str.isspace() is the definition of a space, so that splitting, stripping and joining agree on it.
_SPACES = "\t-\r\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_OTHER_SPACE = re.compile(f"[{_SPACES}]")

# The controls that are no spaces, soft hyphen, zero width space, byte order mark, lone surrogates. The joiners U+200C
# and U+200D and the variation selectors are part of emoji and of several scripts: they stay.
_SURROGATES = "\ud800-\udfff"
_SURROGATE = re.compile(f"[{_SURROGATES}]")
_INVISIBLE_CHARACTERS = f"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\ufeff{_SURROGATES}"
_INVISIBLE = re.compile(f"[{_INVISIBLE_CHARACTERS}]")

# ．and ，stand for 。and 、where Japanese comes before. Not in numbers (三．一四), in initials (ジョン．Ｆ．), or in a
# row (そうか．．．); after a closing sign only if the text goes on in Japanese or ends there, as in 図（a）．次に.
_WIDE_PUNCTUATION = re.compile(
    rf"(?:(?<=[{_JAPANESE}])|(?<=[)\]）］」』】〉》〕”’%％℃])(?=.(?:[{_JAPANESE}「『（【〈《〔“‘\s]|\Z)))"
    rf"(?!(?<=[{_KANJI_DIGITS}]).[{_KANJI_DIGITS}0-9０-９])"
    rf"([．，])(?!\1|[{_LATIN}][．.])",
    re.DOTALL,
)
_JAPANESE_PUNCTUATION = {"．": "。", "，": "、"}

# Characters that neologdn 0.5.6 changes wherever they stand, found by asking it about every code point (a test repeats
# that). It decodes its buffer as UTF-32, hence the byte order mark. 〜 is among them only where tildes are deleted.
_ALWAYS_CHANGED = "~¥˗֊‐-–—―‘’“”⁃⁻₋−∼∾─━\u3000〰゛゜﹣\ufeff！＃-＆（-［］-＿ａ-～｡-ﾝ\uff9e\uff9f"
# What is written for the commonest of them, whatever stands beside. Round brackets, the commonest of all, come apart:
# most lines then need no more.
_WRITTEN_AS = dict(zip("：！？＝％／＆＋“”’—―\u3000", ':!?=%/&+""\'ーー ', strict=True))
_TILDES = "~～〜"
_LONG_VOWELS = re.compile("ーー+")
# Of a row of spaces one is left, which stays only between a character of ASCII other than * and one outside the
# Japanese blocks. (ー and 〜 beside a space are left to neologdn.)
_SPACE_ROW = re.compile("  +")
_SPACE_TO_DROP = re.compile(r" (?:(?<![\x00-\x1f!-)+-\x7f] )|(?=[\u3001-\u30ff\u4e00-\u9fff\uff00-\uffef]|\Z))")


# `clean` keeps dashes, for which neologdn writes ー (彼は――と言った): one, or two of a row. While neologdn looks at a
# line a control stands for each, of which `clean` has left none.
_DASHES = re.compile("[—―─━]+")
_DASH, _HIDDEN_DASH = "―", "\x01"


def _neologdn(profile: TextProfile) -> Callable[[str], str]:
    """neologdn with what `profile` makes of tildes, dashes and ‘, called only for lines that it would change otherwise.

    The same result as calling it for each, many times as fast on real text.
    """
    import neologdn

    mend = profile == "clean"
    always = _ALWAYS_CHANGED if mend else f"{_ALWAYS_CHANGED}〜"
    # One set of characters comes first, which makes a search three times as fast.
    changes = re.compile(f"[{always} ー〜](?:(?<=[{always}])|(?<=ーー)|(?<= [ー〜])|(?<=[ー〜] ))").search
    written_as = {**_WRITTEN_AS, **dict.fromkeys(_TILDES, "〜" if mend else ""), **({"‘": "'"} if mend else {})}
    how = "normalize_zenkaku" if mend else "remove"

    def without_stray_spaces(line: str) -> str:
        if " " not in line:
            return line
        return _SPACE_TO_DROP.sub("", _SPACE_ROW.sub(" ", line) if "  " in line else line)

    def normalize(line: str) -> str:
        line = line.replace("（", "(").replace("）", ")")
        if not changes(line):
            return without_stray_spaces(line)
        if mend:
            line = _DASHES.sub(lambda dashes: _HIDDEN_DASH * min(len(dashes[0]), 2), line)
        for character, written in written_as.items():
            line = line.replace(character, written)
        line = _LONG_VOWELS.sub("ー", line)
        line = str(neologdn.normalize(line, tilde=how)) if changes(line) else without_stray_spaces(line)
        return line.replace(_HIDDEN_DASH, _DASH) if mend else line

    return normalize


def normalized_characters(profile: TextProfile) -> str:
    """The inside of a set of a regular expression: a line without these and without ーー is left by `normalizer`."""
    if profile == "seed":
        return rf"{_ALWAYS_CHANGED}〜 {_SPACES}{_SURROGATES}"
    return rf"{_ALWAYS_CHANGED} {_SPACES}{_INVISIBLE_CHARACTERS}．，"


def normalizer(profile: TextProfile) -> Callable[[str], str]:
    """The function that normalises one line under `profile`. A line whose result is empty is to be dropped.

    Lone surrogates are dropped in both profiles: neither UTF-8 nor the recipe can hold them. After `clean` the only
    character for which `str.isspace` is true is the half-width space, never two in a row, never at an end.
    """
    if profile == "seed":
        normalize = _neologdn("seed")

        def normalize_seed(line: str) -> str:
            line = line.rstrip()
            return normalize(line if line.isprintable() else _SURROGATE.sub("", line))

        return normalize_seed

    normalize = _neologdn("clean")

    def normalize_clean(line: str) -> str:
        if not line.isprintable():  # no character of the two patterns is
            line = _INVISIBLE.sub("", _OTHER_SPACE.sub(" ", line))
        if "．" in line or "，" in line:
            line = _WIDE_PUNCTUATION.sub(lambda match: _JAPANESE_PUNCTUATION[match[1]], line)
        return normalize(line)

    return normalize_clean
