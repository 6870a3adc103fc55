"""Normalisation of one line of text, the step before sentence splitting.

Profile `seed` is the published recipe to the letter: neologdn after `str.rstrip`. Profile `clean` fixes the recipe's
faults: invisible characters stay, the tildes of ranges are deleted, dashes become long vowels, and text punctuated with
．， is never split into sentences. What neologdn does on purpose (half-width Latin, full-width kana, no space next to
Japanese, one ー for many) holds in both. Pure functions over one line.
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

# Control characters that are not spaces, soft hyphen, zero width space, byte order mark, lone surrogates. The joiners
# U+200C and U+200D and the variation selectors stay: they are part of emoji and of several scripts.
_SURROGATES = "\ud800-\udfff"
_SURROGATE = re.compile(f"[{_SURROGATES}]")
_INVISIBLE_CHARACTERS = f"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\ufeff{_SURROGATES}"
_INVISIBLE = re.compile(f"[{_INVISIBLE_CHARACTERS}]")

# ．and ，stand for 。and 、after Japanese text, but not in numbers (三．一四), in initials (ジョン．Ｆ．) or repeated
# (そうか．．．); after a closing bracket only if Japanese text or the end follows, as in 図（a）．次に.
_WIDE_PUNCTUATION = re.compile(
    rf"(?:(?<=[{_JAPANESE}])|(?<=[)\]）］」』】〉》〕”’%％℃])(?=.(?:[{_JAPANESE}「『（【〈《〔“‘\s]|\Z)))"
    rf"(?!(?<=[{_KANJI_DIGITS}]).[{_KANJI_DIGITS}0-9０-９])"
    rf"([．，])(?!\1|[{_LATIN}][．.])",
    re.DOTALL,
)
_JAPANESE_PUNCTUATION = {"．": "。", "，": "、"}

# Characters that neologdn 0.5.6 changes in any context, found by trying every code point (a test repeats that). It
# decodes its buffer as UTF-32, hence the byte order mark. 〜 is one of them only if tildes are deleted.
_ALWAYS_CHANGED = "~¥˗֊‐-–—―‘’“”⁃⁻₋−∼∾─━\u3000〰゛゜﹣\ufeff！＃-＆（-［］-＿ａ-～｡-ﾝ\uff9e\uff9f"
# The replacements of the commonest ones, which do not depend on context. Round brackets, the commonest of all, are
# replaced separately: most lines then need nothing else.
_REPLACEMENTS = dict(zip("：！？＝％／＆＋“”’—―\u3000", ':!?=%/&+""\'ーー ', strict=True))
_TILDES = "~～〜"
_LONG_VOWELS = re.compile("ーー+")
# A run of spaces becomes one, which stays only between an ASCII character other than * and one outside the Japanese
# blocks. (ー and 〜 next to a space are left to neologdn.)
_SPACE_RUN = re.compile("  +")
_SPACE_TO_DROP = re.compile(r" (?:(?<![\x00-\x1f!-)+-\x7f] )|(?=[\u3001-\u30ff\u4e00-\u9fff\uff00-\uffef]|\Z))")


# `clean` keeps dashes, which neologdn turns into ー (彼は――と言った): one, or two of a run. While neologdn works on a
# line, a control character stands in for each; `clean` has removed all others.
_DASHES = re.compile("[—―─━]+")
_DASH, _HIDDEN_DASH = "―", "\x01"


def _neologdn(profile: TextProfile) -> Callable[[str], str]:
    """Return neologdn with the profile's treatment of tildes, dashes and ‘, called only for lines that need it.

    The result is the same as calling it for each line, but many times as fast on real text.
    """
    import neologdn

    is_clean = profile == "clean"
    always = _ALWAYS_CHANGED if is_clean else f"{_ALWAYS_CHANGED}〜"
    # The pattern begins with a character set, which makes a search three times as fast.
    changes = re.compile(f"[{always} ー〜](?:(?<=[{always}])|(?<=ーー)|(?<= [ー〜])|(?<=[ー〜] ))").search
    replacements = {
        **_REPLACEMENTS,
        **dict.fromkeys(_TILDES, "〜" if is_clean else ""),
        **({"‘": "'"} if is_clean else {}),
    }
    tilde = "normalize_zenkaku" if is_clean else "remove"

    def without_stray_spaces(line: str) -> str:
        if " " not in line:
            return line
        return _SPACE_TO_DROP.sub("", _SPACE_RUN.sub(" ", line) if "  " in line else line)

    def normalize(line: str) -> str:
        line = line.replace("（", "(").replace("）", ")")
        if not changes(line):
            return without_stray_spaces(line)
        if is_clean:
            line = _DASHES.sub(lambda dashes: _HIDDEN_DASH * min(len(dashes[0]), 2), line)
        for character, replacement in replacements.items():
            line = line.replace(character, replacement)
        line = _LONG_VOWELS.sub("ー", line)
        line = str(neologdn.normalize(line, tilde=tilde)) if changes(line) else without_stray_spaces(line)
        return line.replace(_HIDDEN_DASH, _DASH) if is_clean else line

    return normalize


def normalized_characters(profile: TextProfile) -> str:
    """Return the inside of a regex character set: `normalizer` does not change a line without these and ーー."""
    if profile == "seed":
        return rf"{_ALWAYS_CHANGED}〜 {_SPACES}{_SURROGATES}"
    return rf"{_ALWAYS_CHANGED} {_SPACES}{_INVISIBLE_CHARACTERS}．，"


def normalizer(profile: TextProfile) -> Callable[[str], str]:
    """Return the function that normalises one line under `profile`. A line with an empty result is to be dropped.

    Lone surrogates are removed in both profiles: neither UTF-8 nor the recipe can represent them. After `clean` the
    only character for which `str.isspace` is true is the half-width space, never twice in succession nor at an end.
    """
    if profile == "seed":
        normalize = _neologdn("seed")

        def normalize_seed(line: str) -> str:
            line = line.rstrip()
            return normalize(line if line.isprintable() else _SURROGATE.sub("", line))

        return normalize_seed

    normalize = _neologdn("clean")

    def normalize_clean(line: str) -> str:
        if not line.isprintable():  # characters of the two patterns are never printable
            line = _INVISIBLE.sub("", _OTHER_SPACE.sub(" ", line))
        if "．" in line or "，" in line:
            line = _WIDE_PUNCTUATION.sub(lambda match: _JAPANESE_PUNCTUATION[match[1]], line)
        return normalize(line)

    return normalize_clean
