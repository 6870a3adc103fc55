"""What a dump says about its wiki before the first page: the `<siteinfo>` header.

The reader of dumps fills it in, the cleaning of wikitext needs it (the namespace names of a wiki are in its own
language, so `[[ファイル:…]]` can only be told from an article link with their help). Nothing else belongs here.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SiteInfo:
    """The header of one dump.

    `dbname` is the wiki's database name (`jawiki`), `base` the URL of its main page, `namespaces` the local name of
    every namespace by its number; the article namespace 0 has the empty name.
    """

    dbname: str
    base: str
    namespaces: Mapping[int, str]
