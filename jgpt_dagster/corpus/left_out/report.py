"""What an account says to a reader: its tables, and a draft of rules for the templates that it has none for."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from jgpt_dagster.corpus.left_out.figures import FORMULA, OTHER_TEMPLATES, REASONS, Reason, TemplateFigures

REASON_HEAD = ("left out", "characters", "share")
TEMPLATE_HEAD = ("template", "uses", "sentences lost", "characters lost", "in arguments", "sample")

Row = tuple[str, ...]

_HOW = {"unknown": "", "hole": " (value not known)", "silent": " (silent)", "shown": ""}
_PLAIN_NAME = re.compile(r"[^\W_](?:[\w ./-]*[\w)])?")
# Words that YAML takes for something else than text.
_YAML_WORD = re.compile(r"(?:y|n|yes|no|on|off|true|false|null)|[0-9._+-]+[0-9a-f._+-]*", re.IGNORECASE)


def reason_rows(characters: Mapping[Reason, int], kept: int) -> Iterator[Row]:
    """Yield REASON_HEAD's columns for each reason, the share of all that the pages hold; `kept` is what stays."""
    everything = kept + sum(characters.values())
    for reason, meaning in REASONS.items():
        if count := characters.get(reason, 0):
            yield meaning, f"{count:,}", f"{count / everything:.2%}"


def template_rows(templates: Iterable[tuple[str, TemplateFigures]]) -> Iterator[Row]:
    """Yield TEMPLATE_HEAD's columns for each template."""
    for name, template in templates:
        yield (
            f"{name}{_HOW[template.kind]}" if name not in (FORMULA, OTHER_TEMPLATES) else name,
            *(f"{count:,}" if count else "" for count in _counts(template)),
            template.sample,
        )


def _counts(template: TemplateFigures) -> tuple[int, ...]:
    return template.uses, template.sentences, template.sentence_characters, template.characters


def draft_of_rules(templates: Iterable[tuple[str, TemplateFigures]]) -> Iterator[str]:
    """Yield the lines of a draft of `templates.yaml` for the templates without a rule.

    Its rules are comments, which change nothing until a reader has decided: a template that has cost sentences is
    proposed to show its first argument, any other to be silent.
    """
    yield "# Templates without a rule. Check each on a page of the wiki, choose, and remove the # in front of it:"
    yield "#   silent     it shows nothing that belongs in a sentence: a box, a note, an icon"
    yield "#   shows 1    it shows its first argument; `shows text, 1` is the first of these that is not blank"
    yield "#   hole       it shows what is not in the page, so a sentence with it is left out"
    for name, template in templates:
        if template.kind != "unknown" or name == OTHER_TEMPLATES:
            continue
        lost = f", {template.sentences:,} sentences lost" if template.sentences else ""
        yield ""
        yield f"# {template.uses:,} uses{lost}: {' '.join(template.sample.split())}"
        yield f"#{_key(name)}: {'shows 1' if template.sentences else 'silent'}"


def _key(name: str) -> str:
    """Return a name as a key of YAML."""
    is_plain = _PLAIN_NAME.fullmatch(name) and not _YAML_WORD.fullmatch(name)
    return name if is_plain else json.dumps(name, ensure_ascii=False)
