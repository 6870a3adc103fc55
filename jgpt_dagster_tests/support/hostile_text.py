"""Lines that break engines, for the tests of every engine, and text that would be markup where it is shown."""

from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters(exclude_categories=[]))
"""Any string at all: controls, lone surrogates and unassigned code points included."""

AWKWARD_TEXT = st.text(
    alphabet=st.sampled_from("あアー漢a1!。 \t\r\n\0\v\f\x1b\x85\xa0\u2028\u2581\u3000\ufeff\ud800#Ð😀")
)
"""Dense in what the layer before the engines treats in a way of its own."""

JAPANESE_TEXT = st.text(
    st.characters(min_codepoint=0x3041, max_codepoint=0x30FE) | st.sampled_from("匹敬果前色木本命手門合")
)
"""Kana and kanji in no sensible order: reaches corners of a dictionary that real text and ANY_TEXT do not."""

HOSTILE_LINES = [
    "",
    " ",
    "\n",
    "# 注釈のような行",
    "#",
    "a\0b",
    "甲\t乙\r丙\v丁\f戊\x85己\u2028庚\ufeff辛\xa0壬\u3000癸",
    "\ud800",
    "前\udfff後",
    "New\u2581York\u2581",
    "  二つ  ずつ  ",
    "１２３．",
    "a" * 5000,
    "ー" * 5000,
    "あ" * 5000,
    "漢" * 5000,
    "😀" * 5000,
    "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=" * 100,
    "吾輩は猫である。" * 1000,
    "Ð か\u0301 ﷽ \u202e逆\u202c",
    "\ufffe\uffff\U0010ffff",
]

MARKER = "evil.example"
"""The host in every text of `MARKUP`: nothing that acts may lead to it."""

MARKUP = [
    "![x](http://evil.example/beacon.png)",
    "[sign in](https://evil.example/login)",
    "[sign in](javascript:alert('evil.example'))",
    "[sign in][1]\n\n[1]: https://evil.example",
    "see https://evil.example/login and www.evil.example",
    "write to admin@evil.example",
    "<https://evil.example>",
    '<img src=x onerror="fetch(`//evil.example`)">',
    "<script src=//evil.example></script>",
    "text `</code>` ``<b>evil.example`` ```\n```\n<script>evil.example</script>",
    "`<img src=//evil.example>",
    "a | b |\n|---|\n| <img src=//evil.example>",
    r"a \| <img src=//evil.example> \| b",
    "a\n---\n# <b>evil.example</b>\n\n    code\n> quote\n1. list",
    "x\r\r<img src=//evil.example>",
    "x\u2028<img src=//evil.example>",
    "</svg><script>evil.example</script>",
    "&lt;img src=//evil.example&gt; &#60;b&#62;",
    r"\![x](http://evil.example) \\[y](http://evil.example)",
    "**bold** _it_ ~~gone~~ <!channel> <@U1> <https://evil.example|here> @channel @here @all",
    "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07 \x1b[2J\x9b31m \u202eevil.example\u202c",
]
"""Text that is a link, a picture, HTML, a mention or a command of the terminal wherever it is not shown literally."""
