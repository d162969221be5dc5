"""The policies of equality, each against the default."""

import pytest

from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards import verify
from reasoning_rl.rewards.competition import competition
from reasoning_rl.rewards.equality.equivalence import equivalent
from reasoning_rl.rewards.equality.rules import Rules


def equal(answer: str, gold: str, rules: Rules) -> bool:
    both = {equivalent(answer, gold, rules).outcome, equivalent(gold, answer, rules).outcome}
    assert len(both) == 1, "a policy has no direction"
    return both == {"correct"}


@pytest.mark.parametrize(
    ("answer", "gold", "rules", "by_default", "by_rules"),
    [
        (r"50\%", "50", Rules(percent="value"), True, False),
        (r"50\%", "0.5", Rules(percent="value"), True, True),
        (r"15\text{ cm}", "15", Rules(units="required"), True, False),
        (r"15\text{ cm}", r"15\text{ centimeters}", Rules(units="required"), True, True),
        (r"15\text{ cm}", r"15\text{ m}", Rules(units="ignored"), False, True),
        (r"50\%", "0.5", Rules(units="required"), True, True),
        ("3.14", r"\pi", Rules(tolerance=1e-3), False, True),
        ("3.14", r"\pi", Rules(tolerance=1e-4), False, False),
        ("1.0004", "1", Rules(tolerance=1e-3), False, True),
        ("(1.0004, 2)", "(1, 2)", Rules(tolerance=1e-3), False, True),
        ("1.0004x", "x", Rules(tolerance=1e-3), False, True),
        ("2, 1", "1, 2", Rules(order="all"), True, False),
        (r"\{2, 1\}", r"\{1, 2\}", Rules(order="all"), True, False),
        ("(2, 1)", "(1, 2)", Rules(order="none"), False, True),
        ("(2, 3)", "(1, 2)", Rules(order="none"), False, False),
        (r"\$5", "5", Rules(units="required"), True, False),
        ("1.0005, 1.0", "1.0, 1.0014", Rules(tolerance=1e-3), False, True),
        (r"x \le 1.0004", r"x \le 1", Rules(tolerance=1e-3), False, True),
        ("f(x)=1.0004x", "f(t)=t", Rules(tolerance=1e-3), False, True),
    ],
)
def test_a_policy_changes_what_it_names(answer: str, gold: str, rules: Rules, by_default: bool, by_rules: bool) -> None:
    assert equal(answer, gold, Rules()) == by_default
    assert equal(answer, gold, rules) == by_rules


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_tolerance_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="tolerance: found"):
        Rules(tolerance=share)


def test_a_recipe_reaches_them_through_the_verifier() -> None:
    problem = Problem(id="own/train/0", source="own", split="train", question="?", gold=r"\pi")
    completion = Completion(text=r"\boxed{3.14}", token_ids=())
    assert competition(completion, problem).verdict == "wrong"
    assert competition(completion, problem, tolerance=0.001).verdict == "correct"


def test_verify_takes_them_too() -> None:
    assert verify(r"\boxed{15\text{ m}}", r"15\text{ cm}", rules=Rules(units="ignored")).value == 1
