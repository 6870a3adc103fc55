"""How text from outside is shown: literally, in each form of output.

Titles, lines, file names, names of models, answers of servers and whatever else a stranger may have written are data.
Each function here returns them in one form of output so that nothing in them can act as markup, end a line of a log,
steer a terminal or notify a chat. Dagster's tables (`assets/metadata.py`) are literal by themselves.
"""

import json
import re
from typing import Any

# Controls but for the tab and the line end, line separators, lone surrogates, and the controls of writing direction,
# with which text shows in another order than it has.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# Markdown that means no more than it says: words, and signs that are markup only doubled, at the beginning of a line or
# around a word. Characters beyond ASCII are never markup.
_PLAIN_MARKDOWN = re.compile(
    r"(?!\d+[.)](\s|$))(?!.*(//|www\.))[^\W_]([^\x00-\x7f]|[A-Za-z0-9 .,:%()+=/-]|(?<=[^\W_])_(?=[^\W_]))*",
    re.IGNORECASE,
)

_BACKTICKS = re.compile("`+")


def visible(text: str) -> str:
    r"""Return text with its control characters shown as escapes such as `\x1b`; tabs and line ends stay."""
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    r"""Return text on one line: as `visible`, with spaces for tabs and line ends."""
    return visible(" ".join(text.splitlines()).replace("\t", " "))


def markdown_text(text: str) -> str:
    """Return inline Markdown that shows text literally: as it is if nothing in it has a meaning, else as a code span.

    Backslashes would not do: renderers of GitHub's Markdown, Dagster's among them, make links of addresses after the
    escapes are gone, but never in code.
    """
    line = one_line(text)
    return line if _PLAIN_MARKDOWN.fullmatch(line) or not line.strip() else code_span(line)


def code_span(text: str) -> str:
    """Return text, which is not blank, as inline code of Markdown that nothing in it can close."""
    line = one_line(text)
    fence = "`" * (max(map(len, _BACKTICKS.findall(line)), default=0) + 1)
    space = " " if line[0] in " `" or line[-1] in " `" else ""
    return f"{fence}{space}{line}{space}{fence}"


def markdown_cell(text: str) -> str:
    r"""Return text as `markdown_text` does, for a cell of a table: parsers differ on `|` in code, so it is `\x7c`."""
    return markdown_text(text.replace("|", r"\x7c"))


def code_block(text: str, language: str = "") -> str:
    """Return a fenced block of Markdown that nothing in `text` can close."""
    fence = "`" * max(3, *(len(run) + 1 for run in _BACKTICKS.findall(text)), 0)
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def chat_block(text: str) -> str:
    """Return a block of code for chats, in which nothing is a link, a mention or formatted.

    Slack reads links and mentions between `<` and `>`, also in code; these are its escapes. It knows no longer fences,
    so that a backtick becomes an apostrophe. A space of no width after `@` keeps Mattermost from notifying a channel.
    """
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "```\n" + escaped.replace("`", "'").replace("@", "@\u200b") + "\n```"


def json_line(value: Any) -> str:
    """Return a value as JSON on one line, whatever a reader takes as the end of a line; other types become text."""
    line = json.dumps(value, ensure_ascii=False, default=str)
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)
