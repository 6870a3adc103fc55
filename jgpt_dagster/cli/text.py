"""`jgpt text`: what became of the text of a dump."""

from collections.abc import Iterable, Sequence

import click

from jgpt_dagster.cli.deployment import require_matching_root
from jgpt_dagster.cli.terminal import columns_of, padded, say
from jgpt_dagster.literal_text import one_line
from jgpt_dagster.settings import load_settings


@click.group()
def text() -> None:
    """Report on the text of a dump."""


@text.command()
@click.option("--dump", required=True, help="Date of the dump, YYYYMMDD.")
@click.option("--templates", default=20, show_default=True, type=click.IntRange(1), help="How many templates to list.")
@click.option("--draft", is_flag=True, help="Print the draft of templates.yaml alone.")
def report(dump: str, templates: int, draft: bool) -> None:
    """Show what cleaning left out of a dump's articles, by reason and by template.

    Ends with a draft of templates.yaml, a file of the data root that settles templates without a rule.
    """
    settings = load_settings()
    require_matching_root(settings)
    from jgpt_dagster.catalog.left_out import account_of_dump
    from jgpt_dagster.corpus.left_out.figures import costliest
    from jgpt_dagster.corpus.left_out.report import (
        REASON_HEAD,
        TEMPLATE_HEAD,
        draft_of_rules,
        reason_rows,
        template_rows,
    )

    for corpus in settings.catalog.dated_corpora:
        account = account_of_dump(settings.catalog, corpus, dump)
        ranked = costliest(account.figures.templates, templates)
        lines = draft_of_rules(ranked)
        if not draft:
            kept = f"{account.figures.kept:,} letters and digits kept"
            say(f"{corpus.text_asset} {dump}: {account.articles:,} articles, {kept}")
            for label in account.missing:
                say(f"  {label} has no account and does not count")
            say("")
            _say_table(REASON_HEAD, reason_rows(account.figures.characters, account.figures.kept))
            say("")
            _say_table(TEMPLATE_HEAD, template_rows(ranked))
            say(f"\nDraft of {settings.root.location / 'templates.yaml'}:\n")
        say("\n".join(map(one_line, lines)))


def _say_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns: the first and last are text, the others numbers."""
    table = [head, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(columns_of, column)) for column in zip(*table, strict=True)]
    for first, *numbers, last in table:
        cells = [padded(cell, width, right=True) for cell, width in zip(numbers, widths[1:-1], strict=True)]
        say("  ".join([padded(first, widths[0]), *cells, last]).rstrip())
