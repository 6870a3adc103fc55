"""Phrases by which evaluation items, or anything else in a file, are found in text."""

from pathlib import Path

from jgpt_dagster.lm.evaluation.task_items import find_tasks, read_items, read_text, tasks_of_file


def read_phrases(path: Path) -> list[str]:
    """Return the phrases of a file, each once: what would give its evaluation items away, or its lines.

    A folder, or a file whose name a definition of a task takes, is read as items; so is any `.jsonl`. Any other file
    has a phrase a line. Raises TaskError for items that are not of their form, and for a file that is not UTF-8.
    """
    tasks = find_tasks(path) if path.is_dir() else tasks_of_file(path)
    texts = [item.text for task in tasks for item in read_items(task)] if tasks else [read_text(path)]
    return list(dict.fromkeys(line.strip() for text in texts for line in text.splitlines() if line.strip()))
