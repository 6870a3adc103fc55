"""Hooks of mkdocs: pages of the site that are documents outside `docs/`, and links between all of them.

Links in the documents are those of the repository, so that they work there too. On the site a link to a document leads
to its page; one to another file of the repository, which the site does not have, becomes plain text.
"""

import logging
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[1]

# Documents outside `docs/`, and the pages that they become.
_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
_SOURCES = {page: source for source, page in _PAGES.items()}

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")

_log = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that are outside of `docs/`."""
    for source, page in _PAGES.items():
        files.append(File.generated(config, page, content=(PROJECT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links of a document those of its page."""
    source = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return with_page_links(markdown, source)


def with_page_links(markdown: str, source: str) -> str:
    """Return the text of a document, whose path in the repository is `source`, with the links of its page.

    A link to a file that does not exist is left alone and logged as a warning, which fails a strict build.
    """

    def link(match: re.Match[str]) -> str:
        target, hash_sign, anchor = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = os.path.normpath(Path(source).parent / target)
        if not (PROJECT / path).exists():
            _log.warning("%s links to %s, which does not exist", source, target)
            return match[0]
        page = _PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if page is None:
            return f"{match['text']}"
        return f"{match['image']}[{match['text']}]({page}{hash_sign}{anchor})"

    return _LINK.sub(link, markdown)
