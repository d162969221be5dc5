r"""Where the chain of thought lies in a completion: what process, language and the like are judged on."""

_OPEN, _CLOSE = "<think>", "</think>"
_ANSWERS = ("<answer>", r"\boxed", "####")
"""How an answer begins where no think tag says where the thinking ends; the first of them that occurs, at its last place."""


def thought(text: str, *, with_answer: bool = False) -> tuple[int, int]:
    r"""Start and end of the chain of thought: inside the think tags, else all before the answer. Empty where there is none.

    A block that never closes reaches to the end; one whose opening tag stands in the prompt begins at the start.
    `with_answer`: without tags it is the whole text.

    >>> text = r"<think>2+3</think> It is \boxed{5}."
    >>> text[slice(*thought(text))]
    '2+3'
    """
    opened, closed = text.find(_OPEN), text.rfind(_CLOSE)
    if opened < 0 and closed < 0:
        marks = () if with_answer else _ANSWERS
        return 0, next((at for mark in marks if (at := text.rfind(mark)) >= 0), len(text))
    start = opened + len(_OPEN) if opened >= 0 and (closed < 0 or opened < closed) else 0
    return start, closed if closed >= 0 else len(text)
