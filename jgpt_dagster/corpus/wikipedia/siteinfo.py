"""The `<siteinfo>` header of a dump: what it says about its wiki before the first page.

The dump reader fills it in and wikitext cleaning needs it: namespace names are in the wiki's own language, so only they
tell `[[ファイル:…]]` from an article link.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SiteInfo:
    """The header of one dump.

    `dbname` is the database name of the wiki (`jawiki`), `base` the URL of its main page, `namespaces` the local
    name of each namespace by number; the name of the article namespace 0 is empty.
    """

    dbname: str
    base: str
    namespaces: Mapping[int, str]
