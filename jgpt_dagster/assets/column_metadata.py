"""The columns of the corpora, as the UI lists them on an asset's page."""

import dagster as dg
import pyarrow as pa

_DESCRIPTIONS = {
    "page_id": "Number of the page, the same in every dump.",
    "revision_id": "Number of the text's revision; a page that is not edited keeps it.",
    "title": "Title of the page.",
    "document_id": "Position of the document in the archive, from 0.",
    "url": "Where the document comes from, as its line of JSON says; null if it does not.",
    "license": "The terms of the document, as its line of JSON says.",
    "date": "The date of the document, as its line of JSON says.",
    "id": "The name of the document at its source, as its line of JSON says.",
}
_LINES = {
    pa.list_(pa.string()): "Lines of the cleaned text; a Wikipedia article begins with its title.",
    pa.list_(pa.list_(pa.string())): "Lines, each a list of sentences; words are joined by one half-width space.",
}


def column_metadata(schema: pa.Schema) -> dict[str, dg.TableSchema]:
    """Return a corpus schema as definition metadata of its asset."""
    columns = [
        dg.TableColumn(
            field.name, str(field.type).replace("item: ", ""), _DESCRIPTIONS.get(field.name) or _LINES[field.type]
        )
        for field in schema
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}
