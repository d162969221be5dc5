r"""Finding the gold answer in a worked solution: GSM8K's `####` and MATH's last `\boxed{}`."""

import re

_NUMBER = re.compile(r"(?P<sign>[-+−]?)\s*[$€£]?\s*(?P<digits>\d[\d,]*(?:\.\d+)?|\.\d+)(?P<over>/\d+)?(?:\s*[A-Za-z%°][^\d]*|\.)?")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")


def after_hashes(text: str) -> str | None:
    r"""What follows the last `####`, up to the end of its line; None where there is none.

    >>> after_hashes("48/2 = <<48/2=24>>24\n#### 1,024 ")
    '1,024'
    """
    _, marker, rest = text.rpartition("####")
    return rest.strip().split("\n")[0].strip() if marker else None


def gsm8k_number(text: str) -> str | None:
    """A GSM8K gold without currency, thousands separators and unit; None when it is not one number.

    >>> gsm8k_number("$1,024.50"), gsm8k_number("18 apples"), gsm8k_number("3 or 4")
    ('1024.50', '18', None)
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    sign = "" if found["sign"] in {"", "+"} else "-"
    return sign + found["digits"].replace(",", "") + (found["over"] or "")


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{…}` whose braces close (`\boxed 5` counts as well); None where there is none.

    >>> last_boxed(r"so \boxed{1}, no: \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    for box in reversed(list(_BOX.finditer(text))):
        content = _braced(text, box.end()) if text.startswith("{", box.end()) else _unbraced(text, box.end())
        if content:
            return content
    return None


def _braced(text: str, start: int) -> str | None:
    depth = 0
    position = start
    while position < len(text):
        character = text[position]
        if character == "\\":  # an escaped brace is part of the answer
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[start + 1 : position].strip()
        position += 1
    return None


def _unbraced(text: str, start: int) -> str | None:
    return re.split(r"[\s$]", text[start:], maxsplit=1)[0].strip() or None
