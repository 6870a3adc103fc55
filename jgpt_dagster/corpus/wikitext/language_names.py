"""Language codes and the Japanese names that `{{lang-xx}}` and `{{lang-xx-short}}` print.

The names are those of the CLDR, as Babel has them, except where the Japanese Wikipedia uses another.
"""

from collections.abc import Mapping
from functools import cache, lru_cache

_OWN_NAMES = {"el": "ギリシア語", "eo": "エスペラント", "grc": "古代ギリシア語", "ko": "朝鮮語", "nb": "ブークモール"}
_NO_LANGUAGES = frozenset(["und", "zxx", "mul", "mis"])
_SHORT_NAMES = {
    "de": "独",
    "el": "希",
    "en": "英",
    "es": "西",
    "fr": "仏",
    "grc": "古希",
    "it": "伊",
    "ja": "日",
    "ko": "朝",
    "la": "羅",
    "nl": "蘭",
    "pt": "葡",
    "ru": "露",
    "sa": "梵",
    "zh": "中",
}


@cache
def _names() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the names of the CLDR by code, and today's codes by deprecated ones."""
    from babel import Locale  # here, since most processes need no name
    from babel.core import get_global

    return Locale("ja").languages, get_global("language_aliases")


@lru_cache(maxsize=4096)
def language_name(code: str) -> str:
    """Return the Japanese name of the language with this code (`fr`, `pt-br`, `zh-Hant`), "" if it is no known one.

    A variant without a name of its own has that of its language.
    """
    names, aliases = _names()
    language, *subtags = code.strip().lower().replace("_", "-").split("-")
    # Scripts have four letters and are capitalized, regions two and are in capitals.
    subtags = [subtag.title() if len(subtag) == 4 else subtag.upper() for subtag in subtags]
    while True:
        tag = "_".join([language, *subtags])
        if tag in _NO_LANGUAGES:
            return ""
        if name := _OWN_NAMES.get(tag) or names.get(tag) or names.get(aliases.get(tag, "")):
            return name
        if not subtags:
            return ""
        subtags.pop()


def short_language_name(code: str) -> str:
    """Return the abbreviation of a language's name, the name itself if it has none."""
    return _SHORT_NAMES.get(code) or language_name(code)
