"""Text of any origin made fit for a page."""

from collections.abc import Mapping

from reasoning_rl.files import storable

CONTROLS: Mapping[int, int] = {code: 0x2400 + code for code in range(32) if code not in {9, 10, 13}} | {127: 0x2421}
"""Characters that no page may hold, and the signs that stand for them."""


def printable(text: str) -> str:
    r"""What UTF-8 and HTML can hold: half a surrogate pair becomes a question mark, a control character its sign.

    >>> printable("a\ud800b\x00")
    'a?b␀'
    """
    return storable(text).translate(CONTROLS)


def shortened(text: object, limit: int) -> str:
    r"""At most about `limit` characters: the beginning and the end, where the answer stands, with a note of what is left out between.

    >>> shortened("x" * 1000 + "end", 40)
    'xxxxxxxxxxxxxxxxxxxx\n[… 963 characters left out …]\nxxxxxxxxxxxxxxxxxend'
    """
    whole = str(text)
    if len(whole) <= limit:
        return whole
    head, tail = whole[: limit // 2], whole[len(whole) - limit // 2 :]
    return f"{head}\n[… {len(whole) - len(head) - len(tail):,} characters left out …]\n{tail}"
