"""What commands print. Text of a corpus, a server or a path cannot steer the terminal: its controls are shown."""

import click
from tqdm import tqdm

from jgpt_dagster.literal_text import visible


def say(text: str, *, err: bool = False) -> None:
    """Print text, on standard error if `err`."""
    click.echo(visible(text), err=err)


def say_beside_bars(text: str) -> None:
    """Print text while progress bars are drawn: tqdm hides them as it is written."""
    tqdm.write(visible(text))
