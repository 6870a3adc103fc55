"""What a real parser makes of Markdown, as GitHub's renderers and Dagster's read it."""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

# GitHub's Markdown makes links of addresses in text, after escapes are gone. In code it never does.
_ADDRESS = re.compile(r"(https?://|ftp://|www\.)\S|[\w.+-]+@[\w-]+\.\w", re.IGNORECASE)

_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# Dagster shows pictures that are data; this parser would leave them as text.
_PARSER.validateLink = lambda url: True  # type: ignore[method-assign]


def tokens(markdown: str) -> Iterator[Token]:
    """Yield every token of a text, those inside of others included."""
    pending = _PARSER.parse(markdown)
    while pending:
        token = pending.pop(0)
        yield token
        pending = [*(token.children or []), *pending]


def literal_text(markdown: str) -> str:
    """Return the text that Markdown shows, without what is not text or code."""
    return "".join(token.content for token in tokens(markdown) if token.type in ("text", "code_inline", "fence"))


def active(markdown: str) -> list[str]:
    """Return what acts as a link, a picture or HTML, or would become a link."""
    found = []
    for token in tokens(markdown):
        if token.type in ("html_inline", "html_block"):
            found.append(token.content)
        found += [str(token.attrs[name]) for name in ("href", "src", "title") if name in token.attrs]
        if token.type == "text" and _ADDRESS.search(token.content):
            found.append(token.content)
    return found
