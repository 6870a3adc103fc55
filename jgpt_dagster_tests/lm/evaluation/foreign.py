"""Texts of the tests of models from elsewhere, and models that know nothing of them."""

from pathlib import Path

from jgpt_dagster_tests.support.foreign_models import gpt_neox, llama

TEXTS = [
    "吾輩は猫である。名前はまだ無い。\nどこで生れたか\tとんと見当がつかぬ New York。\n",
    "東京大学 2025年、</s>と<s>。\n",
    "二人\n",
]


def save(folder: Path, family: str, context: int = 16) -> Path:
    """Save a small random model of a family with its own tokenizer."""
    return {"gpt_neox": gpt_neox, "llama": llama}[family](folder / family, TEXTS, context=context)
