"""Write a mirror of the size of jawiki and CC-100, in two editions, to rehearse a whole run on.

    python benchmarks/rehearsal --data DIR MIRROR                       # whole: 5 GB of bz2 a date, CC-100 at a tenth
    python benchmarks/rehearsal --articles 14000 --documents 66000 MIRROR   # a hundredth, of the embedded sample

The same arguments give the same bytes. What the figures rest on is in `made_up_text.py`, `made_up_wiki.py` and
`made_up_archive.py`; how to run the rehearsal is in benchmarks/README.md.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

from made_up_archive import archive_stream, archive_streams  # noqa: E402
from made_up_wiki import wiki_stream, wiki_streams  # noqa: E402
from text import sample  # noqa: E402

from jgpt_dagster.runtime.worker_pool import map_in_worker_pool  # noqa: E402
from jgpt_dagster.sample.dump_writer import write_dump_streams  # noqa: E402
from jgpt_dagster.storage.atomic_write import atomic_file  # noqa: E402

WIKI = "jawiki"
DATES = ("20260101", "20260120")


def write_mirror(mirror: Path, source: Path, articles: int, documents: int, workers: int, dates: Sequence[str]) -> None:
    """Write editions of the wiki and the archive below `mirror`, as a mirror has them."""
    with map_in_worker_pool(workers) as mapped:
        for date in dates:
            edition = DATES.index(date) + 1
            streams = mapped(partial(wiki_stream, source, edition), wiki_streams(articles, edition))
            write_dump_streams(mirror, WIKI, date, (stream for _, stream in streams))
            print(f"{WIKI} {date} is written", flush=True)
        with atomic_file(mirror / "cc-100" / "ja.txt.xz") as out:
            for _, stream in mapped(partial(archive_stream, source), archive_streams(documents)):
                out.write(stream)
        print("cc-100 is written", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a mirror of the size of jawiki and a tenth of CC-100.")
    parser.add_argument("mirror", type=Path)
    parser.add_argument("--data", type=Path, help="folder of a real excerpt (default: the embedded sample)")
    parser.add_argument("--articles", type=int, default=1_400_000, help="of the first date")
    parser.add_argument("--documents", type=int, default=6_600_000, help="of CC-100")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--date", dest="dates", action="append", choices=DATES, help="to write (default: both)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages, text = sample(Path(folder), options.data)
        source = Path(folder) / "source.json"
        wikitext = [page.text for page in pages if page.ns == 0]
        source.write_text(json.dumps({"wikitext": wikitext, "paragraphs": text.decode().split("\n")}))
        write_mirror(
            options.mirror, source, options.articles, options.documents, options.workers, options.dates or DATES
        )


if __name__ == "__main__":
    main()
