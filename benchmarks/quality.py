"""What each text profile leaves behind in a dump, and what the same articles read like under both.

    python benchmarks/quality.py DUMP.xml.bz2

prints, for `seed` and `clean`, how many of 1,000 lines show each fault (as `wikipedia_articles` counts them, and all
headings, which can be told where the wikitext is at hand), and ten passages side by side. Then it compares, for
`clean`, what is kept and what is counted as left out with the visible prose that an independent parser finds, lists the
pages that differ most, and exits with code 1 if all differences together are more than 0.05 % of it.
"""

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jgpt_dagster.corpus.fetch.decompress import bz2_chunks
from jgpt_dagster.corpus.left_out.figures import Figures
from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.corpus.text.sentence_splitter import split_sentences
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.leftover_markup import LEFTOVERS, count_leftovers, per_thousand
from jgpt_dagster.corpus.wikipedia.page_xml import parse_siteinfo
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.corpus.wikitext.template_store import collect_templates, open_templates

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests are not installed
from jgpt_dagster_tests.support.visible_prose import letters, visible_prose

GOAL = 0.0005
PROFILES: tuple[TextProfile, ...] = ("seed", "clean")
_HEADING = re.compile(r"^(={2,6})\s*([^=\n]+?)\s*\1\s*$", re.MULTILINE)
_MARKUP = re.compile(r"'{2,}|<[^<>]*>|\[\[(?:[^|\]]*\|)?|\]\]")


@dataclass
class Totals:
    """What the articles of one profile hold."""

    lines: int = 0
    characters: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, lines: list[str], wikitext: str) -> None:
        names = {_MARKUP.sub("", heading[2]).strip() for heading in _HEADING.finditer(wikitext)}
        self.lines += len(lines)
        self.characters += sum(map(len, lines))
        self.faults += count_leftovers(lines)
        self.faults["all headings"] += sum(line in {f"{name}." for name in names} for line in lines)


def articles(dump: Path, profile: TextProfile, account: list[Figures]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield title, wikitext and cleaned lines, without the title, of each article of a dump.

    Under `clean`, the last entry of `account` is what was left out of it.
    """
    site = parse_siteinfo(bz2_chunks(dump), str(dump))
    texts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        library = None
        if profile == "seed":
            collect_templates(bz2_chunks(dump), site, Path(folder))
            library = open_templates(Path(folder), site)
        clean = article_cleaner(profile, site, library, report=lambda _, figures: account.append(figures))

        def remembering(page_id: int, revision_id: int, title: str, text: str) -> list[str]:
            texts[:] = [text]
            return clean(page_id, revision_id, title, text)

        for _, _, title, lines in read_articles(bz2_chunks(dump), remembering, PageCounts(), []):
            yield title, texts[0], lines[1:]


def first_prose(lines: list[str], profile: TextProfile) -> str:
    """Return the first sentence of an article that is long enough to tell something."""
    normalize = normalizer(profile)
    sentences = (sentence for line in lines for sentence in split_sentences(normalize(line)))
    return next((sentence for sentence in sentences if len(sentence) > 40), "")


@dataclass
class Balance:
    """Letters and digits of an article: what is kept or counted, and what the independent parser sees."""

    title: str
    found: int
    visible: int

    @property
    def difference(self) -> int:
        return self.found - self.visible


def print_balance(balances: list[Balance]) -> bool:
    """Print how far kept and counted characters are from the visible ones; return whether the goal is met."""
    visible = sum(balance.visible for balance in balances)
    total = abs(sum(balance.difference for balance in balances))
    apart = sum(abs(balance.difference) for balance in balances)
    print(f"\n{len(balances):,} articles: {visible:,} visible letters and digits by mwparserfromhell")
    print(f"kept and counted: {total / visible:.3%} apart in all, {apart / visible:.3%} summed over the pages")
    print("\n| article | visible | difference |\n|---|---:|---:|")
    for balance in sorted(balances, key=lambda balance: -abs(balance.difference))[:10]:
        print(f"| {balance.title} | {balance.visible:,} | {balance.difference:+,} |")
    return apart <= GOAL * visible


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--passages", type=int, default=10)
    options = parser.parse_args()
    totals = {profile: Totals() for profile in PROFILES}
    passages: list[tuple[str, str, str]] = []
    account: list[Figures] = []
    balances: list[Balance] = []
    for seed, clean in zip(*(articles(options.dump, profile, account) for profile in PROFILES), strict=True):
        figures = account.pop()
        found = figures.kept + figures.total - figures.added
        balances.append(Balance(clean[0], found, letters(visible_prose(clean[1]))))
        for profile, (_, wikitext, lines) in zip(PROFILES, (seed, clean), strict=True):
            totals[profile].add(lines, wikitext)
        pair = first_prose(seed[2], "seed"), first_prose(clean[2], "clean")
        if len(passages) < options.passages and all(pair) and pair[0] != pair[1]:
            passages.append((seed[0], *pair))
    print("| lines in 1,000 with | seed | clean |\n|---|---:|---:|")
    rates = [per_thousand(total.faults, total.lines) for total in totals.values()]
    for name in (*LEFTOVERS, "all headings"):
        print(f"| {name.replace('_', ' ')} | {' | '.join(f'{rate.get(name, 0):.1f}' for rate in rates)} |")
    for unit in ("lines", "characters"):
        print(f"| *{unit} in all* | {' | '.join(f'{getattr(total, unit):,}' for total in totals.values())} |")
    print("\n| article | seed | clean |\n|---|---|---|")
    for row in passages:
        print(f"| {' | '.join(text.replace('|', chr(0xFF5C)) for text in row)} |")
    return 0 if print_balance(balances) else 1


if __name__ == "__main__":
    sys.exit(main())
