"""R1's language consistency, by script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.language import Target, language

PROBLEM = Problem(id="t/0", source="t", split="test", question="?", gold="5")


def value(text: str, target: Target = "en") -> float:
    return language(Completion(text, ()), PROBLEM, target=target).value


@pytest.mark.parametrize(
    ("text", "target", "share"),
    [
        ("so there are five", "en", 1.0),
        ("so there are пять", "en", 0.75),
        ("поэтому их пять", "ru", 1.0),
        ("所以共有五个", "zh", 1.0),
        ("so 所以共", "zh", 0.75),  # one word, and three letters that count as one each
        ("それは五です", "ja", 1.0),
        ("それは五です", "zh", 1 / 6),  # only 五 is Han
        ("그래서 다섯", "ko", 1.0),
        ("لذلك خمسة", "ar", 1.0),
        ("इसलिए पाँच", "hi", 1.0),
        ("daher fünf naïve", "de", 1.0),
        ("daher fünf", "en", 1.0),  # a script doesn't tell English from German
    ],
)
def test_the_value_is_the_share_of_words_in_the_targets_script(text: str, target: Target, share: float) -> None:
    assert value(text, target) == share


@pytest.mark.parametrize(
    "text", [r"所以 $\frac{x}{2} = 3.5$", "所以 x = 5cm", "所以 sin θ", "三角形 ABC", r"\begin{align} 所以 \end{align}", "<b>所以</b> 5x"]
)
def test_mathematics_is_no_language(text: str) -> None:
    assert value(text, "zh") == 1.0


def test_only_the_chain_of_thought_counts() -> None:
    assert value("<think>so there are five</think>所以五", "en") == 1.0
    assert value(r"所以五 \boxed{five}", "zh") == 1.0


def test_foreign_words_in_a_formula_count() -> None:
    assert value(r"so it is $\text{所}$") == 0.75


@pytest.mark.parametrize("text", ["", "<think></think><answer>five</answer>", "3+4=7", "\\frac{1}{2}", "x y z"])
def test_a_chain_without_words_has_no_value(text: str) -> None:
    score = language(Completion(text, ()), PROBLEM)
    assert (score.value, score.reason) == (0.0, "no words in the chain of thought")


def test_the_reason_shows_a_word_of_another_script() -> None:
    assert language(Completion("so пять", ()), PROBLEM).reason == "1 of 2 words could be en, others not, such as 'пять'"


@given(st.text(max_size=300), st.sampled_from(["en", "zh", "ja", "ru", "hi"]))
def test_any_text_has_a_value(text: str, target: Target) -> None:
    assert 0 <= value(text, target) <= 1
