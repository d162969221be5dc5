"""Units at the end of an answer: `15 cm^2` is 15, with a unit that may be left out but not be a different one."""

import re

_SYNONYMS = {
    "cm": "centimeter centimetre cm",
    "mm": "millimeter millimetre mm",
    "km": "kilometer kilometre km",
    "m": "meter metre m",
    "in": "inch inches in",
    "ft": "foot feet ft",
    "yd": "yard yd",
    "mi": "mile mi",
    "s": "second sec",
    "min": "minute min",
    "h": "hour hr",
    "day": "day",
    "week": "week",
    "month": "month",
    "year": "year yr",
    "g": "gram",
    "kg": "kilogram kg",
    "lb": "pound lb",
    "oz": "ounce oz",
    "l": "liter litre",
    "ml": "milliliter millilitre ml",
    "mph": "mph",
    "$": "dollar usd",
    "¢": "cent",
    "€": "euro",
    "°": "°",
}
_CANONICAL = {word: unit for unit, words in _SYNONYMS.items() for word in words.split()}
_EXPONENT = r"(?:\s*\^\s*\{?\s*([0-9])\s*\}?)?"
_TEXT_UNIT = re.compile(rf"(.*?[^\s^_{{\\])\s*((?:\\text\s*\{{[^{{}}]*\}}\s*/?\s*)+){_EXPONENT}", re.DOTALL)
_WORD_UNIT = re.compile(rf"(.*[0-9)}}°!%])\s*([A-Za-z][A-Za-z. ]*){_EXPONENT}", re.DOTALL)
_BARE = frozenset(["cm", "mm", "km", "kg", "ft", "lb", "oz", "ml", "sq", "cu"])
"""Short units that count without \\text around them; a single letter is a variable, and `in` is a word."""
_DOUBT = re.compile(r"\b(?:not|no|maybe|possibly|perhaps|probably|either|neither|to|than|least|most)\b", re.IGNORECASE)
"""Words after a number that take it back or change it."""
_ORDER = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}


def split_unit(text: str) -> tuple[str, str]:
    r"""The answer without its unit, and the unit in one spelling; "" where there is none or it names only things counted.

    >>> split_unit(r"15\text{ cm}^2"), split_unit("18.90 dollars"), split_unit(r"7\text{ apples}"), split_unit("3x")
    (('15', 'cm^2'), ('18.90', '$'), ('7', ''), ('3x', ''))
    """
    match = _TEXT_UNIT.fullmatch(text) or _bare_unit(text)
    if match is None or not re.search(r"[0-9A-Za-z)}]", match[1]) or _DOUBT.search(match[2]):
        return _without_degrees(text)
    return match[1].strip(), canonical(re.sub(r"\\text|[{}]", " ", match[2]), match[3] or "")


def _bare_unit(text: str) -> re.Match[str] | None:
    """A number with nothing but known units behind it, or, set off by a space, a longer word (`3 apples`)."""
    match = _WORD_UNIT.fullmatch(text)
    words = re.findall("[A-Za-z]+", match[2].lower()) if match else []
    if match is None or not words:
        return None
    spaced = text[match.end(1)] == " "
    fit = all((len(word) > 2 and _known(word)) or word in _BARE or (spaced and len(word) > 3) for word in words)
    return match if fit else None


def _known(word: str) -> str:
    return _CANONICAL.get(word) or _CANONICAL.get(word.removesuffix("s")) or ("unit" if word in {"unit", "units", *_ORDER} else "")


def _without_degrees(text: str) -> tuple[str, str]:
    """Degree signs go, unless a trigonometric function needs to know of them."""
    if "°" not in text:
        return text, ""
    if re.search(r"sin|cos|tan|cot|sec|csc", text):
        return text.replace("°", r"\frac{\pi}{180}"), ""
    return text.replace("°", ""), "°"


def canonical(words: str, exponent: str) -> str:
    """`square centimeters` and `cm^2` alike; words that are no known unit count for nothing."""
    found = ""
    for word in re.findall(r"[A-Za-z$°]+", words.lower()):
        exponent = _ORDER.get(word, exponent)
        found = found or _known(word).replace("unit", "")
    return f"{found}^{exponent}" if found and exponent not in {"", "1"} else found


def compatible(a: str, b: str) -> bool:
    return not a or not b or a == b
