"""The table of patches that wikiextractor gets, and the patched module.

The patches go into a private instance of the module `wikiextractor.extract`, so other users of the library in the same
process are not affected. They depend on the internals of one release: importing this module raises
`WikiextractorVersionError` if another release is installed.
"""

import importlib.metadata
import importlib.util
import logging
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, NamedTuple

from jgpt_dagster.corpus.wikitext import wikiextractor_fast_paths as fast_paths
from jgpt_dagster.corpus.wikitext.extraction_limits import (
    ARGUMENT_COST,
    check_external_links,
    check_highlight,
    check_links,
    check_parser_function,
    check_placeholder,
    check_scanned,
    check_tags,
)
from jgpt_dagster.errors import JgptError
from jgpt_dagster.runtime.sized_cache import cached_by_size

WIKIEXTRACTOR_VERSION = "3.1.0"

RECIPE_DAY = time.struct_time((2022, 7, 1, 0, 0, 0, 4, 182, 0))
"""What {{CURRENTYEAR}} and similar variables read: the day of the dump that the published recipe used. The output of a
page depends neither on the day of the run nor on the dump; an unchanged page can be reused for the next dump."""


class WikiextractorVersionError(JgptError):
    """The installed wikiextractor is not the release that the patches are written for."""


# Characters of the templates whose parsed form is kept, which takes up to 100 bytes for each. A thousand templates,
# which account for most calls, have some 3 million.
_CACHED_TEMPLATES = 4 << 20

# Shared by the patches, so that each text in which tags are searched is checked once.
_TAGS = fast_paths.TagNames(check_tags)


class _BoundedPattern:
    """A compiled pattern that checks the text before it searches it."""

    def __init__(self, pattern: Any, check: Callable[[str], object]) -> None:
        self._pattern, self._check = pattern, check

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        self._check(text)
        matches: Iterator[re.Match[str]] = self._pattern.finditer(text)
        return matches

    def sub(self, replacement: str, text: str) -> str:
        self._check(text)
        result: str = self._pattern.sub(replacement, text)
        return result


def _quiet_logger(*_: Any) -> logging.Logger:
    logger = logging.getLogger(f"{__name__}.wikiextractor")
    logger.setLevel(logging.WARNING)
    return logger


def _fixed_clock(*_: Any) -> SimpleNamespace:
    return SimpleNamespace(strftime=lambda form: time.strftime(form, RECIPE_DAY))


def _cached_parse(_: Any, module: Any) -> Any:
    return staticmethod(cached_by_size(module.Template.parse, _CACHED_TEMPLATES, lambda text, _: len(text) + 100))


def _re_with_fast_sub(_: Any, module: Any) -> SimpleNamespace:
    replaced = {"sub": fast_paths.fast_sub(module.discardElements, _TAGS), "match": fast_paths.fast_match}
    return SimpleNamespace(**vars(re) | replaced)


# How the library writes an atomic group, which Python has since 3.11, for the attributes of a tag; and the group.
_EMULATED_ATTRIBUTES = r"""(?:(?=("[^"]*"|'[^']*'|[^>]))\1)*"""
_ATTRIBUTES = r"""(?>"[^"]*"|'[^']*'|[^>])*"""
# What follows the attributes of nobr is `>` or nothing, so none of them is tried again.
_NOBR = re.compile(rf"<\s*+nobr\b{_ATTRIBUTES}+>", re.IGNORECASE)


def _atomic_self_closing_tags(patterns: Any, module: Any) -> list[re.Pattern[str]]:
    return [
        _NOBR if name == "nobr" else re.compile(_with_atomic_group(pattern.pattern), pattern.flags)
        for pattern, name in zip(patterns, module.selfClosingTags, strict=True)
    ]


@lru_cache
def _with_atomic_group(pattern: str) -> str:
    return pattern.replace(_EMULATED_ATTRIBUTES, _ATTRIBUTES)


def _guarded(sign: str, pattern: re.Pattern[str], _: Any) -> fast_paths.GuardedPattern:
    return fast_paths.GuardedPattern(pattern, sign)


def _guarded_self_closing_tags(patterns: Any, module: Any) -> list[fast_paths.TagPattern]:
    return [
        fast_paths.TagPattern(pattern, [name], _TAGS)
        for pattern, name in zip(patterns, module.selfClosingTags, strict=True)
    ]


def _guarded_placeholder_tags(patterns: Any, module: Any) -> list[tuple[fast_paths.TagPattern, str]]:
    return [
        (fast_paths.TagPattern(pattern, [name], _TAGS), word)
        for (pattern, word), name in zip(patterns, module.placeholder_tags, strict=True)
    ]


def _bounded_placeholder_tags(patterns: Any, module: Any) -> list[tuple[_BoundedPattern, str]]:
    return [
        (_BoundedPattern(pattern, partial(check_placeholder, name=name)), word)
        for (pattern, word), name in zip(patterns, module.placeholder_tags, strict=True)
    ]


def _bounded_external_link(pattern: Any, module: Any) -> _BoundedPattern:
    protocols = "|".join(module.wgUrlProtocols)
    opening = re.compile(
        rf"(?i)\[{fast_paths.protocol_ahead(module.wgUrlProtocols)}(?:{protocols}){module.EXT_LINK_URL_CLASS}++\s*+"
    )
    return _BoundedPattern(pattern, partial(check_external_links, opening_pattern=opening))


def _bounded_collapse(original: Any, _: Any) -> Callable[[str], str]:
    def collapse_doubled_link_brackets(text: str) -> str:
        check_links(text)
        return str(original(text))

    return collapse_doubled_link_brackets


@lru_cache
def _tag_name(pattern: str) -> str:
    """Return the name in a pattern of the library for an opening tag, "" for one of other brackets."""
    match = re.match(r"<\\s\*(\w+)", pattern)
    return match[1] if match else ""


def _checked_drop_nested(original: Any, _: Any) -> Callable[[str, str, str], str]:
    def drop_nested(text: str, opening: str, closing: str) -> str:
        name = _tag_name(opening)
        present = _TAGS.among(text, [name]) if name else opening.replace("\\", "") in text
        return str(original(text, _with_atomic_group(opening), closing)) if present else text

    return drop_nested


def _bounded_parser_function(original: Any, _: Any) -> Callable[..., str]:
    def call_parser_function(name: str, args: list[str], frame: Any, **page: Any) -> str:
        check_parser_function(name, args)  # outside of the call, which swallows every exception
        result: str = original(name, args, frame, **page)
        return result

    return call_parser_function


def _counted_argument(original: Any, _: Any) -> Callable[..., str]:
    def substitute_argument(self: Any, params: dict[str, str], extractor: Any, depth: int) -> str:
        value: str = original(self, params, extractor, depth)
        extractor.count_substituted(len(value) + ARGUMENT_COST)
        return value

    return substitute_argument


class Patch(NamedTuple):
    """`replacement(original, module)` returns the new value of a dotted attribute of `wikiextractor.extract`."""

    attribute: str
    replacement: Callable[[Any, Any], Any]
    reason: str


_CHARACTERS_ABSENT = "most texts lack the characters that the pattern needs"
_TAGS_ABSENT = "most texts lack the tags that the pattern matches"

PATCHES = (
    # 1. The environment.
    Patch("logger", _quiet_logger, "debug lines hold whole articles; the library's own logger is left alone"),
    Patch("time", _fixed_clock, "the output must not depend on the day of the run"),
    Patch("Extractor._parse_template", _cached_parse, "the library keeps 10,000 parsed templates of any size"),
    Patch("TemplateArg._parse_template", _cached_parse, "the library keeps 10,000 parsed arguments of any size"),
    # 2. Fast paths: the same output in less time.
    Patch("unescape", lambda original, _: fast_paths.fast_unescape(original), "most entities are &lt;, &gt; or &quot;"),
    Patch(
        "findMatchingBraces",
        lambda original, _: fast_paths.fast_find_matching_braces(original),
        "most texts have no braces",
    ),
    Patch(
        "replaceInternalLinks",
        fast_paths.fast_replace_internal_links,
        "most links hold no other and can be replaced in one pass",
    ),
    Patch("compact", lambda *_: fast_paths.fast_compact, "the library's pattern of headings takes cubic time"),
    Patch(
        "re",
        _re_with_fast_sub,
        "most texts lack the tags and blanks that `re.sub` is to remove; exponential time for `re.match` in #iferror",
    ),
    Patch("ExtLinkBracketedRegex", fast_paths.fast_external_link, "a lookahead fails sooner than all protocols"),
    Patch("magicWordsRE", partial(_guarded, "__"), _CHARACTERS_ABSENT),
    Patch("bold_italic", partial(_guarded, "'''''"), _CHARACTERS_ABSENT),
    Patch("bold", partial(_guarded, "'''"), _CHARACTERS_ABSENT),
    Patch("italic_quote", partial(_guarded, "''\""), _CHARACTERS_ABSENT),
    Patch("italic", partial(_guarded, "''"), _CHARACTERS_ABSENT),
    Patch("quote_quote", partial(_guarded, '""'), _CHARACTERS_ABSENT),
    Patch("spaces", partial(_guarded, "  "), _CHARACTERS_ABSENT),
    Patch("dots", partial(_guarded, "...."), _CHARACTERS_ABSENT),
    Patch("selfClosing_tag_patterns", _atomic_self_closing_tags, "quadratic time for blanks in an unclosed nobr tag"),
    Patch("selfClosing_tag_patterns", _guarded_self_closing_tags, _TAGS_ABSENT),
    Patch("placeholder_tag_patterns", _guarded_placeholder_tags, _TAGS_ABSENT),
    Patch(
        "lineBreak_tag_pattern",
        lambda pattern, module: fast_paths.TagPattern(pattern, module.lineBreakTags, _TAGS),
        _TAGS_ABSENT,
    ),
    Patch(
        "block_separator_tag_pattern",
        lambda pattern, module: fast_paths.TagPattern(pattern, module.blockSeparatorTags, _TAGS),
        _TAGS_ABSENT,
    ),
    # 3. Linear time: the same output for any page without NUL characters, which XML cannot contain.
    Patch("_TEMPLATE_PARAM_RE", lambda *_: fast_paths.ARGUMENT_NAME, "cubic time for an argument of blanks"),
    Patch(
        "splitParts",
        lambda _, module: fast_paths.split_parts(lambda text: module.findMatchingBraces(text)),
        "quadratic time for an argument of many links or calls",
    ),
    Patch("_mask_nowiki", lambda *_: fast_paths.mask_nowiki, "quadratic time for unclosed nowiki tags"),
    Patch(
        "_unmask_nowiki",
        lambda original, _: fast_paths.fast_unmask_nowiki(original, partial(check_scanned, what="nowiki tags")),
        "quadratic time for many nowiki tags",
    ),
    # 4. Limits: a check of the cost before each step that takes more than linear time or memory.
    Patch("ExtLinkBracketedRegex", _bounded_external_link, "quadratic time for unclosed external links"),
    Patch(
        "syntaxhighlight",
        lambda pattern, _: _BoundedPattern(pattern, check_highlight),
        "cubic time for unclosed syntaxhighlight tags",
    ),
    Patch(
        "comment",
        lambda pattern, _: _BoundedPattern(pattern, lambda text: _TAGS.among(text, ())),
        "quadratic time for unclosed comments",
    ),
    Patch("placeholder_tag_patterns", _bounded_placeholder_tags, "quadratic time for math and code tags"),
    Patch("collapseDoubledLinkBrackets", _bounded_collapse, "quadratic time for runs of link brackets"),
    Patch("dropNested", _checked_drop_nested, "quadratic time for unclosed tags; most texts lack the tags"),
    Patch("callParserFunction", _bounded_parser_function, "#expr, padleft and #replace make results of any size"),
    Patch("TemplateArg.subst", _counted_argument, "the text that arguments add counts towards the page's limit"),
)
"""Applied from top to bottom. A later patch of the same attribute wraps the earlier one."""

# Read by the patches or by BoundedExtractor, and left as they are.
_ATTRIBUTES_READ = """
Template.parse discardElements selfClosingTags placeholder_tags lineBreakTags blockSeparatorTags wgUrlProtocols
EXT_LINK_URL_CLASS makeInternalLink ignoreTag ignoredTags resolve_template_page Extractor.clean_text
Extractor.expandTemplates Extractor.expandTemplate
"""


def check_version() -> None:
    """Raise WikiextractorVersionError if the installed wikiextractor is not WIKIEXTRACTOR_VERSION."""
    try:
        found = importlib.metadata.version("wikiextractor")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != WIKIEXTRACTOR_VERSION:
        raise WikiextractorVersionError(
            f"wikiextractor {WIKIEXTRACTOR_VERSION} is expected, found {found}. The patches of {PATCHES[0].attribute} "
            f"and {len(PATCHES) - 1} more of its attributes fit that release alone: "
            f"pip install wikiextractor=={WIKIEXTRACTOR_VERSION}"
        )


def unpatched_module() -> Any:
    """Return a private instance of `wikiextractor.extract`."""
    spec = importlib.util.find_spec("wikiextractor.extract")
    assert spec is not None and spec.loader is not None  # noqa: S101  # it is a dependency
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def apply_patches(module: Any) -> None:
    """Apply PATCHES to an instance of `wikiextractor.extract`.

    Raises WikiextractorVersionError if the module lacks an attribute that is patched or read; it is not changed then.
    """
    for attribute in [*(patch.attribute for patch in PATCHES), *_ATTRIBUTES_READ.split()]:
        try:
            attrgetter(attribute)(module)
        except AttributeError:
            raise WikiextractorVersionError(
                f"wikiextractor.extract has no attribute {attribute}, which wikiextractor {WIKIEXTRACTOR_VERSION} has; "
                f"found version {importlib.metadata.version('wikiextractor')}: "
                f"pip install --force-reinstall wikiextractor=={WIKIEXTRACTOR_VERSION}"
            ) from None
    for attribute, replacement, _ in PATCHES:
        owner, _, name = attribute.rpartition(".")
        original = attrgetter(attribute)(module)
        setattr(getattr(module, owner) if owner else module, name, replacement(original, module))


check_version()
patched_wikiextractor = unpatched_module()
apply_patches(patched_wikiextractor)

IGNORED_TAGS = [
    tuple(fast_paths.TagPattern(pattern, [name], _TAGS) for pattern in patched_wikiextractor.ignoreTag(name))
    for name in (*patched_wikiextractor.ignoredTags, "a")
]
"""Patterns of the tags whose content stays, as the library's command line takes them."""
