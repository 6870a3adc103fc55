"""Normalisation of one line of text, the step before sentence splitting.

Profile `seed` is the published recipe to the letter: neologdn after `str.rstrip`. Profile `clean` does what neologdn
does on purpose (half-width Latin, full-width kana, no space next to Japanese, one ー for many) and none of its faults:
`substitutions` lists all that it changes. Pure functions over one line.
"""

import re
from collections.abc import Callable

from jgpt_dagster.corpus.text.substitutions import (
    DROP_SPACES,
    SHORTEN_VOWELS,
    SPACES,
    SUBSTITUTIONS,
    UNIFY_SPACES,
)
from jgpt_dagster.corpus.text_profile import TextProfile

_SURROGATES = "\ud800-\udfff"
_SURROGATE = re.compile(f"[{_SURROGATES}]")

# Characters that neologdn 0.5.6 changes in any context, found by trying every code point (a test repeats that). It
# decodes its buffer as UTF-32, hence the byte order mark.
_ALWAYS_CHANGED = "~¥˗֊‐-–—―‘’“”⁃⁻₋−∼∾─━\u3000〜〰゛゜﹣\ufeff！＃-＆（-［］-＿ａ-～｡-ﾝ\uff9e\uff9f"
# The replacements of the commonest ones, which do not depend on context. Round brackets, the commonest of all, are
# replaced separately: most lines then need nothing else.
_REPLACEMENTS = {
    **dict(zip("：！？＝％／＆＋“”’—―\u3000", ':!?=%/&+""\'ーー ', strict=True)),
    **dict.fromkeys("~〜～", ""),
}
# The pattern begins with a character set, which makes a search three times as fast.
_CHANGES = re.compile(f"[{_ALWAYS_CHANGED} ー](?:(?<=[{_ALWAYS_CHANGED}])|(?<=ーー)|(?<= ー)|(?<=ー ))").search
_LONG_VOWELS = re.compile("ーー+")
# A run of spaces becomes one, which stays only between an ASCII character other than * and one outside the Japanese
# blocks. (ー next to a space is left to neologdn.)
_SPACE_RUN = re.compile("  +")
_SPACE_TO_DROP = re.compile(r" (?:(?<![\x00-\x1f!-)+-\x7f] )|(?=[\u3001-\u30ff\u4e00-\u9fff\uff00-\uffef]|\Z))")


def _neologdn() -> Callable[[str], str]:
    """Return neologdn, called only for lines that need it: the same result many times as fast on real text."""
    import neologdn

    def without_stray_spaces(line: str) -> str:
        if " " not in line:
            return line
        return _SPACE_TO_DROP.sub("", _SPACE_RUN.sub(" ", line) if "  " in line else line)

    def normalize(line: str) -> str:
        line = line.replace("（", "(").replace("）", ")")
        if not _CHANGES(line):
            return without_stray_spaces(line)
        for character, replacement in _REPLACEMENTS.items():
            line = line.replace(character, replacement)
        line = _LONG_VOWELS.sub("ー", line)
        return str(neologdn.normalize(line)) if _CHANGES(line) else without_stray_spaces(line)

    return normalize


def normalized_characters(profile: TextProfile) -> str:
    """Return the inside of a regex character set: `normalizer` does not change a line without these and ーー."""
    if profile == "seed":
        return rf"{_ALWAYS_CHANGED}{SPACES}{_SURROGATES}"
    return "".join(substitution.trigger for substitution in SUBSTITUTIONS if substitution is not SHORTEN_VOWELS)


def normalizer(profile: TextProfile) -> Callable[[str], str]:
    """Return the function that normalises one line under `profile`. A line with an empty result is to be dropped.

    Lone surrogates are removed in both profiles: neither UTF-8 nor the recipe can represent them. After `clean` the
    only character for which `str.isspace` is true is the half-width space, never twice in succession nor at an end.
    """
    return _normalize_clean if profile == "clean" else _seed_normalizer()


def _seed_normalizer() -> Callable[[str], str]:
    normalize = _neologdn()

    def normalize_seed(line: str) -> str:
        line = line.rstrip()
        return normalize(line if line.isprintable() else _SURROGATE.sub("", line))

    return normalize_seed


# All but what most lines have: spaces and round brackets.
_COMMON = re.compile("[ （）]")
_HAS_RARE = re.compile(f"[{_COMMON.sub('', normalized_characters('clean'))}]").search


def _normalize_clean(line: str) -> str:
    """Apply SUBSTITUTIONS, most of which cannot change most lines."""
    if _HAS_RARE(line) or "ーー" in line:
        for substitution in SUBSTITUTIONS:
            line = substitution.apply(line)
        return line
    line = line.replace("（", "(").replace("）", ")")
    if " " not in line:
        return line
    line = DROP_SPACES.apply((UNIFY_SPACES.apply(line) if "  " in line else line).strip(" "))
    return SHORTEN_VOWELS.apply(line) if "ーー" in line else line
