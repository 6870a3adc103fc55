"""What a model card says of each corpus: its source, and the licence or terms of its text.

Wikimedia wikis require attribution, for which a link to the pages with their histories is enough. What a folder holds
is described by its `corpus.yaml`.
"""

import re
from collections.abc import Iterable, Mapping

from jgpt_dagster.catalog.corpora import Archive, Corpus, Folder, WikiDumps
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.corpus.web.corpus_description import CorpusDescription
from jgpt_dagster.literal_text import markdown_text
from jgpt_dagster.lm.release.licences import NOT_STATED

_LICENCE_TEXTS = {
    "cc-by-sa-4.0": "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)",
    "cc-by-4.0": "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)",
}
_WIKI_NAME = re.compile(
    r"(?P<language>[a-z]{2,3}(_[a-z_]+)?|simple)(?P<project>wiki(books|news|quote|source|versity|voyage)?|wiktionary)"
)


def attribution(
    catalog: OutputCatalog, corpus: Corpus, dump: str, descriptions: Mapping[str, CorpusDescription]
) -> str:
    """Return the source and the terms of a corpus as one line of Markdown. `dump` counts for a dated corpus alone.

    `descriptions` are those of folders, by the name of the corpus.

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
            return folder_attribution(
                documents.counts["archive_documents"], documents.recipe.inputs["files"], descriptions.get(corpus.name)
            )


def licences(corpora: Iterable[Corpus], descriptions: Mapping[str, CorpusDescription]) -> set[str]:
    """Return the licences of the text of corpora, NOT_STATED among them if that of one is not known.

    The terms under which an archive of the web may be used give no licence, and ask for none.
    """
    found = set[str]()
    for corpus in corpora:
        match corpus.source:
            case WikiDumps(wiki):
                found.add(wiki_licence(wiki) or NOT_STATED)
            case Folder():
                description = descriptions.get(corpus.name)
                found.add(description.licence if description else NOT_STATED)
    return found


def wiki_attribution(wiki: str, dump: str) -> str:
    """Return the attribution of a wiki, by its database name and the date of the dump."""
    source, site = f"{markdown_text(wiki)}, dump of {markdown_text(dump)}", wiki_site(wiki)
    if not site:
        return f"{source}; licence of the text: see that wiki"
    licence = _LICENCE_TEXTS[wiki_licence(wiki)]
    return f"{source}, by the authors that {site} names in the history of each page; licence of the text: {licence}"


def wiki_site(wiki: str) -> str:
    """Return the address of a Wikimedia wiki; empty for any other."""
    match = _WIKI_NAME.fullmatch(wiki)
    if match is None:
        return ""
    project = "wikipedia" if match["project"] == "wiki" else match["project"]
    return f"https://{match['language'].replace('_', '-')}.{project}.org/"


def wiki_licence(wiki: str) -> str:
    """Return the licence of the text of a Wikimedia wiki; empty for any other."""
    match = _WIKI_NAME.fullmatch(wiki)
    # Wikinews is the only project without share-alike.
    return "" if match is None else "cc-by-4.0" if match["project"] == "wikinews" else "cc-by-sa-4.0"


def folder_attribution(documents: int, sha256: str, description: CorpusDescription | None) -> str:
    """Return the attribution of a folder of so many documents with this hash of its files."""
    content = f"{documents:,} documents of sha256 {markdown_text(sha256)}"
    if description is None:
        return f"{content}; licence of the text: see its source"
    name, source, licence = map(markdown_text, (description.name, description.source, description.licence))
    return f"{name}, from {source}: {content}; licence of the text: {licence}"


def archive_attribution(archive: Archive, sha256: str) -> str:
    """Return the attribution of an archive with this hash."""
    file_name, digest = markdown_text(archive.file_name), markdown_text(sha256)
    source = f"[{archive.title}]({archive.homepage}), {file_name}, sha256 {digest}"
    return f"{source}; use of the text: {archive.terms}"
