"""What a model card says of each corpus: its source, and the licence or terms of its text.

Wikimedia wikis require attribution, for which a link to the pages with their histories is enough.
"""

import re

from jgpt_dagster.catalog.corpora import Archive, Corpus, Folder, WikiDumps
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.literal_text import markdown_text

_CC_BY_SA = "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)"
_CC_BY = "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)"
_WIKI_NAME = re.compile(
    r"(?P<language>[a-z]{2,3}(_[a-z_]+)?|simple)(?P<project>wiki(books|news|quote|source|versity|voyage)?|wiktionary)"
)


def attribution(catalog: OutputCatalog, corpus: Corpus, dump: str) -> str:
    """Return the source and the terms of a corpus as one line of Markdown. `dump` counts for a dated corpus alone.

    Raises ArtifactError if the output that identifies an undated source is missing or damaged.
    """
    match corpus.source:
        case WikiDumps(wiki):
            return wiki_attribution(wiki, dump)
        case Archive() as archive:
            download = catalog.source(corpus, dump)
            assert download is not None  # noqa: S101  # an archive has a download
            (entry,) = download.verified().files.values()
            return archive_attribution(archive, entry.sha256)
        case Folder():
            documents = catalog.shard(corpus, corpus.text_asset, None, catalog.shards[0]).verified()
            digest = markdown_text(documents.recipe.inputs["files"])
            return (
                f"{documents.counts['archive_documents']:,} documents of sha256 {digest}; licence of the text: see its "
                "source"
            )


def wiki_attribution(wiki: str, dump: str) -> str:
    """Return the attribution of a wiki, by its database name and the date of the dump."""
    source, match = f"{markdown_text(wiki)}, dump of {markdown_text(dump)}", _WIKI_NAME.fullmatch(wiki)
    if match is None:
        return f"{source}; licence of the text: see that wiki"
    project = "wikipedia" if match["project"] == "wiki" else match["project"]
    site = f"https://{match['language'].replace('_', '-')}.{project}.org/"
    # Wikinews is the only project without share-alike.
    licence = _CC_BY if project == "wikinews" else _CC_BY_SA
    return f"{source}, by the authors that {site} names in the history of each page; licence of the text: {licence}"


def archive_attribution(archive: Archive, sha256: str) -> str:
    """Return the attribution of an archive with this hash."""
    file_name, digest = markdown_text(archive.file_name), markdown_text(sha256)
    source = f"[{archive.title}]({archive.homepage}), {file_name}, sha256 {digest}"
    return f"{source}; use of the text: {archive.terms}"
