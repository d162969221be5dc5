import subprocess
import sys
from collections.abc import Sequence

import pytest

from reasoning_rl.errors import EngineError
from reasoning_rl.records import Completion, Problem, Prompt, Verdict
from reasoning_rl.rollout.groups import judged

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


def test_groups_need_no_torch() -> None:
    code = "import sys, reasoning_rl.rollout.groups; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
