"""Tasks as data: definitions in YAML, and the items that they make of the files that a user has fetched.

A definition has the keys of lm-evaluation-harness (`task`, `doc_to_text`, `doc_to_choice`, `doc_to_target`,
`target_delimiter`), whose templates are Jinja. Its own keys are `data` (patterns of file names in the folder of task
files), `columns` (of a CSV file without a header), `group` (a field by which accuracy is shown too) and `item_text`
(what would give the item away in training data). The package holds definitions and no items.
"""

import ast
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jgpt_dagster.errors import JgptError

_DEFINITIONS = files("jgpt_dagster.lm.evaluation") / "task_definitions"
_ITEM_FIELDS = {"prompt", "choices", "answer"}


class TaskError(JgptError):
    """A definition of a task that cannot be used, or a file of items that is not of its form."""


@dataclass(frozen=True)
class TaskDefinition:
    """A task as its YAML file describes it. `files` are those in the folder of task files."""

    task: str
    data: Sequence[str]
    doc_to_text: str
    doc_to_choice: str | Sequence[str]
    doc_to_target: str | int
    target_delimiter: str = " "
    columns: Sequence[str] = ()
    group: str | None = None
    item_text: str = ""
    files: Sequence[Path] = field(default=(), compare=False)


@dataclass(frozen=True)
class TaskItem:
    """A question: which of the choices, each behind the context, is the likeliest? `answer` is the right one's index.

    `text` is what would give the item away in training data, `place` the file and line of the item. `delimiter` stands
    between the context and each choice.
    """

    context: str
    choices: tuple[str, ...]
    answer: int
    group: str
    text: str
    place: str
    delimiter: str = ""


def find_tasks(folder: Path) -> list[TaskDefinition]:
    """Return the tasks whose files are in a folder, by name: those of the package, of its YAML files, and JSON lines.

    A `.jsonl` file that belongs to no definition is a task of its own name if its lines have `prompt`, `choices` and
    `answer` (an index, or one of the choices). Raises TaskError for a wrong definition, or a folder without a task.
    """
    if not folder.is_dir():
        raise TaskError(f"{folder} is no directory. Put the files of tasks there, or point JGPT_TASKS elsewhere.")
    definitions = _definitions(folder)
    found = [
        TaskDefinition(**{**_values(definition), "files": tuple(paths)})
        for definition in definitions.values()
        if (paths := sorted({path for pattern in definition.data for path in folder.glob(pattern)}))
    ]
    taken = {path for definition in found for path in definition.files}
    found += [_plain_task(path) for path in sorted(folder.glob("*.jsonl")) if path not in taken]
    if not found:
        raise TaskError(
            f"{folder} holds no file of a task. Known are: "
            f"{', '.join(f'{name} ({definition.data[0]})' for name, definition in sorted(definitions.items()))}, and "
            "JSON lines (*.jsonl) of prompt, choices and answer."
        )
    return sorted(found, key=lambda definition: definition.task)


def tasks_of_file(path: Path) -> list[TaskDefinition]:
    """Return the task that a file belongs to, if it is one of a task. Raises TaskError as `find_tasks` does.

    YAML files beside it count if they name a task: they may be of anything else.
    """
    for definition in _definitions(path.parent, lambda text: re.search(r"^task\s*:", text, re.MULTILINE)).values():
        if any(path.match(pattern) for pattern in definition.data):
            return [TaskDefinition(**{**_values(definition), "files": (path,)})]
    return [_plain_task(path)] if path.suffix == ".jsonl" else []


def read_items(definition: TaskDefinition) -> Iterator[TaskItem]:
    """Yield the items of a task. Raises TaskError, naming file and line, for one that is not of the task's form.

    A task without an item is refused too.
    """
    number = 0
    for path in definition.files:
        for number, record in _records(path, definition.columns):
            place = f"{path.name}:{number}"
            try:
                yield _item(definition, record, place)
            except (TemplateError, ValueError, KeyError, IndexError, TypeError) as error:
                raise TaskError(f"{path}, line {number}: it is no item of {definition.task}: {error}") from error
    if not number:
        raise TaskError(f"{', '.join(map(str, definition.files))}: there is no item of {definition.task} in it.")


def definition_values(definition: TaskDefinition) -> dict[str, Any]:
    """Return what decides the items of a task, besides its files, as JSON values."""
    return {name: value for name, value in _values(definition).items() if name != "files"}


def read_text(path: Path | Traversable) -> str:
    """Return the text of a file, with or without a byte order mark. Raises TaskError if it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path} is not UTF-8: {error}. Convert it.") from error


def _definitions(folder: Path, counts: Callable[[str], object] = bool) -> dict[str, TaskDefinition]:
    """Return the definitions of the package and of the YAML files of a folder whose text counts, by name."""
    texts = ((source, read_text(source)) for source in (*_DEFINITIONS.iterdir(), *sorted(folder.glob("*.yaml"))))
    definitions = [_read_definition(text, str(source)) for source, text in texts if counts(text)]
    return {definition.task: definition for definition in definitions}


def _values(definition: TaskDefinition) -> dict[str, Any]:
    return {entry.name: getattr(definition, entry.name) for entry in fields(definition)}


def _read_definition(text: str, source: str) -> TaskDefinition:
    try:
        values = yaml.safe_load(text)
        if not isinstance(values, dict):
            raise ValueError("it is no mapping of keys to values")
        if isinstance(values.get("data"), str):
            values["data"] = [values["data"]]
        known = {entry.name for entry in fields(TaskDefinition)} - {"files"}
        if unknown := sorted(str(key) for key in values.keys() - known):
            raise ValueError(f"unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        required = (entry.name for entry in fields(TaskDefinition) if entry.default is MISSING)
        if missing := [name for name in required if values.get(name) in (None, [], "") and name != "doc_to_text"]:
            raise ValueError(f"{', '.join(missing)} is missing")
        definition = TaskDefinition(**{"doc_to_text": None, **values})
        _require_types(definition)
        if any(Path(pattern).is_absolute() or ".." in Path(pattern).parts for pattern in definition.data):
            raise ValueError("data leads out of the folder")
        return definition
    except (yaml.YAMLError, ValueError) as error:
        raise TaskError(f"{source} is no definition of a task: {' '.join(str(error).split())}") from error


def _require_types(definition: TaskDefinition) -> None:
    """Raise ValueError for a value of another type than its key has. YAML reads an unquoted no as false."""
    for name in ("task", "doc_to_text", "target_delimiter", "item_text"):
        if not isinstance(getattr(definition, name), str):
            raise ValueError(f"{name} is text")
    for name in ("data", "columns"):
        values = getattr(definition, name)
        if not isinstance(values, list | tuple) or not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"{name} is a list of text")
    choices, target = definition.doc_to_choice, definition.doc_to_target
    if not (isinstance(choices, str) or (isinstance(choices, list) and all(map(_is_text, choices)))):
        raise ValueError("doc_to_choice is text, or a list of texts (in quotes)")
    if not isinstance(target, str | int) or isinstance(target, bool):
        raise ValueError("doc_to_target is text or an index")
    if not isinstance(definition.group, str | None):
        raise ValueError("group is the name of a field")


def _plain_task(path: Path) -> TaskDefinition:
    _, first = next(_records(path, ()), (0, {}))
    if not first.keys() >= _ITEM_FIELDS:
        raise TaskError(
            f"{path}: no definition takes this file, and its lines lack "
            f"{', '.join(sorted(_ITEM_FIELDS - first.keys()))}."
        )
    return TaskDefinition(
        task=path.stem,
        data=(path.name,),
        doc_to_text="{{prompt}}",
        doc_to_choice="choices",
        doc_to_target="answer",
        target_delimiter="",
        item_text="{{prompt}}",
        files=(path,),
    )


def _records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the records of a file of JSON lines, or of CSV without a header, with their line numbers."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        rows = _csv_records(stream, columns) if columns else _json_records(stream)
        try:
            yield from rows
        except (ValueError, csv.Error) as error:
            raise TaskError(f"{path}: {error}") from error


def _json_records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} is no JSON: {error}") from error
            if not isinstance(record, dict):
                raise ValueError(f"line {number} is no JSON object")
            yield number, record


def _csv_records(lines: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(lines)
    for row in reader:
        if row:
            if len(row) != len(columns):
                raise ValueError(f"line {reader.line_num} has {len(row)} columns, expected {len(columns)}")
            yield reader.line_num, dict(zip(columns, row, strict=True))


def _item(definition: TaskDefinition, record: Mapping[str, Any], place: str) -> TaskItem:
    found = _choices(definition.doc_to_choice, record)
    choices = tuple(map(str, found))
    answer = _answer(definition.doc_to_target, record, found)
    if len(choices) < 2 or not all(choices) or not 0 <= answer < len(choices):
        raise ValueError(f"its choices are {list(choices)}, its answer {answer}")
    item = TaskItem(
        context=_rendered(definition.doc_to_text, record),
        choices=choices,
        answer=answer,
        group=str(record.get(definition.group, "")) if definition.group else "",
        text=_rendered(definition.item_text, record),
        place=place,
        delimiter=definition.target_delimiter,
    )
    "".join((item.context, *choices, item.text)).encode()  # JSON can hold halves of characters, which no text has
    return item


def _choices(template: str | Sequence[str], record: Mapping[str, Any]) -> Sequence[Any]:
    if not isinstance(template, str):
        return template
    found = record[template] if template in record else _literal(_rendered(template, record, of_lists=True))
    if not isinstance(found, list) or not all(map(_is_text, found)):
        raise ValueError(f"its choices are {found!r}, expected a list of texts")
    return found


def _answer(template: str | int, record: Mapping[str, Any], choices: Sequence[Any]) -> int:
    """Return the index of the right choice, which a field or a template gives as an index or as the choice.

    Digits that a template makes are an index, as in lm-evaluation-harness; in a field they may be a choice.
    """
    if isinstance(template, int):
        return template
    of_field = template in record
    found = record[template] if of_field else _rendered(template, record)
    if isinstance(found, str) and found.isdecimal() and not (of_field and found in choices):
        return int(found)
    if isinstance(found, int) and not isinstance(found, bool):
        if found in choices and choices.index(found) != found:
            raise ValueError(f"its answer {found} may be an index or one of {list(choices)}: give the choices as text")
        return found
    if found not in choices:
        if found == template:
            raise ValueError(f"it has no field {template}, and no such choice")
        raise ValueError(f"its answer is {found!r}, expected an index or one of {list(choices)}")
    return choices.index(found)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{text!r} is neither a field of it nor a list") from error


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _rendered(template: str, record: Mapping[str, Any], of_lists: bool = False) -> str:
    return _template(template, of_lists).render(**record)


@cache
def _template(source: str, of_lists: bool) -> Template:
    return _environment(of_lists).from_string(source)


@cache
def _environment(of_lists: bool) -> ImmutableSandboxedEnvironment:
    """Return what renders templates of text or, if so, of lists. Null and structures are refused, not shown as text."""

    def refuse(value: Any) -> Any:
        elements = value if of_lists and isinstance(value, list) else [value]
        for element in elements:
            if isinstance(element, Undefined):
                str(element)  # raises what names it
            if not _is_text(element):
                raise ValueError(f"{element!r} stands where text is expected")
        return value

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=refuse
    )
