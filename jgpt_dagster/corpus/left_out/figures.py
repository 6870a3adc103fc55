"""The figures of an account: characters by reason, and what each template has cost."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal[
    "sentence",
    "unknown_template",
    "silent_template",
    "argument",
    "table",
    "formula",
    "note",
    "appendix",
    "heading",
    "picture",
    "code",
    "element",
    "hidden",
]

REASONS: dict[Reason, str] = {
    "sentence": "sentences in which a template or a formula leaves a hole",
    "unknown_template": "arguments of templates without a rule",
    "silent_template": "arguments of templates that show nothing in a sentence: boxes, notes, navigation",
    "argument": "arguments beside those that a template shows",
    "table": "tables",
    "formula": "formulas",
    "note": "notes (<ref>)",
    "appendix": "appendices: references, external links, see also",
    "heading": "headings",
    "picture": "captions of pictures, galleries",
    "code": "program code and preformatted blocks",
    "element": "timelines, scores, maps and other elements of extensions",
    "hidden": "text that the page hides",
}
"""What each reason stands for, in the order in which reports list them."""

Kind = Literal["unknown", "hole", "silent", "shown"]
"""How a template is treated: it has no rule; its value is not known; it shows nothing; it shows a text."""

FORMULA = "(formula)"
"""In the place of a template: formulas that leave a hole in a sentence."""
MAX_TEMPLATES = 50_000
"""How many templates a sum tells apart, so that a hostile dump cannot fill the memory."""

OTHER_TEMPLATES = "(other templates)"
"""In the place of templates that are too many to be told apart."""


@dataclass
class TemplateFigures:
    """What one template leaves out.

    `uses` are its calls, `characters` those of its arguments that are not shown, `sentences` those that are dropped
    because of it, with their `sentence_characters`; `sample` is such a sentence, or what an unknown template holds.
    """

    kind: Kind
    uses: int = 0
    characters: int = 0
    sentences: int = 0
    sentence_characters: int = 0
    sample: str = ""

    @property
    def cost(self) -> int:
        """The characters that are missing because nothing better is known of this template."""
        return self.sentence_characters + (self.characters if self.kind == "unknown" else 0)

    def add(self, other: "TemplateFigures") -> None:
        """Add the figures of the same template elsewhere. A sample of a sentence stays, the longest of them."""
        if (other.sentences > 0, len(other.sample)) > (self.sentences > 0, len(self.sample)):
            self.kind, self.sample = other.kind, other.sample
        self.uses += other.uses
        self.characters += other.characters
        self.sentences += other.sentences
        self.sentence_characters += other.sentence_characters


@dataclass
class Figures:
    """What is left out of a page, or of many: characters (letters and digits) by reason, and by template.

    `kept` are the characters of the cleaned lines, the title apart. `added` are those that templates show and the page
    does not hold: フランス語 of `{{lang-fr|mot}}`.
    """

    characters: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    kept: int = 0
    added: int = 0
    templates: dict[str, TemplateFigures] = field(default_factory=dict)

    def add(self, other: "Figures") -> None:
        """Add the figures of another page, or of many."""
        self.kept += other.kept
        self.added += other.added
        for reason, characters in other.characters.items():
            self.characters[reason] += characters
        for name, template in other.templates.items():
            known = name if name in self.templates or len(self.templates) < MAX_TEMPLATES else OTHER_TEMPLATES
            self.templates.setdefault(known, TemplateFigures(template.kind)).add(template)

    @property
    def total(self) -> int:
        """All characters that are left out."""
        return sum(self.characters.values())


def costliest(templates: dict[str, TemplateFigures], count: int) -> list[tuple[str, TemplateFigures]]:
    """Return the templates that cost most, sentences before arguments; those that cost nothing are left out."""
    ranked = sorted(
        templates.items(), key=lambda item: (-item[1].sentence_characters, -item[1].cost, -item[1].uses, item[0])
    )
    return [(name, template) for name, template in ranked[:count] if template.cost]


def summed(figures: Iterable[Figures]) -> Figures:
    """Return the sum of figures."""
    total = Figures()
    for part in figures:
        total.add(part)
    return total
