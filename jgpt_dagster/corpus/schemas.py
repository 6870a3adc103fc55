"""The columns of the corpora on disk. Rows are in source order."""

import pyarrow as pa

_PAGE = [("page_id", pa.int64()), ("revision_id", pa.int64()), ("title", pa.string())]
_DOCUMENT = [("document_id", pa.int64())]
# A document's cleaned lines.
_LINES = ("lines", pa.list_(pa.string()))
# The lines of a document, each a list of sentences; the words of a sentence are joined by one half-width space.
_SEGMENTED = ("lines", pa.list_(pa.list_(pa.string())))

# Where a document of a folder comes from, by the fields of its line of JSON; null where the line does not say it.
ORIGIN = ("url", "license", "date", "id")

ARTICLES = pa.schema([*_PAGE, _LINES])
DOCUMENTS = pa.schema([*_DOCUMENT, _LINES])
FOLDER_DOCUMENTS = pa.schema([*DOCUMENTS, *((name, pa.string()) for name in ORIGIN)])
ARTICLES_SEGMENTED = pa.schema([*_PAGE, _SEGMENTED])
DOCUMENTS_SEGMENTED = pa.schema([*_DOCUMENT, _SEGMENTED])
