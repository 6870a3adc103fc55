"""`jgpt generate`: continues a prompt with a released model."""

import click

from jgpt_dagster.cli.terminal import say
from jgpt_dagster.settings import load_settings


@click.command()
@click.argument("prompt")
@click.option("--dump", help="Dump whose release is used; default the newest.")
@click.option("--max-new-tokens", default=60, show_default=True, type=click.IntRange(min=1))
@click.option("--temperature", default=0.8, show_default=True, type=click.FloatRange(min=0))
@click.option("--top-p", default=0.95, show_default=True, type=click.FloatRange(min=0, max=1, min_open=True))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def generate(prompt: str, dump: str | None, max_new_tokens: int, temperature: float, top_p: float, seed: int) -> None:
    """Continue PROMPT with a released model. It is segmented as the corpus was; the output is natural text."""
    settings = load_settings()
    from jgpt_dagster.catalog.releases import newest_release
    from jgpt_dagster.lm.release.generation import SamplingSettings, generate_text

    release = newest_release(settings.root, settings.model, dump)
    sampling = SamplingSettings(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    say(generate_text(release, release, prompt, sampling))
