import subprocess
import sys
from collections.abc import Iterable, Sequence

import pytest

from reasoning_rl.errors import EngineError
from reasoning_rl.records import Completion, Problem, Prompt, Verdict
from reasoning_rl.rollout.groups import Heard, judged

PROMPTS = [Prompt(Problem(name, "t", "t", "?", "1"), "?", (1,)) for name in ("a", "b")]


class ByLength:
    """As many tokens, as much reward."""

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        return [Verdict(float(len(completion.token_ids))) for completion, _ in items]


def test_each_prompt_keeps_its_answers_and_their_verdicts() -> None:
    answers = [[Completion("x", (1,)), Completion("xy", (1, 2))], [Completion("xyz", (1, 2, 3))]]
    first, second = judged(PROMPTS, answers, ByLength())
    assert (first.prompt, first.rewards, second.rewards) == (PROMPTS[0], (1.0, 2.0), (3.0,))


def test_an_answer_without_tokens_is_the_engines_error_and_names_its_problem() -> None:
    with pytest.raises(EngineError, match=r"problem 'b': answer 1 of the engine has no token"):
        judged(PROMPTS, [[Completion("x", (1,))], [Completion("x", (1,)), Completion("", ())]], ByLength())


class Pile:
    """A verdict is the number of its item's problem and the text, as a number."""

    def __init__(self) -> None:
        self.items: list[tuple[Completion, Problem]] = []

    def add(self, items: Iterable[tuple[Completion, Problem]]) -> None:
        self.items += items

    def verdicts(self) -> list[Verdict]:
        return [Verdict(10.0 * "ab".index(problem.id) + float(completion.text)) for completion, problem in self.items]


ANSWERS = [[Completion(str(row), (1,)) for row in range(3)] for _ in PROMPTS]
PLACES = [(index, row) for index in range(2) for row in range(3)]


@pytest.mark.parametrize("told", [[], PLACES, PLACES[::-1], [(1, 2), (0, 1)], [(1, 0)]], ids=len)
def test_every_answer_keeps_its_verdict_whichever_are_told_early(told: list[tuple[int, int]]) -> None:
    pile = Pile()
    heard = Heard(PROMPTS, pile)
    for index, row in told:
        heard.hear(index, row, ANSWERS[index][row])
    groups = heard.groups(ANSWERS)
    assert [group.rewards for group in groups] == [(0.0, 1.0, 2.0), (10.0, 11.0, 12.0)]
    assert [group.completions for group in groups] == [tuple(row) for row in ANSWERS]
    assert len(pile.items) == 6  # none is judged twice


def test_an_empty_answer_is_an_error_whether_or_not_it_was_told_early() -> None:
    answers = [[Completion("1", (1,))], [Completion("", ())]]
    for told in ([], [(1, 0)]):
        heard = Heard(PROMPTS, Pile())
        for index, row in told:
            heard.hear(index, row, answers[index][row])
        with pytest.raises(EngineError, match=r"problem 'b': answer 0 of the engine has no token"):
            heard.groups(answers)


def test_groups_need_no_torch() -> None:
    code = "import sys, reasoning_rl.rollout.groups; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
