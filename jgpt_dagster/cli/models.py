"""`jgpt models`: the presets, and what each takes to train."""

import click

from jgpt_dagster.cli.terminal import say

_HARDWARE = "8xa100-80"
_VOCABULARY = 32_000
# Hoffmann et al., "Training Compute-Optimal Large Language Models" (2022): about 20 tokens for each parameter.
_TOKENS_PER_PARAMETER = 20


@click.command()
def models() -> None:
    """Show the presets: their sizes, the memory that training takes, and the tokens that suit.

    Parameters are those with a vocabulary of 32,000.
    """
    from jgpt_dagster.lm.model.presets import PRESETS
    from jgpt_dagster.lm.planning.hardware import parse_hardware
    from jgpt_dagster.lm.planning.layout_search import fastest_layout
    from jgpt_dagster.lm.planning.memory import estimate_memory
    from jgpt_dagster.lm.planning.training_layout import LayoutConstraints
    from jgpt_dagster.lm.planning.workload import Workload

    hardware = parse_hardware(_HARDWARE)
    head = ("model", "layers", "width", "heads", "context", "parameters", "GB a GPU", "tokens that suit")
    rows = [head]
    for name, size in PRESETS.items():
        workload = Workload(size.layers, size.width, _VOCABULARY, size.context, size.global_batch, size.micro_batch)
        memory = estimate_memory(workload, hardware, fastest_layout(workload, hardware, LayoutConstraints()))
        rows.append(
            (
                name,
                str(size.layers),
                str(size.width),
                str(size.heads),
                f"{size.context:,}",
                count_words(workload.parameters),
                f"{memory.total / 1e9:.1f}",
                f"{count_words(_TOKENS_PER_PARAMETER * workload.parameters)} and more",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        say("  ".join(cells))
    say(f"GB a GPU: to train on {_HARDWARE}; `jgpt plan --hardware` computes it for others.")


def count_words(count: float) -> str:
    """Return a large number in three digits, such as `925 K`, `124 M` or `31.2 B`."""
    unit = ""
    for unit in ("", " K", " M", " B"):
        if count < 999.5 or unit == " B":
            break
        count /= 1000
    return f"{count:.3g}{unit}"
