"""Numbers, quantities, years and dates as templates of the Japanese Wikipedia show them."""

import re

from jgpt_dagster.corpus.wikitext.placeholders import HOLE
from jgpt_dagster.corpus.wikitext.template_arguments import Arguments, unnamed, value

_RANGES = {"-": "–", "–": "–", "to": "–", "～": "〜", "〜": "〜", "and": "、", "x": "×", "×": "×", "by": "×"}
_NUMBER = re.compile(r"[+\-−]?[0-9][0-9.,/+]*")


def conversion(arguments: Arguments) -> str:
    """Number and unit as given, also of a range (`10|-|20|km`) and of two units (`6|ft|2|in`), not what they become."""
    first, second, *more = [*unnamed(arguments), "", "", ""]
    if second in _RANGES and len(more) > 4:
        return f"{first}{_RANGES[second]}{more[0]} {more[1]}"
    if _NUMBER.fullmatch(more[0]) and more[1] and not _NUMBER.fullmatch(more[1]):
        return f"{first} {second} {more[0]} {more[1]}"
    return f"{first} {second}".strip()


def quantity(arguments: Arguments) -> str:
    """A number (`1.5`), range (`1.5|-|2.5`) or number and its uncertainty (`1.5|0.1`), with exponent and unit."""
    numbers = unnamed(arguments)
    if len(numbers) == 3 and numbers[1] in _RANGES:
        number = f"{numbers[0]}{_RANGES[numbers[1]]}{numbers[2]}"
    elif len(numbers) > 2:
        return HOLE
    else:
        number = ("" if numbers[-1:] and numbers[-1].startswith("(") else "±").join(numbers)
    exponent, unit = value(arguments, "e"), value(arguments, "u", "ul")
    return f"{number}{exponent and f'×10^{exponent}'}{unit and f' {unit}'}" if number else ""


def fraction(arguments: Arguments) -> str:
    """`1/2`, or `2 1/3` with a whole number in front."""
    parts = unnamed(arguments)
    return f"1/{parts[0]}" if len(parts) == 1 else " ".join([*parts[:-2], "/".join(parts[-2:])])


def number(text: str) -> str:
    """`text` with commas between its thousands if it is a whole number."""
    text = text.strip()
    return f"{int(text):,}" if re.fullmatch(r"-?[0-9]{1,30}", text) else text


# The first whole year of an era; the year before it belongs to two.
_ERAS = {2020: "令和", 1990: "平成", 1927: "昭和", 1913: "大正", 1869: "明治"}


def era_year(arguments: Arguments) -> str:
    """A year (`2008`) and the same as the Japanese eras count it; a hole for one that begins an era."""
    year = value(arguments, "1")
    if re.fullmatch("[0-9]{4}", year) and int(year) + 1 not in _ERAS:
        for start, era in _ERAS.items():
            if int(year) >= start:
                return f"{year}年（{era}{int(year) - start + 2}年）"
    return HOLE


def date(arguments: Arguments) -> str:
    """Year, month and day as far as they are given."""
    return "".join(f"{part}{unit}" for part, unit in zip(unnamed(arguments), "年月日", strict=False))
