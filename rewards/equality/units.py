"""Units at the end of an answer: `15 cm^2` is 15, with a unit that may be left out but not be a different one."""

import re

from reasoning_rl.rewards.equality.node import FUNCTIONS, GREEK
from reasoning_rl.rewards.equality.rules import Units

_SYNONYMS = {
    "cm": "centimeter centimetre cm",
    "mm": "millimeter millimetre mm",
    "km": "kilometer kilometre km",
    "m": "meter metre m",
    "in": "inch inches in",
    "ft": "foot feet ft",
    "yd": "yard yd",
    "mi": "mile mi",
    "s": "second sec s",
    "min": "minute min",
    "h": "hour hr h",
    "day": "day",
    "week": "week",
    "month": "month",
    "year": "year yr",
    "g": "gram g",
    "kg": "kilogram kg",
    "lb": "pound lb",
    "oz": "ounce oz",
    "ton": "ton tonne",
    "l": "liter litre l",
    "ml": "milliliter millilitre ml",
    "gal": "gallon gal",
    "$": "dollar usd $",
    "¢": "cent ¢",
    "€": "euro eur €",
    "£": "gbp £",
    "¥": "yen ¥",
    "°": "°",
    "rad": "radian rad",
    "mg": "milligram mg",
    "dm": "decimeter decimetre dm",
    "nm": "nanometer nanometre nm",
    "kj": "kilojoule kj",
    "v": "volt v",
    "qt": "quart qt",
    "pt": "pint pt",
    "acre": "acre",
    "ha": "hectare ha",
    "decade": "decade",
    "century": "century centuries",
    "n": "newton n",
    "j": "joule j",
    "w": "watt w",
    "mi/h": "mph",
    "km/h": "kph kmh kmph",
}
_CANONICAL = {word: unit for unit, words in _SYNONYMS.items() for word in words.split()}
_EXPONENT = r"(?:\s*\^\s*\{?\s*([0-9])\s*\}?)?"
_TEXT_UNIT = re.compile(rf"(.*?[^\s^_{{\\])\s*((?:\\text\s*\{{[^{{}}]*\}}\s*(?:/\s*)?){{1,4}}){_EXPONENT}", re.DOTALL)
_WORD_UNIT = re.compile(rf"(.*(?:[0-9)}}°!%]|\\pi))\s*([A-Za-z][A-Za-z. /]*){_EXPONENT}", re.DOTALL)
_MONEY = re.compile(r"([-+]?)\s*(\\\$|[€£¥])\s*(.+)|(.+?)\s*(\\\$|[¢€£¥])", re.DOTALL)
_BARE = frozenset(["cm", "mm", "km", "kg", "ft", "lb", "oz", "ml", "sq", "cu"])
"""Short units that count without \\text around them; a single letter is a variable."""
_AFTER_NUMBER = frozenset(["in", "mi", "yd", "hr", "gal"])
"""Those that count behind a plain number and a space only."""
_DOUBT = re.compile(
    r"\b(?:not?|maybe|possibly|perhaps|probably|either|neither|to|than|least|most|or|but|if|except|is|are|isn|wrong|incorrect|false"
    r"|hundreds?|dozens?|thousands?|(?:m|b|tr)illions?|lakhs?|crores?|half|halves|thirds|fourths?|fifths?|sixths?|eighths?|ninths?|tenths?"
    r"|hundredths?|thousandths?|factorial|plus|minus|below|above|point [a-z]+)\b",
    re.IGNORECASE,
)
"""Words after a number that take it back or change it."""
_MINUTES = re.compile(r"°\s*[0-9]")
_WORD = re.compile(r"([a-z]+|[$°¢€£¥])(?:\s*\^\s*([0-9]))?")
_PER = re.compile(r"/|\bper\b")
_BEHIND = {"squared": "2", "cubed": "3"}
_ORDER = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}


def split_unit(text: str) -> tuple[str, str]:
    r"""The answer without its unit, and the unit in one spelling; "" where there is none or it names things counted. A percent sign stays.

    >>> split_unit(r"15\text{ cm}^2"), split_unit("18.90 dollars"), split_unit(r"7\text{ apples}"), split_unit("3x")
    (('15', 'cm^2'), ('18.90', '$'), ('7', ''), ('3x', ''))
    """
    if money := _MONEY.fullmatch(text):
        return f"{money[1] or ''}{money[3] or money[4]}", canonical((money[2] or money[5]).strip("\\"), "")
    match = _TEXT_UNIT.fullmatch(text) or _bare_unit(text)
    if match is None or not re.search(r"[0-9A-Za-z)}]", match[1]) or _DOUBT.search(match[2]):
        return (text, "%") if text.endswith("%") else _without_degrees(text)
    value, words = match[1].strip(), re.sub(r"\\text|[{}]", " ", match[2])
    if value.endswith("°"):  # of Celsius, of Fahrenheit
        return value[:-1], f"°{words.strip().lower()[:1]}"
    return value, canonical(words, match[3] or "")


def _bare_unit(text: str) -> re.Match[str] | None:
    """A number with nothing but known units behind it, or, set off by a space, a longer word (`3 apples`)."""
    match = _WORD_UNIT.fullmatch(text)
    words = re.findall("[A-Za-z]+", match[2].lower()) if match else []
    if match is None or not words:
        return None
    spaced = text[match.end(1)] == " "
    short = _BARE | (frozenset("hsm") if "/" in match[2] else frozenset())
    if spaced and re.fullmatch(r"[0-9.,]+", match[1]):
        short |= _AFTER_NUMBER
    named = (FUNCTIONS | GREEK) & set(words)
    fit = not named and all((len(word) > 2 and _known(word)) or word in short or (spaced and len(word) > 3) for word in words)
    return match if fit else None


def _known(word: str) -> str:
    return _CANONICAL.get(word) or _CANONICAL.get(word.removesuffix("s")) or ("unit" if word in {"unit", "units", *_ORDER} else "")


def _without_degrees(text: str) -> tuple[str, str]:
    """Degree signs go, unless a trigonometric function needs to know of them."""
    if "°" not in text:
        return text, ""
    if re.search(r"sin|cos|tan|cot|sec|csc", text):
        return text.replace("°", r"\frac{\pi}{180}"), ""
    if _MINUTES.search(text):
        return text, ""  # degrees and minutes are read by nobody here
    return text.replace("°", ""), "°"


def canonical(words: str, exponent: str) -> str:
    """`square centimeters` and `cm^2` alike, `miles per hour` and `mph`; words that are no known unit count for nothing."""
    *above, last = _PER.split(words.lower())
    return "/".join([*(_measure(part, "") for part in above), _measure(last, exponent)]).strip("/")


def _measure(words: str, exponent: str) -> str:
    """Units with their powers, in one order; only the power where no more is said than `square units`. The exponent is the last one's."""
    factors: list[tuple[str, str]] = []
    order = ""
    for word, power in _WORD.findall(words):
        order = _ORDER.get(word, order)
        if word in _BEHIND and factors:
            factors[-1] = (factors[-1][0], _BEHIND[word])
        if word not in _ORDER and (unit := _known(word)):
            factors.append((unit.replace("unit", ""), power or order))
            order = ""
    if exponent or order:
        factors[-1:] = [(factors[-1][0] if factors else "", exponent or order)]
    return "·".join(sorted(f"{unit}^{power}" if power not in {"", "1"} else unit for unit, power in factors if unit or power))


def compatible(a: str, b: str, policy: Units = "optional") -> bool:
    """Whether two answers may be equal as far as their units go; "" is no unit."""
    if a == b or policy == "ignored":
        return True
    if "" in {a, b}:
        return policy == "optional" or "%" in {a, b}
    return (a[0] == "^" and b.endswith(a)) or (b[0] == "^" and a.endswith(b))
