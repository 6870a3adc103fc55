"""wikiextractor with limits: the same lines as the library, at a bounded cost for hostile pages."""

import logging
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wikiextractor import extract

from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import BoundedExtractor
from jgpt_dagster.corpus.wikitext.extraction_limits import WikitextError

WORDS = """
{{ }} {{{ }}} [[ ]] [[[ ]]] {| |} | ' '' ''' ''''' == === " < > & * # : ; ( ) . ! = / あ い a 1 、 （ ）
<b> </b> <ref> </ref> <ref/> <br> <p> <math> </math> <code> </code> <!-- --> <nowiki> </nowiki> <nobr> <gallery>
</gallery> &lt; &amp;lt; &nbsp; &amp;nbsp; ファイル: Category: http://a [http://a {{#if:a| {{#expr:1+1}} {{#switch:a|a=
{{PAGENAME}} {{lc:A}} {{formatnum:1234}} __NOTOC__ <syntaxhighlight
"""
FRAGMENTS = [
    *WORDS.split(),
    "\n",
    "\n\n",
    " ",
    "\n== 見出し ==\n",
    "\n* ",
    "\n: ",
    "[[a|b]]",
    "{{padleft:7|3|0}}",
    "{{ない|あ}}",
    "[[ファイル:あ|い [[う|え]] お|か]]き",
    "[[あ |い [[う|え]] お| か ]]き",
    "[[あ:い| う]]",
    "<DIV class='a'>",
    "</ div >",
    "< re\u017f >",
    "\0",
]
MARKUP = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)


def plain_wikiextractor(title: str) -> extract.Extractor:
    ignored = [*extract._DEFAULT_IGNORED_TAG_PATTERNS, extract.ignoreTag("a")]
    return extract.Extractor("1", "2", "", title, [], ignored_tag_patterns=ignored)


@given(MARKUP, st.booleans())
@settings(max_examples=400, deadline=None)
def test_within_the_bounds_the_lines_are_those_of_wikiextractor(text: str, expand: bool) -> None:
    options = {"expand_templates": expand, "html_safe": expand}
    assert BoundedExtractor(1, 2, "題").clean_text(text, **options) == plain_wikiextractor("題").clean_text(
        text, **options
    )


def test_the_lines_do_not_depend_on_the_day_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wikitext = "{{CURRENTYEAR}}/{{CURRENTMONTH}}/{{CURRENTDAY}} {{CURRENTHOUR}} {{CURRENTTIME}}"
    lines = BoundedExtractor(1, 2, "題").clean_text(wikitext)
    assert lines == ["2022/07/01 00 00:00:00"]
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert BoundedExtractor(1, 2, "題").clean_text(wikitext) == lines


def nested(depth: int) -> str:
    return "{{#if:1|" * depth + "核" + "}}" * depth


def at_depth(frames: int, text: str) -> list[str]:
    """The lines of `text` when the caller already is `frames` calls deep."""
    return at_depth(frames - 1, text) if frames else BoundedExtractor(1, 2, "題").clean_text(text)


def test_the_limit_of_nesting_is_the_same_however_deep_the_caller_is() -> None:
    assert at_depth(0, nested(100)) == at_depth(300, nested(100)) == ["核"]
    for frames in (0, 300):
        with pytest.raises(WikitextError, match="nested"):
            at_depth(frames, nested(101))


@pytest.mark.parametrize(
    "call",
    [
        "{{#expr: 9**9**9**9 }}",
        "{{#expr: 1 round -99999999 }}",
        "{{#expr: 1 round (0-9*9*9*9*9*9*9*9*9*9) }}",
        "{{#ifexpr: 9**9**9**9 | a | b }}",
        "{{#expr: " + "-" * 5000 + "1 }}",
        "{{padleft:1|99999999999|x}}",
        "{{pad{{#if:1|right}}:1|99999999999|x}}",
        "{{#replace:" + "a" * 10_000 + "|a|" + "b" * 10_000 + "}}",
        "{{#replace:" * 60 + "a" + "|a|aaaa}}" * 60,
    ],
    ids=lambda call: call[:24],
)
def test_a_parser_function_cannot_be_made_to_fill_the_memory(call: str) -> None:
    with pytest.raises(WikitextError):
        BoundedExtractor(1, 2, "題").clean_text(call)


def test_ordinary_parser_functions_give_their_results() -> None:
    text = "{{#expr: (345/100 - 1)*100 round 1}} {{padleft:7|3|0}} {{#replace:あいあ|あ|う}} {{#expr: 1 round -2}}"
    assert BoundedExtractor(1, 2, "題").clean_text(text) == ["245.0 007 ういう 0"]


def test_other_users_of_wikiextractor_in_the_process_are_not_affected() -> None:
    BoundedExtractor(1, 2, "題").clean_text("{{#expr:1/0}}")
    assert isinstance(extract.comment, re.Pattern)
    assert extract.time is time
    assert logging.getLogger("wikiextractor.extract").level == logging.NOTSET
    this_year = time.strftime("%Y")
    assert plain_wikiextractor("題").clean_text("{{CURRENTYEAR}}") == [this_year]
