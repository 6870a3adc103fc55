"""Simple TeX formulas as plain text."""

import re

from jgpt_dagster.corpus.wikitext.placeholders import MISSING_VALUE, escape_literal

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


def formula_text(tex: str) -> str:
    """Return a simple formula as text (`x^2 + 1`), MISSING_VALUE for one that needs layout (`\\frac`, matrices).

    A formula is simple if only letters, digits and operators remain after commands are replaced with characters.
    """
    if len(tex) > 80:
        return MISSING_VALUE
    tex = _SPACING.sub(" ", tex)
    tex = _COMMAND.sub(lambda command: _COMMANDS.get(command[1], "\\"), tex)
    tex = _GROUP.sub(r"\1", tex)
    if re.search(r"[\\{}&\n]", tex.strip()):
        return MISSING_VALUE
    return escape_literal(_STRAY_BLANK.sub("", " ".join(tex.split())))
