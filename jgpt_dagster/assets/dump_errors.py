"""Errors about the content of a dump whose bytes are those that its mirror announced."""

from collections.abc import Iterator
from contextlib import contextmanager

from jgpt_dagster.corpus.fetch.decompress import DamagedFileError
from jgpt_dagster.corpus.wikipedia.multistream import DumpFormatError, IndexMismatchError
from jgpt_dagster.corpus.wikipedia.page_xml import PageXmlError
from jgpt_dagster.errors import JgptError


@contextmanager
def published_fault(retry: str) -> Iterator[None]:
    """Add what can be done to an error about a dump's content; `retry` is the step once the mirror has a fixed copy."""
    try:
        yield
    except (DamagedFileError, DumpFormatError, IndexMismatchError, PageXmlError) as error:
        raise JgptError(
            f"{str(error).rstrip('.')}. The dump is as its mirror announced it, so the fault was published with it: "
            f"take another date; or, once the mirror has a fixed copy, {retry}."
        ) from error
