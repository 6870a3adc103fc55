"""Cleaned lines of an article, in the two text profiles.

`seed` gives what the published recipe's shell lines print for an article. `clean` gives the running text that a reader
sees: the text of inline templates and lists stays, headings and reference sections go, and no markup is left.
"""

import re
from collections.abc import Callable
from functools import partial
from types import MappingProxyType

from jgpt_dagster.corpus.left_out.account import Account
from jgpt_dagster.corpus.left_out.figures import Figures
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext.apostrophes import with_literal_apostrophes
from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import BoundedExtractor, TemplateLibrary, escape_xml
from jgpt_dagster.corpus.wikitext.dropped_elements import without_marks
from jgpt_dagster.corpus.wikitext.extraction_limits import MAX_PAGE, WikitextError, check_limit
from jgpt_dagster.corpus.wikitext.html_markup import decode_entities, without_html_tags
from jgpt_dagster.corpus.wikitext.invisible_characters import normalize_characters
from jgpt_dagster.corpus.wikitext.line_cleanup import LEFTOVER_MARKUP, tidy_lines
from jgpt_dagster.corpus.wikitext.paragraphs import joined_paragraphs, without_soft_breaks
from jgpt_dagster.corpus.wikitext.placeholders import DROPPED_INLINE, ESCAPED_STOP, PAGE_TITLE, escape_literal
from jgpt_dagster.corpus.wikitext.sections import category_pattern, end_sections_at_categories, running_text_lines
from jgpt_dagster.corpus.wikitext.template_rules import TemplateRules
from jgpt_dagster.corpus.wikitext.template_store import no_templates
from jgpt_dagster.corpus.wikitext.wikitext_parser import hidden_namespaces, visible_text

__all__ = ["WikitextError", "article_cleaner"]

ArticleCleaner = Callable[[int, int, str, str], list[str]]


def article_cleaner(
    profile: TextProfile,
    site: SiteInfo,
    library: TemplateLibrary | None = None,
    rules: TemplateRules = MappingProxyType({}),
    report: Callable[[int, Figures], object] = lambda page_id, figures: None,
) -> ArticleCleaner:
    """Return a pure function (page id, revision id, title, wikitext) -> cleaned lines: the title first, none empty.

    `library` holds the dump's templates, which `seed` expands; `clean` renders templates by `rules` and its own, and
    needs none. Under `clean`, the figures of what is left out of a page go to `report`, with its page id. Title and
    wikitext are as an XML parser returns them. The function raises WikitextError, with the reason, if a page exceeds
    fixed limits of nesting and work. It expects at most 2 MiB of wikitext (MediaWiki's $wgMaxArticleSize) and takes
    some seconds at worst.
    """
    if profile == "seed":
        return partial(_seed_lines, library or no_templates(site))
    hidden = hidden_namespaces([site.namespaces[number] for number in (6, 14) if number in site.namespaces])
    category = category_pattern(site)

    def clean(page_id: int, revision_id: int, title: str, wikitext: str) -> list[str]:
        account = Account()
        lines = _clean_lines(title, end_sections_at_categories(wikitext, category), hidden, rules, account)
        account.keep(lines[1:])
        report(page_id, account.figures())
        return lines

    return clean


_SURROGATE = re.compile("[\ud800-\udfff]")


def _seed_lines(library: TemplateLibrary, page_id: int, revision_id: int, title: str, wikitext: str) -> list[str]:
    """Return what wikiextractor 3.1's command line, `sed 's/<[^>]*>//g'` and `sed '/^$/d'` print for a page.

    The command line does not parse the XML: it reads the escaped text of a page and prints the escaped title, so both
    are escaped here. Its text output is HTML-safe and has no `<`, so the first sed only removes the `<doc>` tags, which
    are not written here.
    """
    title = escape_xml(title)
    namespace = library.prefix.removesuffix(":")
    if title.startswith(namespace):
        raise WikitextError(f"the recipe treats a page whose title starts with '{namespace}' as a template")
    lines = BoundedExtractor(page_id, revision_id, title, library).clean_text(escape_xml(wikitext))
    lines = [line for line in (title, *lines) if line]
    if _SURROGATE.search("\n".join(lines)):
        raise WikitextError("a character reference to a lone surrogate, which UTF-8 cannot encode")
    return lines


def _clean_lines(
    title: str, wikitext: str, hidden: frozenset[str], rules: TemplateRules, account: Account
) -> list[str]:
    text = visible_text(_with_literal_calls(normalize_characters(wikitext)), hidden, rules, account)
    text = with_literal_apostrophes(text)
    if "。" in title:
        text = text.replace(title, title.replace("。", ESCAPED_STOP))
    text = joined_paragraphs(running_text_lines(_BEHAVIOR_SWITCH.sub("", text), account), account)
    text = decode_entities(without_html_tags(LEFTOVER_MARKUP.sub("", text)))
    text = without_soft_breaks(without_marks(_EXTERNAL_LINK.sub(lambda link: link[1] or DROPPED_INLINE, text)))
    titles = text.count(PAGE_TITLE)
    check_limit(len(text) + titles * len(title), MAX_PAGE, "characters with the title at its places")
    account.show(title * titles)
    return [title, *tidy_lines(text.replace(PAGE_TITLE, escape_literal(title)), account)]


_EMPTY_CALL = re.compile(r"\((?<=[A-Za-z0-9_]\()\)")


def _with_literal_calls(wikitext: str) -> str:
    """Return `wikitext` with the brackets of calls such as `main()` escaped: no dropped markup emptied them."""
    return _EMPTY_CALL.sub(escape_literal("()"), wikitext)


_BEHAVIOR_SWITCH = re.compile(r"__(?:[A-Z]{3,30}|[ぁ-んァ-ヶー一-龠]{2,20})__")

_PROTOCOL = (
    "(?:(?:https?|ftps?|sftp|git|gopher|ircs?|mms|nntp|ssh|svn|telnet|worldwind):)?//|(?:mailto|news|tel|urn|geo):"
)
# A label contains no other link, so each part of a line is read once.
_EXTERNAL_LINK = re.compile(
    rf"\[(?:{_PROTOCOL})[^\[\]<>\"\s]++[^\S\n]*+((?:[^\[\]\n]++|\[(?!{_PROTOCOL}))*+)\]", re.IGNORECASE
)
