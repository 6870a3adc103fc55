"""Numbers, quantities, years and dates as templates of the Japanese Wikipedia show them."""

import re

from jgpt_dagster.corpus.wikitext.placeholders import MISSING_VALUE
from jgpt_dagster.corpus.wikitext.template_arguments import Arguments, positional, value

_RANGES = {"-": "–", "–": "–", "to": "–", "～": "〜", "〜": "〜", "and": "、", "x": "×", "×": "×", "by": "×"}
_NUMBER = re.compile(r"[+\-−]?[0-9][0-9.,/+]*")


def conversion(arguments: Arguments) -> str:
    """Return number and unit as given, unconverted; also for a range (`10|-|20|km`) and two units (`6|ft|2|in`)."""
    first, second, *more = [*positional(arguments), "", "", ""]
    if second in _RANGES and len(more) > 4:
        return f"{first}{_RANGES[second]}{more[0]} {more[1]}"
    if _NUMBER.fullmatch(more[0]) and more[1] and not _NUMBER.fullmatch(more[1]):
        return f"{first} {second} {more[0]} {more[1]}"
    return f"{first} {second}".strip()


def quantity(arguments: Arguments) -> str:
    """Return a number (`1.5`), range (`1.5|-|2.5`) or number with uncertainty (`1.5|0.1`), with exponent and unit."""
    numbers = positional(arguments)
    if len(numbers) == 3 and numbers[1] in _RANGES:
        number = f"{numbers[0]}{_RANGES[numbers[1]]}{numbers[2]}"
    elif len(numbers) > 2:
        return MISSING_VALUE
    else:
        number = ("" if numbers[-1:] and numbers[-1].startswith("(") else "±").join(numbers)
    exponent, unit = value(arguments, "e"), value(arguments, "u", "ul")
    return f"{number}{exponent and f'×10^{exponent}'}{unit and f' {unit}'}" if number else ""


def fraction(arguments: Arguments) -> str:
    """Return `1/2`, or `2 1/3` with a whole number in front."""
    parts = positional(arguments)
    return f"1/{parts[0]}" if len(parts) == 1 else " ".join([*parts[:-2], "/".join(parts[-2:])])


def group_thousands(text: str) -> str:
    """Return `text` with thousands separators if it is a whole number, unchanged otherwise."""
    text = text.strip()
    return f"{int(text):,}" if re.fullmatch(r"-?[0-9]{1,30}", text) else text


# The first full year of each era; the year before it belongs to two eras.
_ERAS = {2020: "令和", 1990: "平成", 1927: "昭和", 1913: "大正", 1869: "明治"}


def era_year(arguments: Arguments) -> str:
    """Return a year with its era year, `2008年（平成20年）`; MISSING_VALUE for a year in which an era begins."""
    year = value(arguments, "1")
    if re.fullmatch("[0-9]{4}", year) and int(year) + 1 not in _ERAS:
        for start, era in _ERAS.items():
            if int(year) >= start:
                return f"{year}年（{era}{int(year) - start + 2}年）"
    return MISSING_VALUE


def date(arguments: Arguments) -> str:
    """Return year, month and day as far as they are given."""
    return "".join(f"{part}{unit}" for part, unit in zip(positional(arguments), "年月日", strict=False))
