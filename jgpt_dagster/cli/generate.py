"""`jgpt generate`: continues prompts with a released model."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from jgpt_dagster.cli.terminal import say
from jgpt_dagster.settings import load_settings

if TYPE_CHECKING:
    from jgpt_dagster.lm.release.generation import SamplingSettings, TextGenerator

_STANDARD_INPUT = "-"


@click.command()
@click.argument("prompt", default=_STANDARD_INPUT)
@click.option("--dump", help="Dump whose release is used; default the newest.")
@click.option("--max-new-tokens", default=60, show_default=True, type=click.IntRange(min=1))
@click.option("--temperature", default=0.8, show_default=True, type=click.FloatRange(min=0))
@click.option("--top-p", default=0.95, show_default=True, type=click.FloatRange(min=0, max=1, min_open=True))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--stream", is_flag=True, help="Print each part of the text as soon as it is known.")
def generate(
    prompt: str, dump: str | None, max_new_tokens: int, temperature: float, top_p: float, seed: int, stream: bool
) -> None:
    """Continue PROMPT with a released model; without PROMPT, each line of standard input.

    Prompt and output are natural text. The texts of several prompts are printed with an empty line after each; each is
    the one that its prompt has alone.
    """
    settings = load_settings()
    from jgpt_dagster.catalog.releases import newest_release
    from jgpt_dagster.lm.release.generation import GenerationError, SamplingSettings, TextGenerator

    sampling = SamplingSettings(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    release = newest_release(settings.root, settings.model, dump)
    generator = TextGenerator(release, release)
    if prompt != _STANDARD_INPUT:
        _show(generator, prompt, sampling, stream)
        return
    for number, line in _lines():
        try:
            _show(generator, line, sampling, stream)
        except GenerationError as error:
            raise GenerationError(f"line {number} of standard input: {error}") from error
        say("")


def _show(generator: "TextGenerator", prompt: str, sampling: "SamplingSettings", stream: bool) -> None:
    """Print a prompt with its continuation."""
    if stream:
        generator.continue_prompt(prompt, sampling, lambda part: say(part, end=False))
        say("")
    else:
        say(generator.continue_prompt(prompt, sampling))


def _lines() -> Iterator[tuple[int, str]]:
    """Yield the lines of standard input that are not blank, with their numbers. Raises UsageError for one not UTF-8."""
    if sys.stdin.isatty():
        say("Reading prompts, one on each line, until the end of the input (Ctrl-D).", err=True)
    # Read line by line, so that the answer to a prompt does not wait for the next one.
    for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), start=1):
        try:
            prompt = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise click.UsageError(f"line {number} of standard input is no UTF-8: {error}") from error
        if prompt.strip():
            yield number, prompt
