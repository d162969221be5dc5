"""N-gram repetition (Yeo et al. 2025, arXiv:2502.03373, appendix C.2, as a reward of the whole text): value = distinct n-grams / n-grams.

It is 1 + R for the usual penalty R = −(1 − distinct/all). The paper punishes each repeated 40-gram of tokens where it stands instead.
"""

from typing import Annotated

from pydantic import Field

from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier
from reasoning_rl.rewards.words import spoken_words


@verifier("repetition")
def repetition(completion: Completion, _problem: Problem, *, n: Annotated[int, Field(ge=1, le=100)] = 3) -> Score:
    """Share of distinct n-grams of words, without regard to case. Fewer than n words have no n-gram and no value: silence is no virtue.

    Words stand between spaces. Of scripts without spaces (Chinese, Japanese, Thai …) each letter is one, so there a larger n is in place;
    a run of more than 32 letters counts as several. A long text repeats small n-grams by nature: compare within a group, not with 1.
    """
    words = spoken_words(completion.text)
    total = len(words) - n + 1
    if total < 1:
        return Score(0.0, reason=f"{len(words)} words, no {n}-gram")
    distinct = len(set(zip(*(words[start:] for start in range(n)), strict=False)))
    return Score(distinct / total, reason=f"{distinct} distinct of {total} {n}-grams")
