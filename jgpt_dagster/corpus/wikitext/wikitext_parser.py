"""From wikitext to wikitext without its structure: what a reader sees of elements, templates, tables and links.

`plain` takes comments, extension elements (`<ref>`, `<math>`, `<nowiki>`…), templates, tables and links out of a page
and leaves their visible text, with headings, list markers, HTML tags and entities still in place. Each pass reads the
page once, so that time grows with its length whatever it holds. Text that is literal (`<nowiki>`, inline code) is
written in private characters that no later step takes for markup (see `marks`).
"""

import html
import re
from collections.abc import Collection, Iterable

from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import MAX_NESTING, WikitextError
from jgpt_dagster.corpus.wikitext.placeholders import HOLE, INNER_EQUALS, literal
from jgpt_dagster.corpus.wikitext.template_rendering import render


def without_comments(text: str) -> str:
    """`text` without `<!-- … -->`; an unclosed comment hides the rest of the page, as in MediaWiki."""
    kept = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        kept.append(text[position:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(kept)
        position = end + 3
    kept.append(text[position:])
    return "".join(kept)


_SYMBOLS = """
alpha α beta β gamma γ delta δ epsilon ε zeta ζ eta η theta θ iota ι kappa κ lambda λ mu μ nu ν xi ξ pi π rho ρ sigma σ
tau τ upsilon υ phi φ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Pi Π Sigma Σ Phi Φ Psi Ψ Omega Ω
times × cdot · div ÷ pm ± le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ approx ≈ equiv ≡ sim ∼ to → rightarrow → infty ∞ in ∈
subset ⊂ cup ∪ cap ∩ ldots … cdots … dots … circ ° prime ′
sin sin cos cos tan tan log log ln ln exp exp max max min min
"""
_COMMANDS = dict(zip(_SYMBOLS.split()[::2], _SYMBOLS.split()[1::2], strict=True))
_COMMANDS |= dict.fromkeys(["left", "right", "mathrm", "mathbf", "mathit", "rm", "bf", "text", "displaystyle"], "")
_SPACING = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_STRAY_BLANK = re.compile(r" (?=[,;)\]])|(?<=[(\[]) ")
_GROUP = re.compile(r"\{([^{}\\]*)\}")


def formula(tex: str) -> str:
    """A simple formula as text (`x^2 + 1`), a hole for one that cannot be said in a line (`\\frac`, matrices).

    Simple is what is left with letters, digits and operators once commands with a character of their own are replaced.
    """
    if len(tex) > 80:
        return HOLE
    tex = _SPACING.sub(" ", tex)
    tex = _COMMAND.sub(lambda command: _COMMANDS.get(command[1], "\\"), tex)
    tex = _GROUP.sub(r"\1", tex)
    if re.search(r"[\\{}&\n]", tex.strip()):
        return HOLE
    return literal(_STRAY_BLANK.sub("", " ".join(tex.split())))


_DROPPED_ELEMENTS = """
ref references gallery pre timeline imagemap score graph mapframe maplink templatedata inputbox categorytree hiero
includeonly indicator table syntaxhighlight source
"""
_FORMULAS = ("math", "chem", "ce")
_ELEMENT_NAMES = [*_DROPPED_ELEMENTS.split(), *_FORMULAS, "nowiki", "code"]
_ELEMENT = re.compile(rf"<(/?)({'|'.join(_ELEMENT_NAMES)})\b([^<>]*)>", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*+>", re.IGNORECASE) for name in _ELEMENT_NAMES}


_MARKUP = re.compile(r"\[\[|\{\{|<|''")


def _shown(name: str, attributes: str, content: str) -> str:
    if name in ("nowiki", "code") or (name in ("syntaxhighlight", "source") and "inline" in attributes):
        return literal(html.unescape(content).replace("\n", " "))
    if name in _FORMULAS:
        return formula(content)
    return ""


def without_elements(text: str) -> str:
    """`text` with each extension element replaced by what it shows in running text, which is mostly nothing.

    Blocks of program code are no prose and go; `inline` code stays. A tag without its partner goes alone.
    """
    kept = []
    position = 0
    closings: dict[str, re.Match[str] | None] = {}  # by name, the next one: many opening tags may share it
    while tag := _ELEMENT.search(text, position):
        kept.append(text[position : tag.start()])
        position = tag.end()
        closing, name, attributes = tag[1], tag[2].lower(), tag[3]
        if closing or attributes.endswith("/"):
            continue
        end = closings.get(name)
        if name not in closings or (end is not None and end.start() < position):
            end = closings[name] = _CLOSING[name].search(text, position)
        if end is None:
            continue
        if name == "code" and _MARKUP.search(text, position, end.start()):
            continue  # MediaWiki takes the content of <code> for wikitext, most authors do not
        kept.append(_shown(name, attributes, text[position : end.start()]))
        position = end.end()
    kept.append(text[position:])
    return "".join(kept)


# A table begins and ends at the start of a line; `|}}` there is the end of a template with an empty last argument.
_EVEN = r"(?=(?:\}\})*+(?!\}))"
# A template or link that holds no other is one mark. Each begins with a character of its own, which makes a search
# several times as fast.
_PARTS = re.compile(
    rf"(\n[ \t:*#;]*+\{{\||\n[ \t]*+\|\}}{_EVEN}"
    rf"|\{{\{{(?:[^{{}}\[\]]*+\}}\}}{_EVEN})?|\}}\}}|\[\[(?:[^{{}}\[\]]*+\]\])?|\]\](?:\](?!\]))?|\|)"
)
# Most links hold nothing but characters: replacing those at once saves two thirds of the tokens.
_PLAIN_LINK = re.compile(r"\[\[(?:[^\[\]{}|:=\n]++\|)? *+([^\[\]{}|:=\n]*[^\[\]{}|:=\s]) *+\]\]")
# A parameter has no value in an article, so that its default shows.
_PARAMETER = re.compile(r"\{\{\{[^{}|\n]*+(?:\|([^{}]*+))?\}\}\}")
_LANGUAGE_PREFIX = re.compile(r"(?!(?:mw|voy|doi):)(?:[a-z]{2,3}(?:-[a-z]{1,10}){0,2}|simple):")


class _Frame:
    """An open template, link or table: the text of its parts so far."""

    __slots__ = ("opening", "parts")

    def __init__(self, opening: str) -> None:
        self.opening = opening
        self.parts: list[list[str]] = [[]]

    def texts(self) -> list[str]:
        return ["".join(part) for part in self.parts]


def link_text(parts: list[str], hidden_namespaces: Collection[str]) -> str:
    """What a reader sees of `[[target|label]]`: nothing of files, categories and links to the same page elsewhere."""
    target, label = parts[0].strip(), "|".join(parts[1:]).strip()
    if target.startswith(":"):
        target = target[1:]
    elif ":" in target:
        namespace = target.partition(":")[0].strip().replace("_", " ").lower()
        if namespace in hidden_namespaces or (not label and _LANGUAGE_PREFIX.match(target)):
            return ""
    return label or target


def _visible(opening: str, parts: list[str], hidden_namespaces: Collection[str]) -> str:
    """What a reader sees of a template or a link, given as its parts between the pipes."""
    shown = render(parts) if opening == "{{" else link_text(parts, hidden_namespaces)
    return shown.replace("=", INNER_EQUALS)


def without_structure(text: str, hidden_namespaces: Collection[str]) -> str:
    """`text` with templates and links replaced by their visible text, innermost first, and without tables.

    Raises `WikitextError` where more than `MAX_NESTING` of them are open at once.
    """
    if "{{{" in text:
        text = _PARAMETER.sub(lambda parameter: parameter[1] or "", text)
    text = "\n" + "".join(_PLAIN_LINK.split(text))  # the labels stand between the parts
    root = _Frame("")
    stack = [root]
    *pieces, rest = _PARTS.split(text)
    for before, mark in zip(pieces[::2], pieces[1::2], strict=True):
        top = stack[-1]
        if before:
            top.parts[-1].append(before)
        if mark == "|":
            if top.opening in ("{{", "[["):
                top.parts.append([])
            else:
                top.parts[-1].append(mark)
            continue
        if mark[0] == "\n":
            top.parts[-1].append("\n")
        if mark == "}}":
            if any(frame.opening == "{{" for frame in stack):
                while stack[-1].opening != "{{":
                    _abandon(stack)
                _close(stack, hidden_namespaces)
        elif mark[0] == "]":
            bracket = mark[2:]
            if top.opening == "[[":
                if bracket and "[" in top.texts()[-1].rpartition("]")[2]:
                    top.parts[-1].append("]")  # the first of three ends an external link in the label
                    bracket = ""
                _close(stack, hidden_namespaces)
            stack[-1].parts[-1].append(bracket)
        elif mark.startswith(("{{", "[[")) or mark.endswith("{|"):
            if len(stack) > MAX_NESTING:
                raise WikitextError(f"more than {MAX_NESTING} templates, links and tables nested or left open")
            if mark.endswith(("}}", "]]")):
                top.parts[-1].append(_visible(mark[:2], mark[2:-2].split("|"), hidden_namespaces))
            else:
                stack.append(_Frame(mark[-2:]))
        elif top.opening == "{|":
            stack.pop()
        elif top.opening == "{{":
            top.parts.append(["}"])
    stack[-1].parts[-1].append(rest)
    while len(stack) > 1:
        _abandon(stack)
    return "".join(root.parts[0])[1:].replace(INNER_EQUALS, "=")


def _close(stack: list[_Frame], hidden_namespaces: Collection[str]) -> None:
    """Puts what the innermost frame shows in its place."""
    frame = stack.pop()
    stack[-1].parts[-1].append(_visible(frame.opening, frame.texts(), hidden_namespaces))


def _abandon(stack: list[_Frame]) -> None:
    """Takes the innermost frame, which is never closed, for plain text."""
    frame = stack.pop()
    stack[-1].parts[-1].append("|".join(frame.texts()))


# Those that every wiki knows, with their Japanese names.
_NAMESPACES = ("File", "Image", "ファイル", "画像", "Category", "カテゴリ")


def hidden_namespaces(names: Iterable[str]) -> frozenset[str]:
    """The namespaces whose links show nothing where they stand, given the wiki's own names for them."""
    return frozenset(name.lower() for name in (*names, *_NAMESPACES))


def plain(text: str, hidden: Collection[str]) -> str:
    """`text` without comments, elements, templates, tables and links, but with their visible text."""
    return without_structure(without_elements(without_comments(text)), hidden)
