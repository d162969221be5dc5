"""A process verifier by rule: what is checked, what is right, and where a step ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.records import Completion, Problem, Score, StepScore
from reasoning_rl.rewards.steps import MAX_SIDES, steps
from reasoning_rl.rollout.judge import Judge

PROBLEM = Problem(id="t/0", source="t", split="test", question="Ann has 3 apples and buys 4.", gold="7")


def judged(text: str, *, grounded: bool = False) -> Score:
    return steps(Completion(text, ()), PROBLEM, grounded=grounded)


@pytest.mark.parametrize(
    "text",
    [
        "3 + 4 = 7", "<<3+4=7>>7", "7 = 3+4", "3 × 4 = 12", "3 · 4 = 12", "3 x 4 = 12", "12 ÷ 4 = 3", "-3 + 5 = 2", "(2+3)*4 = 20",
        "2^3 = 8", "2³ = 8", "2**3 = 8", "5! = 120", r"3 \times 4 = 12", r"3 \cdot 4 = 12", r"12 \div 4 = 3", r"\sqrt{16} + 1 = 5",
        r"\frac{1}{2} + \frac{1}{3} = \frac{5}{6}", "1 1/2 + 1 = 2.5", "$1,200 + $300 = $1,500", "€3 + €4 = €7", r"14{,}000 + 1 = 14{,}001",
        "25% of 80 = 20", "20/50 = 40%", "20/50*100 = 40%", "3+4 = 7 = 2*3+1", "x = 3 + 4 = 7", "30° + 60° = 90°", r"so \(3+4=7\).",
        r"3+4 = \boxed{7}", "a total of 3+4=7!", "10/3 = 3.33", "10/3 = 3.3", "1/3 = 33%", "2/3 = 66.7%", "10/3 ≈ 3", "37*27 ≈ 1000",
        "3.33 = 10/3", "10/3*3 ≈ 3.33*3 = 9.99",
    ],
)  # fmt: skip
def test_a_true_equation_is_a_right_step(text: str) -> None:
    score = judged(text)
    assert [step.value for step in score.steps] == [1.0], score.reason


@pytest.mark.parametrize(
    "text",
    [
        "3 + 4 = 8", "<<3+4=8>>8", "<<3+4=7>>8 since 3+4 = 8", "10/3 = 3.34", "10/3 = 3", "2+3 = 5*2 = 10", "1/8 = 0.2", "25% of 80 = 25",
        "3 x 4 = 13", r"\frac{1}{2} \times 6 = 4", "37*24 ≈ 1000", "1/100 = 0.0", "3+4 = 7 = 2*4", "5*1 = 6", "1 + 1 = 1",
    ],
)  # fmt: skip
def test_a_false_equation_is_a_wrong_step(text: str) -> None:
    score = judged(text)
    assert [step.value for step in score.steps] == [0.0], score.reason


@pytest.mark.parametrize(
    "text",
    [
        "x + 3 = 5", "3x = 6", "f(2) + 3 = 7", "x_1 + 2 = 3", "3 apples + 4 = 7", "total - 3 = 4 - 1 + 9", "half of 10 + 2 = 7",
        "5 choose 2 + 1 = 11", "sqrt(16) + 1 = 5", "gcd(12, 8) = 4", "10:30 + 2 = 12:30", "50 + 20% = 60", "3,5 + 2 = 5,5", "5 = 500",
        "10 + 7 = 2 (mod 5)", "3 + 4 = ?", "1/0 = 3", "0^0 = 1", r"\sqrt{2} + 1 = 2.41", "9^9^9^9 = 3", "3 + 4 != 8", "3 / 1/2 = 6",
        "5 * 3 = 15 thousand", "1/3 = 0.333...", "3+4 = x = 8", "10/3 ≈ 7/2", "", "=", "five",
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_left_alone(text: str) -> None:
    score = judged(text)
    assert (score.value, score.steps, score.reason) == (0.0, (), "no equation to check")


@pytest.mark.parametrize("text", ["1 = 1", "2+3 = 2+3", "2+3 = 3+2", "5+0 = 5", "1*5 = 5", "5/1 = 5", "5 - 0 = 5", "5^1 = 5"])
def test_what_says_nothing_earns_nothing(text: str) -> None:
    assert judged("\n".join([text] * 50)).steps == ()


def test_what_was_said_before_earns_nothing() -> None:
    assert [step.reason for step in judged("3+4=7\n3 + 4 = 7\n4+3=7\n<<3+4=7>>7").steps] == ["3+4 = 7"]


def test_a_false_statement_is_not_hidden_by_a_true_one_of_the_same_numbers() -> None:
    assert judged("3+4=7\n3+7=4").value == 0.5


def test_a_step_is_a_line_or_sentence_and_ends_behind_it() -> None:
    text = "<think>Ann has 3. She buys 4, so 3+4=7 apples. Then 7*2=15; now\n15-1 = 14  \nDone.</think>3+3=7"
    score = judged(text)
    assert [(text[: step.end].rsplit("\n", maxsplit=1)[-1], step.value) for step in score.steps] == [
        ("<think>Ann has 3. She buys 4, so 3+4=7 apples.", 1.0),
        ("<think>Ann has 3. She buys 4, so 3+4=7 apples. Then 7*2=15;", 0.0),
        ("15-1 = 14", 1.0),
    ]
    assert (score.value, score.reason) == (2 / 3, "2 of 3 steps right; first wrong: 7*2 = 15")


def test_a_step_is_wrong_if_one_of_its_equations_is() -> None:
    assert [step.value for step in judged("3+4=7, then 7*2=15").steps] == [0.0]


def test_a_line_that_begins_with_an_equals_sign_goes_on_from_the_one_before() -> None:
    text = "2+3\n= 5\n" + r"\begin{align} 2*3 &= 6 \\ &= 7 - 1 \\ &= 8 \end{align}"
    assert [step.value for step in judged(text).steps] == [1.0, 1.0, 1.0, 0.0]


def test_grounded_counts_only_what_builds_on_the_question() -> None:
    # 3 and 4 are the question's, 7 comes of them; 20+30 is idle, and so is what follows from it
    score = judged("20+30=50\n50*2=100\n3+4=7\n7*2=14\n14+1=16", grounded=True)
    assert [(step.reason, step.value) for step in score.steps] == [("3+4 = 7", 1.0), ("7*2 = 14", 1.0), ("14+1 = 16", 0.0)]


@pytest.mark.parametrize(
    "text",
    [
        "=" * 100_000, "1=" * 50_000, "(" * 100_000 + "=1", "1+{" * 33_000 + "=", "<<" * 50_000, "<<1+1" * 20_000, "9^" * 50_000 + "=1",
        "3" + "!" * 100_000 + "=1", "\\" * 100_000, r"\text{" * 16_000, "x of " * 20_000, "1," * 50_000 + "=1", "-" * 100_000 + "1+1=2",
        " " * 100_000, "\n=" * 50_000, "**" * 50_000, "a" * 100_000, "1" * 100_000 + "+1=2", "=".join(f"{n}!+{n}" for n in range(20_000)),
        "\n".join(f"9^{n}+1={n}" for n in range(3000, 13_000)), "<think>" * 15_000, ". " * 50_000, "1 and " * 16_000,
    ],
    ids=range(23),
)  # fmt: skip
def test_hostile_texts_earn_nothing(text: str) -> None:
    assert judged(text).value == 0.0


def test_the_work_is_bounded() -> None:
    score = judged("\n".join(f"{n}+{n + 1}={2 * n + 1}" for n in range(2, 10_000)))
    assert len(score.steps) == MAX_SIDES / 2


@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from([*"0123456789+-*/^()=.,% \n!x$&", r"\frac", "{", "}", "<<", ">>", "≈", "of"])).map("".join),
    )
)
def test_any_text_has_a_value_and_ordered_steps_within_it(text: str) -> None:
    score = judged(text)
    ends = [step.end for step in score.steps]
    assert 0 <= score.value <= 1
    assert all(0 < end <= len(text) for end in ends)
    assert ends == sorted(set(ends))


@given(st.integers(2, 999), st.integers(2, 999), st.sampled_from("+-*"), st.integers(-5, 5))
def test_a_sum_is_right_exactly_where_python_agrees(a: int, b: int, sign: str, slip: int) -> None:
    exact = {"+": a + b, "-": a - b, "*": a * b}[sign]
    assert judged(f"so {a} {sign} {b} = {exact + slip}.").value == float(slip == 0)


def test_steps_come_back_from_the_process_that_judges() -> None:
    with Judge({"steps": VerifierConfig()}, JudgeConfig()) as judge:
        (verdict,) = judge.judge([(Completion("3+4=7", (1,)), PROBLEM)])
    assert verdict.scores["steps"].steps == (StepScore(5, 1.0, "3+4 = 7"),)
