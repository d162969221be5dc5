"""One judgement, explained: find the answer, compare it with the gold, say what was done."""

import re
import time
from dataclasses import replace

from reasoning_rl.records import Score
from reasoning_rl.rewards.answer import Found, find_answer
from reasoning_rl.rewards.equality.equivalence import Match, equivalent
from reasoning_rl.rewards.equality.form import JOINTS
from reasoning_rl.rewards.equality.number import read_number
from reasoning_rl.rewards.equality.rules import DEFAULT, Rules
from reasoning_rl.rewards.equality.split import enclosed, split_at
from reasoning_rl.rewards.equality.tidy import tidy

_NUMERAL = re.compile(r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|-?\.[0-9]+")

_TAKEN_BACK = re.compile(
    r"\b(?:not?|never|neither|than|least|most|wrong|incorrect|about|up to|under|over|below|above|between|either|or|maybe|perhaps|probably"
    r"|hundred|dozen|thousand|(?:m|b|tr)illion|half|twice|double|triple|times|squared|cubed|minus|plus|negative|step|part|case"
    r"|zero|one|two|three|four|five|six|seven|eight|nine|ten)\b|n't",
    re.IGNORECASE,
)
"""Words by which the number beside them is not what the answer says, or not alone."""
_CALCULATES = re.compile(r"[\\^_!/:+*<>|√π]|-\s*\(?#|#[A-Za-z(]")
"""Signs that do something to the number, written as #."""

MAX_CANDIDATES, MAX_LISTED = 20, 1000
"""Members, and characters, of an answer among which the gold is looked for."""


def verify(completion: str, gold: str, task: str = "math", rules: Rules = DEFAULT) -> Score:
    r"""Judge a completion against its gold answer.

    `task`: `gsm8k`, whose golds are plain numbers; anything else follows the rules of `math`. `rules`: policies for percent, units,
    tolerance and order. The Score's `value` is 1 or 0, `strict` the same with only the required format counted; `verdict`, `reason` and
    `method` say why.

    Safe for any text: bounded in time and memory, nothing is executed, nothing raised.

    >>> verify(r"Half of it, so \boxed{\frac{1}{2}}.", "0.5").verdict
    'correct'
    >>> verify(r"\boxed{3.14}", r"\pi", rules=Rules(tolerance=0.001)).value
    1.0
    """
    start = time.perf_counter()
    for name, text in (("completion", completion), ("gold", gold)):
        if not isinstance(text, str):
            return Score(0.0, "error", f"{name}: found {text!r:.80} ({type(text).__name__}); text is accepted", strict=0.0)
    try:
        score = _judged(find_answer(completion, task), gold, task, rules)
    except Exception as failure:  # noqa: BLE001  # a bug here must neither end a run nor look like a weak model; tests and fuzzing look for it
        score = Score(0.0, "error", f"{type(failure).__name__}: {failure}"[:500], gold=gold, strict=0.0)
    return replace(score, seconds=time.perf_counter() - start)


def _judged(found: Found | None, gold: str, task: str, rules: Rules) -> Score:
    if found is None:
        return Score(0.0, "no_answer", "no answer was found", gold=gold, strict=0.0)
    match = _compared(found, gold, task, rules)
    value = float(match.outcome == "correct")
    reason = f"{match.reason} (answer from: {found.place})"
    return Score(value, match.outcome, reason, answer=found.text, gold=gold, method=match.method, strict=value if found.strict else 0.0)


def _compared(found: Found, gold: str, task: str, rules: Rules) -> Match:
    match = equivalent(found.text, gold, rules)
    if match.outcome not in {"wrong", "unparsable"}:
        return match
    if task == "gsm8k" and _same_only_number(found.text, gold):
        return Match("correct", "number", "the only number of the answer equals the gold")
    return _as_candidates(found, gold, match, rules)


def _same_only_number(answer: str, gold: str) -> bool:
    """GSM8K's golds are plain numbers: an answer in words with a single number in it says that number."""
    said, wanted = tidy(answer).replace(r"\text", " "), read_number(tidy(gold))
    numbers = [read_number(numeral) for numeral in _NUMERAL.findall(said)]
    return wanted is not None and numbers == [wanted] and not _CALCULATES.search(_NUMERAL.sub("#", said)) and not _TAKEN_BACK.search(answer)


def _as_candidates(found: Found, gold: str, match: Match, rules: Rules) -> Match:
    """An answer that offers the gold among others hedges; one that offers it in two spellings (`15 39/40 or 639/40`) doesn't."""
    parts = found.alternatives or _candidates(tidy(found.text)[:MAX_LISTED])
    if len(parts) < 2:
        return match
    matches = [
        equivalent(part, gold, rules, by_symbols=False) for part in parts[:MAX_CANDIDATES] if found.alternatives or _NUMERAL.search(part)
    ]
    if not any(each.outcome == "correct" for each in matches):
        return match
    if r"\or" in tidy(found.text) and len(matches) == len(parts) and all(each.outcome == "correct" for each in matches):
        return Match("correct", matches[0].method, "every candidate equals the gold")
    return Match("hedged", match.method, "the gold is one of several candidates")


def _candidates(text: str) -> list[str]:
    """What a list or set offers, brackets around the whole of it aside."""
    inside = enclosed(text)
    return [part for _, part in split_at(inside[1] if inside else text, JOINTS) if part]
