"""Weights, options, mistakes, and verifiers that fail."""

import pickle
from pathlib import Path
from typing import Literal

import pytest

from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import ConfigError, VerifierError
from reasoning_rl.recipes import load_config
from reasoning_rl.records import Completion, Problem, Task
from reasoning_rl.rewards.reward import Reward, check_gold


def problem(gold: str = "5", task: Task = "gsm8k") -> Problem:
    return Problem(id="t/0", source="t", split="test", question="2+3?", gold=gold, task=task, level="1")


def completion(text: str, tokens: int = 2) -> Completion:
    return Completion(text=text, token_ids=tuple(range(tokens)))


def from_file(tmp_path: Path, body: str, name: str = "mine") -> dict[str, VerifierConfig]:
    path = tmp_path / f"{name}.py"
    path.write_text(f"from reasoning_rl.records import Score\nfrom reasoning_rl.rewards.verifier import verifier\n{body}\n")
    return {f"{path}:{name}": VerifierConfig()}


def test_the_reward_is_the_weighted_sum_of_the_values() -> None:
    reward = Reward({"gsm8k": VerifierConfig(), "format": VerifierConfig(weight=0.25)})
    verdict = reward.verdict(completion("<think>2+3</think> <answer>5</answer>"), problem())
    assert verdict.reward == 1.25  # 1·1 + 0.25·1
    assert list(verdict.scores) == ["gsm8k", "format"]
    assert (verdict.correct, verdict.strict) == (True, True)
    assert reward.verdict(completion("5"), problem()).reward == 1.0


def test_an_answer_outside_the_required_format_is_correct_but_not_strictly() -> None:
    verdict = Reward({"gsm8k": VerifierConfig()}).verdict(completion("It is 5."), problem())
    assert (verdict.correct, verdict.strict) == (True, False)


def test_the_strict_option_rewards_the_required_format_only() -> None:
    reward = Reward({"gsm8k": VerifierConfig(options={"strict": True}), "math": VerifierConfig(options={"strict": True})})
    assert reward.verdict(completion("It is 5."), problem()).reward == 0
    assert reward.verdict(completion("#### 5"), problem()).reward == 1  # GSM8K's format, not MATH's
    assert reward.verdict(completion(r"\boxed{5}"), problem()).reward == 2


def test_answers_are_judged_though_no_verifier_of_the_recipe_does() -> None:
    verdict = Reward({"format": VerifierConfig()}).verdict(completion(r"\boxed{\frac{10}{2}}"), problem(task="math"))
    assert (verdict.reward, verdict.correct, list(verdict.scores)) == (0.0, True, ["format"])
    assert verdict.answer is not None
    assert (verdict.answer.verdict, verdict.answer.answer) == ("correct", r"\frac{10}{2}")


def test_the_judgement_is_of_the_answer_not_of_a_trl_function_that_failed(tmp_path: Path) -> None:
    rewards = from_file(tmp_path, "def mine(completions):\n    raise KeyError('gone')")
    verdict = Reward(rewards).verdict(completion("#### 7"), problem())
    assert [score.verdict for score in verdict.scores.values()] == ["error"]
    assert (verdict.judgement.verdict, verdict.judgement.answer, verdict.correct) == ("wrong", "7", False)


def test_the_first_verifier_of_the_recipe_that_judges_answers_gives_the_judgement() -> None:
    verdict = Reward({"format": VerifierConfig(), "math": VerifierConfig(), "gsm8k": VerifierConfig()}).verdict(completion("5"), problem())
    assert verdict.answer is verdict.scores["math"]


def test_all_mistakes_of_a_recipe_are_told_at_once() -> None:
    recipe = {
        "symbolc": VerifierConfig(),
        "fromat": VerifierConfig(),
        "length": VerifierConfig(options={"max_token": 5}),
        "math": VerifierConfig(),
    }
    with pytest.raises(VerifierError) as mistake:
        Reward(recipe)
    first, second, third = str(mistake.value).splitlines()
    assert first.startswith(
        "rewards.symbolc: no such verifier; "
        "known: cosine, format, gsm8k, language, length, math, process_model, repetition, reward_model, steps"
    )
    assert second.endswith("Did you mean 'format'?")
    assert third == "rewards.length.options.max_token: no such option; known: cache, max_tokens. Did you mean 'max_tokens'?"


def test_a_reward_survives_pickling() -> None:
    reward = pickle.loads(pickle.dumps(Reward({"length": VerifierConfig(options={"max_tokens": 8, "cache": 4})})))
    assert reward.verdict(completion("", tokens=6), problem()).reward == 0.5  # (8 − 6)/4


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        ("def mine(completion, problem):\n    raise KeyError('gone')", "error", "KeyError: 'gone'"),
        ("def mine(completion, problem):\n    raise MemoryError('full')", "too_large", "MemoryError: full"),
        ("def mine(completion, problem):\n    return Score(2.0)", "error", "the value 2.0 lies outside [0, 1]"),
        ("def mine(completion, problem):\n    return Score(float('nan'))", "error", "the value nan lies outside [0, 1]"),
        ("def mine(completion, problem):\n    return 1.0", "error", "a verifier returns a Score, this one returned 1.0"),
        ("def mine(completions):\n    return [float('inf')]", "error", "ValueError: the reward is inf"),
        ("def mine(completions):\n    return 1.0", "error", "TypeError: expected a list of one reward, got 1.0"),
    ],
)
def test_a_failing_verifier_is_recorded_and_ends_nothing(tmp_path: Path, body: str, outcome: str, reason: str) -> None:
    verdict = Reward({**from_file(tmp_path, body), "gsm8k": VerifierConfig()}).verdict(completion("5"), problem())
    score = next(iter(verdict.scores.values()))
    assert (score.value, score.verdict, score.reason) == (0.0, outcome, reason)
    assert (verdict.reward, verdict.correct) == (1.0, True)


def test_a_missing_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match=r"options\.depth: required"):
        Reward(from_file(tmp_path, "def mine(completion, problem, *, depth):\n    return Score(1.0)"))


def test_any_option_goes_where_any_is_taken(tmp_path: Path) -> None:
    name, _ = from_file(tmp_path, "def mine(completion, problem, **options):\n    return Score(options['share'])").popitem()
    assert Reward({name: VerifierConfig(options={"share": 0.5})}).verdict(completion(""), problem()).reward == 0.5


@pytest.mark.parametrize(
    ("gold", "task"), [("5", "gsm8k"), ("1,234", "gsm8k"), (r"\frac{1}{2}", "math"), (r"(2,\infty)", "math"), (r"\text{east}", "math")]
)
def test_a_good_gold_is_accepted(gold: str, task: Task) -> None:
    assert check_gold(problem(gold, task)) is None


@pytest.mark.parametrize(
    ("gold", "task", "reason"),
    [("", "math", "no_answer"), ("five", "gsm8k", "holds no number"), ("", "gsm8k", "no_answer"), ("}{", "math", "")],
)
def test_a_bad_gold_is_refused_with_a_reason(gold: str, task: Task, reason: str) -> None:
    refusal = check_gold(problem(gold, task))
    assert refusal is not None
    assert reason in refusal


@pytest.mark.parametrize(
    ("text", "gate", "reward"),
    [
        ("#### 5", "none", 1.0),
        ("#### 6", "none", 1.0),
        ("", "none", 1.0),
        ("#### 5", "answered", 1.0),
        ("#### 6", "answered", 1.0),
        ("", "answered", 0.0),
        ("#### 5", "correct", 1.0),
        ("#### 6", "correct", 0.0),
        ("", "correct", 0.0),
    ],
)
def test_a_gate_lets_the_value_through_by_the_answer(text: str, gate: Literal["none", "answered", "correct"], reward: float) -> None:
    # `length` is worth 1 for every completion as short as these
    verdict = Reward({"length": VerifierConfig(gate=gate)}).verdict(completion(text), problem())
    assert verdict.reward == reward
    assert verdict.scores["length"].value == 1.0  # recorded as it is


def test_a_gate_goes_by_the_recipes_own_judge_of_answers() -> None:
    strict = VerifierConfig(weight=0.0, options={"strict": True})
    reward = Reward({"gsm8k": strict, "length": VerifierConfig(gate="answered")})
    assert [reward.verdict(completion(text), problem()).reward for text in ("It is 5.", "#### 6")] == [0.0, 1.0]


def test_what_verifiers_prepare_is_done_once_with_their_options(tmp_path: Path) -> None:
    body = (
        "seen = []\ndef ready(*, depth): seen.append(depth)\n"
        "@verifier('mine', prepare=ready)\ndef mine(completion, problem, *, depth): return Score(1.0, reason=str(seen))"
    )
    name, _ = from_file(tmp_path, body).popitem()
    reward = Reward({name: VerifierConfig(options={"depth": 3}), "gsm8k": VerifierConfig()})
    reward.prepare()
    assert [reward.verdict(completion("5"), problem()).scores[name].reason for _ in range(2)] == ["[3]", "[3]"]


def test_all_that_cannot_be_prepared_are_told_at_once(tmp_path: Path) -> None:
    body = "def ready():\n    raise {}\n@verifier('{}', prepare=ready)\ndef {}(completion, problem): return Score(1.0)"
    first = from_file(tmp_path, body.format("OSError('no disk\\nat all')", "one", "one"), "one")
    second = from_file(
        tmp_path, "from reasoning_rl.errors import VerifierError\n" + body.format("VerifierError('no')", "two", "two"), "two"
    )
    with pytest.raises(VerifierError) as failure:
        Reward({**first, **second}).prepare()
    said = [line.split(": ", 1)[1] for line in str(failure.value).splitlines()]
    assert said == ["can't be prepared: OSError: no disk", "no"]


def test_a_gate_of_the_command_line_leaves_the_recipes_weight() -> None:
    config = load_config("cpu", ["rewards.format.gate=answered"])
    assert config.rewards["format"] == VerifierConfig(weight=0.1, gate="answered")


def test_an_unknown_gate_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"rewards\.format\.gate: found 'right'; it should be 'none', 'answered' or 'correct'"):
        load_config("cpu", ["rewards.format.gate=right"])
