"""Articles: which pages of a dump become rows, and counts and rejections that account for every other page.

An article is a page in namespace 0 that is not a redirect and whose wikitext is present and within the size limit. The
package `wikitext` turns wikitext into lines.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from jgpt_dagster.corpus.rejected_rows import RejectedRows
from jgpt_dagster.corpus.wikipedia.leftover_markup import LEFTOVERS, count_leftovers
from jgpt_dagster.corpus.wikipedia.multistream import IndexMismatchError
from jgpt_dagster.corpus.wikipedia.page_xml import MAX_TEXT_BYTES, Page, parse_pages
from jgpt_dagster.storage.text_cells import TextCell

Lines = list[str] | TextCell
"""The lines of an article: as they were cleaned, or as an earlier dump has them."""
CleanFunction = Callable[[int, int, str, str], list[str]]
L = TypeVar("L", bound=Lines)
ArticleRow = tuple[int, int, str, L]

_REASON_LIMIT = 500
# MediaWiki's page_title has 255 bytes. A title stands wherever a page names itself, so a long one multiplies.
_TITLE_BYTES = 255


@dataclass
class PageCounts:
    """The pages of a dump or a part of it by outcome: `pages` is the sum of the other four."""

    pages: int = 0
    articles: int = 0
    redirects: int = 0
    other_namespaces: int = 0
    rejected: int = 0


@dataclass
class ArticleTotals:
    """Totals over the rows of a shard; `faults` are the lines with leftover markup (see `leftover_markup`).

    The page ids tell a later dump which shard to search for a page.
    """

    lines: int = 0
    characters: int = 0
    first_page_id: int | None = None
    last_page_id: int | None = None
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEFTOVERS, 0))

    def count(self, rows: Iterable[ArticleRow[L]]) -> Iterator[ArticleRow[L]]:
        """Yield the rows and add them to the totals."""
        for row in rows:
            page_id, *_, lines = row
            if isinstance(lines, TextCell):
                self.lines += lines.items
                self.characters += lines.characters
                body = [lines.joined[len(lines.first) + 1 :]]
            else:
                self.lines += len(lines)
                self.characters += sum(map(len, lines))
                body = lines[1:]
            self.first_page_id = min(self.first_page_id or page_id, page_id)
            self.last_page_id = max(self.last_page_id or page_id, page_id)
            for name, count in count_leftovers(body).items():  # a title is never faulty
                self.faults[name] += count
            yield row


def read_articles(
    chunks: Iterable[bytes],
    clean: Callable[[int, int, str, str], L],
    counts: PageCounts,
    rejected: RejectedRows,
    *,
    source: str = "dump",
    expected_pages: int | None = None,
    limit_bytes: int = MAX_TEXT_BYTES,
) -> Iterator[ArticleRow[L]]:
    """Yield (page id, revision id, title, lines) of each article in a part of a dump's XML, in dump order.

    `clean(page_id, revision_id, title, text)` returns the lines. A page for which it raises an exception, or that is
    malformed or too large, goes to `rejected` as {page_id, revision_id, title, reason}. `counts` is updated before each
    row is yielded. `source` names the part in errors; `expected_pages` is the number of pages that the index lists for
    it.

    Raises PageXmlError as `parse_pages` does, IndexMismatchError if the number of pages is not the expected one, and
    MemoryError and OSError of `clean`, which are about the machine and not about the page.
    """
    before = counts.pages
    for page in parse_pages(chunks, source, limit_bytes):
        counts.pages += 1
        if page.namespace not in (0, None):
            counts.other_namespaces += 1
        elif page.redirect:
            counts.redirects += 1
        else:
            row, reason = _row(page, clean, source, limit_bytes)
            if row is None:
                counts.rejected += 1
                rejected.append(
                    {
                        "page_id": page.page_id,
                        "revision_id": page.revision_id,
                        "title": page.title[:_TITLE_BYTES],
                        "reason": reason[:_REASON_LIMIT],
                    }
                )
            else:
                counts.articles += 1
                yield row
    found = counts.pages - before
    if expected_pages not in (None, found):
        raise IndexMismatchError(
            f"{source} holds {found:,} pages, but its index lists {expected_pages:,}. Index and dump must be of "
            "one date and whole."
        )


def _row(
    page: Page, clean: Callable[[int, int, str, str], L], source: str, limit_bytes: int
) -> tuple[ArticleRow[L] | None, str]:
    """Return the row of an article, or None and the reason."""
    if page.oversized:
        return None, f"its text has more than {limit_bytes:,} bytes"
    page_id, revision_id = page.page_id or 0, page.revision_id or 0
    if page.namespace is None or page_id < 1 or revision_id < 1 or not page.title:
        return None, "its title, namespace, page id or revision id is missing or malformed"
    if len(page.title.encode()) > _TITLE_BYTES:
        return None, f"its title has more than {_TITLE_BYTES} bytes"
    if page.model != "wikitext":
        return None, f"its content model is {page.model[:_TITLE_BYTES]}, not wikitext"
    if page.text is None:
        return None, "its text is deleted or missing"
    try:
        lines = clean(page_id, revision_id, page.title, page.text)
    except (MemoryError, OSError) as error:
        error.add_note(f"while cleaning page {page_id} '{page.title}' of {source}")
        raise
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return (page_id, revision_id, page.title, lines), ""
