"""Everything that the profile `clean` changes in a line of text, as data: `SUBSTITUTIONS`, applied in that order.

The list is the definition of `clean`; `normalize` applies it fast. docs/normalization.md shows it.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from unicodedata import normalize

# The insides of regex character sets. A space is what str.isspace() says, so that splitting, stripping and joining
# agree on it.
SPACES = "\t-\r\x1c-\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Control characters that are not spaces, soft hyphen, zero width space, byte order mark, lone surrogates. The joiners
# U+200C and U+200D stay: they are part of emoji and of several scripts.
INVISIBLE = "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\ufeff\ud800-\udfff"
VARIATION_SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"

_KANJI = "々〆〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U00033fff"
_LETTERS = f"ぁ-ゖゝ-ゟァ-ヺー-ヿｦ-ﾟ{_KANJI}"
_KANA = "ぁ-ゖ\u3099-ゟァ-ヺー-ヿｦ-ﾟ"
_KANJI_DIGITS = "〇一二三四五六七八九十百千万億兆"
_LATIN = "A-Za-zＡ-Ｚａ-ｚ"
# Kana, kanji and the punctuation of Japanese. Words of all other scripts are separated by spaces, or were once.
_JAPANESE = f"\u3001-\u30ff\u31f0-\u31ff\uff00-\uff9f\U0001aff0-\U0001b16f{_KANJI}"

# The full-width ASCII that has another form in neologdn as well; ＂＇＼｀ have none, －～ are apart.
_FULL_WIDTH = "！＃＄％＆（）＊＋，．／０１２３４５６７８９：；＜＝＞？＠［］＾＿｛｜｝" + "".join(
    chr(code + 0xFEE0) for code in (*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1))
)
_HALF_WIDTH = "".join(map(chr, range(0xFF61, 0xFF9E)))

_CHARACTERS = {
    **{wide: chr(ord(wide) - 0xFEE0) for wide in _FULL_WIDTH},
    **{narrow: normalize("NFKC", narrow) for narrow in _HALF_WIDTH},
    **{"ﾞ": "゛", "ﾟ": "゜"},
    **dict.fromkeys("‐‑‒–−⁃﹣－", "-"),
    **dict.fromkeys("—─━", "―"),
    **dict.fromkeys("~～∼∾〰", "〜"),
    **{"“": '"', "”": '"', "‘": "'", "’": "'"},
}

# A kana and a mark that are one character (か and ゛ are が). A mark has two forms; the first is combining.
_MARKS = ("\u3099゛", "\u309a゜")
_COMPOSED_KANA = {
    chr(kana) + mark: composed
    for marks in _MARKS
    for kana in range(0x3041, 0x30FF)
    if len(composed := normalize("NFC", chr(kana) + marks[0])) == 1
    for mark in marks
}
_MARKED_KANA = "|".join(
    f"[{''.join(sorted({pair[0] for pair in _COMPOSED_KANA if pair[1] in marks}))}][{marks}]" for marks in _MARKS
)

# ．and ，stand for 。and 、after Japanese text, but not in numbers (三．一四), in initials (ジョン．Ｆ．) or repeated
# (そうか．．．); after a closing bracket only if Japanese text or the end follows, as in 図（a）．次に.
_WIDE_PUNCTUATION = (
    rf"([．，])(?:(?<=[{_LETTERS}].)|(?<=[{_LETTERS}][{VARIATION_SELECTORS}].)"
    rf"|(?<=[)\]）］」』】〉》〕”’%％℃].)(?=[{_LETTERS}「『（【〈《〔“‘\s]|\Z))"
    rf"(?!(?<=[{_KANJI_DIGITS}].)[{_KANJI_DIGITS}0-9０-９])"
    rf"(?!\1|[{_LATIN}][．.])"
)

_UNSELECTED = f"(?![{VARIATION_SELECTORS}])"


class Substitution(NamedTuple):
    """One thing that `clean` changes. It can only apply to a line with one of the characters of `trigger`.

    `replacement` is a string, or the string for each that the pattern can match.
    """

    change: str
    trigger: str
    pattern: re.Pattern[str]
    replacement: str | Mapping[str, str]
    example: str

    def apply(self, line: str) -> str:
        """Return the line with every match of the pattern replaced."""
        replacement = self.replacement
        if isinstance(replacement, str):
            return self.pattern.sub(replacement, line)
        return self.pattern.sub(lambda match: replacement[match[0]], line)


DROP_INVISIBLE = Substitution(
    "Invisible characters are dropped, with variation selectors behind them: controls, soft hyphen, zero-width space, "
    "byte order mark, lone surrogates.",
    INVISIBLE,
    re.compile(f"[{INVISIBLE}][{VARIATION_SELECTORS}]*"),
    "",
    "見\u200bえる",
)
UNIFY_SPACES = Substitution(
    "Any number of spaces and line ends of any kind, with variation selectors behind them, is one space (U+0020).",
    SPACES,
    # Single U+0020, which most lines have, do not match.
    re.compile(f"[{SPACES}](?:(?<! )|(?=[{SPACES}{VARIATION_SELECTORS}]))[{SPACES}{VARIATION_SELECTORS}]*"),
    " ",
    "New\u3000 York",
)
REPLACE_SPACE_SYMBOL = Substitution(
    "`▁` (U+2581), with variation selectors behind it, is `_`, since `▁` stands for a space in segmented text.",
    "\u2581",
    re.compile(f"\u2581[{VARIATION_SELECTORS}]*"),
    "_",
    "▁▂▃",
)
STRIP = Substitution(
    "A line begins and ends without a space, and does not begin with a variation selector.",
    f" {VARIATION_SELECTORS}",
    re.compile(rf"\A[ {VARIATION_SELECTORS}]+| \Z"),
    "",
    " New York ",
)
SPLIT_AT_WIDE_PUNCTUATION = Substitution(
    "`．` and `，` are `。` and `、` after Japanese text, except in numbers, initials and runs of them.",
    "．，",
    re.compile(_WIDE_PUNCTUATION + _UNSELECTED),
    {"．": "。", "，": "、"},
    "本稿では，方法を述べる．",
)
LENGTHEN = Substitution(
    "`－` is `ー` after kana.",
    "－",
    re.compile(f"－(?<=[{_KANA}]－)－*{_UNSELECTED}"),
    "ー",
    "コンピュ－タ",
)
REPLACE_CHARACTERS = Substitution(
    "Single characters: full-width Latin, digits and signs are ASCII, half-width kana are full-width; the hyphens "
    "`‐ ‑ ‒ – − ⁃ ﹣ －` are `-`, the dashes `— ─ ━` are `―`, the tildes `~ ～ ∼ ∾ 〰` are `〜`; quotation marks are "
    "straight.",
    "".join(_CHARACTERS),
    re.compile(f"[{''.join(_CHARACTERS)}]{_UNSELECTED}"),
    _CHARACTERS,
    "Ａ４判～“ｶﾅ”",
)
DROP_SPACES = Substitution(
    "A space beside a kana, a kanji or Japanese punctuation is dropped.",
    " ",
    re.compile(rf" (?:(?<=[{_JAPANESE}] )|(?<=[{_JAPANESE}][{VARIATION_SELECTORS}] )|(?=[{_JAPANESE}]))"),
    "",
    "Москва столица と naïve café の 店",
)
COMPOSE_KANA = Substitution(
    "A kana and its voicing mark, combining or not, are one character if there is one.",
    "\u3099\u309a゛゜",
    re.compile(f"(?:{_MARKED_KANA}){_UNSELECTED}"),
    _COMPOSED_KANA,
    "か\u3099くせい",
)
SHORTEN_VOWELS = Substitution(
    "A run of `ー` is one.",
    "ー",
    re.compile(f"ーー+{_UNSELECTED}"),
    "ー",
    "すごーーい",
)
SHORTEN_RULERS = Substitution(
    "A run of more than two `―` is two.",
    "―",
    re.compile(f"―――+{_UNSELECTED}"),
    "――",
    "序――――――章",
)

SUBSTITUTIONS = (
    DROP_INVISIBLE,
    UNIFY_SPACES,
    REPLACE_SPACE_SYMBOL,
    STRIP,
    SPLIT_AT_WIDE_PUNCTUATION,
    LENGTHEN,
    REPLACE_CHARACTERS,
    DROP_SPACES,
    COMPOSE_KANA,
    SHORTEN_VOWELS,
    SHORTEN_RULERS,
)
"""All that `clean` changes, in order. No substitution touches a character that a variation selector follows."""
