"""Rules for templates from a file: what they say, and what is wrong with one that is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.left_out.figures import Figures, TemplateFigures
from jgpt_dagster.corpus.left_out.report import draft_of_rules
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.corpus.wikitext.template_rules import (
    FILE,
    TemplateRule,
    TemplateRulesError,
    parse_rules,
    read_rules,
    rules_setting,
    template_name,
)
from jgpt_dagster_tests.corpus.wikitext.test_article_cleaner import SITE


def clean(wikitext: str, rules: str) -> tuple[list[str], Figures]:
    found: list[Figures] = []
    cleaner = article_cleaner(
        "clean", SITE, rules=parse_rules(rules.encode(), FILE), report=lambda _, figures: found.append(figures)
    )
    return cleaner(1, 2, "題", wikitext)[1:], found[0]


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ("町名: shows 1", ["町は水緒という。次。"]),
        ("町名: shows 読み, 2", ["町はみおという。次。"]),
        ("町名: shows 読み", ["町はみおという。次。"]),
        ("町名: shows 3, 1", ["町は水緒という。次。"]),
        ("町名: shows 3", ["町はという。次。"]),
        ("町名: silent", ["町はという。次。"]),
        ("町名: hole", ["次。"]),
        ("別の: silent", ["次。"]),
        ('"Template:町名": shows 1', ["町は水緒という。次。"]),
        ("# nothing but a comment", ["次。"]),
        ("", ["次。"]),
    ],
)
def test_a_rule_settles_a_template_without_code(rule: str, shown: list[str]) -> None:
    lines, figures = clean("町は{{ 町名|水緒|読み=みお}}という。次。", rule)
    assert lines == shown
    kinds = {name: found.kind for name, found in figures.templates.items()}
    assert kinds.get("町名") == {"hole": "hole", "silent": "silent"}.get(
        rule.rpartition(" ")[2] if rule.startswith("町名") else "", None if "shows" in rule else "unknown"
    )


def test_a_rule_goes_before_what_the_code_says_of_a_template_and_ignores_how_a_name_is_spelled() -> None:
    assert clean("{{Lang|en|word}}である。", "lang: shows 1")[0] == ["enである。"]
    assert clean("語は{{My_Word|甲}}である。", "my word: shows 1")[0] == ["語は甲である。"]
    assert clean("語は{{#if:甲|乙}}である。", "'#if:': shows 1")[0] == ["語は乙である。"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("町名: show 1", ["line 1", "'町名'", "'show 1'", "`silent`", "`shows 1`"]),
        ("甲: silent\n町名: shows", ["line 2", "'町名'"]),
        ("甲: silent\n町名: shows 1,", ["line 2", "'町名'"]),
        ("Lang: silent\nlang: hole", ["line 2", "a second rule for 'lang'"]),
        ("町名: [silent]", ["line 1", "expected the name"]),
        ("町名:", ["line 1", "'' is no rule"]),
        ("- silent", ["expected lines such as"]),
        ("町名: silent: hole", ["no YAML"]),
        ("町名: !!python/object:os.system silent\n\t", ["no YAML"]),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_line_and_what_is_expected(text: str, said: list[str]) -> None:
    with pytest.raises(TemplateRulesError) as refused:
        parse_rules(text.encode(), "/data/templates.yaml")
    assert "/data/templates.yaml" in str(refused.value)
    assert [part for part in said if part not in str(refused.value)] == []


def test_only_rules_count_for_the_recipe_not_the_file(tmp_path: Path) -> None:
    assert rules_setting(read_rules(tmp_path)) == {}
    (tmp_path / FILE).write_text("# a draft\n#町名: silent\n")
    assert rules_setting(read_rules(tmp_path)) == {}
    (tmp_path / FILE).write_text("町名: silent\n甲: shows 1\n")
    one = rules_setting(read_rules(tmp_path))
    (tmp_path / FILE).write_text("# settled\n甲: shows   1\n\nテンプレート:町名: silent\n")
    assert one and rules_setting(read_rules(tmp_path)) == one
    (tmp_path / FILE).write_bytes(b"\xff")
    with pytest.raises(TemplateRulesError, match="no YAML in UTF-8"):
        read_rules(tmp_path)


NAMES = st.one_of(st.text(min_size=1), st.sampled_from(["yes", "1", "1e3", "#if:", "a: b", "'s", "~", "- x", "null"]))


@given(st.dictionaries(NAMES, st.integers(0, 2), min_size=1))
def test_a_draft_with_its_comment_signs_removed_is_a_file_of_rules(names: dict[str, int]) -> None:
    # Names of templates are those that cleaning reports: no line ends, no blanks around them.
    templates = [
        (template_name(name), TemplateFigures("unknown", 1, 1, count, count, "例\n文"))
        for name, count in names.items()
        if template_name(name).isprintable() and template_name(name)
    ]
    lines = list(draft_of_rules(dict(templates).items()))
    assert parse_rules("\n".join(lines).encode(), FILE) == {}
    active = [line.removeprefix("#") for line in lines if line.startswith("#") and not line.startswith("# ")]
    active = [line for line in active if not line.startswith("  ")]
    expected = {
        name: TemplateRule(("1",)) if found.sentences else TemplateRule() for name, found in dict(templates).items()
    }
    assert parse_rules("\n".join(active).encode(), FILE) == expected
