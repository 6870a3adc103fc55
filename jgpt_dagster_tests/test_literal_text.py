"""Text from outside is shown literally in every form of output: nothing in it links, formats, notifies or steers."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given

from jgpt_dagster.cli.command_group import _PlainErrors
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError
from jgpt_dagster.literal_text import (
    chat_block,
    code_block,
    code_span,
    json_line,
    markdown_cell,
    markdown_text,
    one_line,
    visible,
)
from jgpt_dagster_tests.support.deployments import PROJECT
from jgpt_dagster_tests.support.hostile_text import ANY_TEXT, MARKUP
from jgpt_dagster_tests.support.markdown import active, literal_text, tokens

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("text", MARKUP)
def test_markup_shows_literally_in_markdown(text: str) -> None:
    for shown in (f"# {markdown_text(text)}", f"* a: {markdown_text(text)}", f"words {code_span(text)} words"):
        assert active(shown) == []
        assert " ".join(one_line(text).split()) in " ".join(literal_text(shown).split())
    block = list(tokens(f"before\n\n{code_block(text, 'python')}\n\nafter"))
    assert [token.content for token in block if token.type == "fence"] == [f"{visible(text)}\n"]
    assert [token.content for token in block if token.type == "text"] == ["before", "after"]


@pytest.mark.parametrize("text", MARKUP)
def test_a_cell_of_a_markdown_table_stays_one_cell(text: str) -> None:
    table = f"| | |\n|---|---|\n| {markdown_cell(text)} | 1 |\n"
    assert active(table) == []
    assert [token.type for token in tokens(table)].count("td_open") == 2


@given(ANY_TEXT)
def test_no_text_is_anything_but_text_in_markdown(text: str) -> None:
    line = f"* a: {markdown_text(text)} end"
    assert active(line) == []
    assert {token.type for token in tokens(line)} <= {
        *("bullet_list_open", "list_item_open", "paragraph_open", "inline", "text", "code_inline"),
        *("paragraph_close", "list_item_close", "bullet_list_close"),
    }


@pytest.mark.parametrize("text", ["jgpt-tiny-20260101", "早稲田大学", "learning_rate", "95 % (of 3), 0.1", "Juman++ 2"])
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    assert markdown_text(text) == text == markdown_cell(text) == visible(text)


@given(ANY_TEXT)
def test_no_text_steers_a_terminal_or_hides(text: str) -> None:
    assert not CONTROLS.search(visible(text))
    assert len(one_line(text).splitlines()) <= 1
    visible(text).encode()


@given(ANY_TEXT)
def test_a_line_of_json_is_one_line_and_holds_the_text(text: str) -> None:
    line = json_line({"message": text})
    assert len(line.splitlines()) == 1 and not CONTROLS.search(line)
    assert json.loads(line.encode()) == {"message": text}


@pytest.mark.parametrize("text", MARKUP)
def test_nothing_in_a_chat_links_formats_or_notifies(text: str) -> None:
    lines = chat_block(text).split("\n")
    assert (lines[0], lines[-1]) == ("```", "```")
    inside = "\n".join(lines[1:-1])
    assert not re.search(r"[<>`]|@(?!\u200b)", inside) and not CONTROLS.search(inside)


def test_commands_print_controls_as_escapes_also_in_errors() -> None:
    @click.group(cls=_PlainErrors)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        say("page \x1b[2J")
        raise JgptError("page \x1b]0;title\x07 of 日本\nrun it again")

    output = CliRunner().invoke(group, ["fail"]).output
    assert output == "page \\x1b[2J\nError: page \\x1b]0;title\\x07 of 日本\nrun it again\n"


def test_commands_print_by_no_other_way() -> None:
    modules = [path for path in (PROJECT / "jgpt_dagster" / "cli").glob("*.py") if path.name != "terminal.py"]
    calls = re.compile(r"\b(click\.s?echo|tqdm\.write|print)\(")
    assert len(modules) > 8 and not [path.name for path in modules if calls.search(Path(path).read_text())]
