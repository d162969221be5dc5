"""Functions written for verl, unchanged."""

from pathlib import Path

import pytest

from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.reward import Reward

PROBLEM = Problem(id="t/0", source="gsm8k", split="test", question="2+3?", gold="5", solution="2+3=5", task="gsm8k")
SIGNATURE = "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    "


def score(tmp_path: Path, code: str, **options: str | float) -> Score:
    path = tmp_path / "verl_style.py"
    path.write_text(code)
    name = f"{path}:compute_score"
    return Reward({name: VerifierConfig(options=dict(options))}).verdict(Completion("#### 5", (1,)), PROBLEM).scores[name]


@pytest.mark.parametrize(
    ("body", "value", "reason"),
    [
        ("return float(ground_truth in solution_str)", 1.0, ""),
        ("return ground_truth in solution_str", 1.0, ""),
        ("return -1", -1.0, ""),
        ("return {'score': -1.0, 'acc': False, 'pred': '5'}", -1.0, "acc False, pred 5"),
        ("return float(data_source == 'gsm8k')", 1.0, ""),
        ("return float({'index': 't/0', 'split': 'test', 'question': '2+3?'}.items() <= extra_info.items())", 1.0, ""),
        ("import numpy; return numpy.float32(0.5)", 0.5, ""),
    ],
)
def test_a_number_or_a_dict_with_a_score_is_taken_as_it_is(tmp_path: Path, body: str, value: float, reason: str) -> None:
    found = score(tmp_path, SIGNATURE + body)
    assert (found.value, found.reason, found.verdict) == (value, reason, "scored")


@pytest.mark.parametrize(
    "signature",
    ["solution_str, ground_truth", "solution_str, ground_truth, **kwargs", "data_source, solution_str, ground_truth, extra_info, **kwargs"],
)
def test_it_is_given_the_arguments_it_names(tmp_path: Path, signature: str) -> None:
    assert score(tmp_path, f"def compute_score({signature}):\n    return float(solution_str == '#### ' + ground_truth)").value == 1.0


def test_the_data_source_and_its_own_keywords_are_options(tmp_path: Path) -> None:
    code = "def compute_score(data_source, solution_str, ground_truth, scale=1.0):\n    return scale * (data_source == 'openai/gsm8k')"
    assert score(tmp_path, code, data_source="openai/gsm8k", scale=0.25).value == 0.25


def test_an_unknown_option_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match=r"options\.data_sorce: no such option; known: data_source\. Did you mean 'data_source'\?"):
        score(tmp_path, SIGNATURE + "return 0.0", data_sorce="x")


@pytest.mark.parametrize(
    "body", ["return None", "return [1.0]", "return {'acc': 1.0}", "return float('nan')", "return '1.0'", "raise KeyError('x')"]
)
def test_anything_else_is_an_error_with_no_value(tmp_path: Path, body: str) -> None:
    found = score(tmp_path, SIGNATURE + body)
    assert (found.value, found.verdict) == (0.0, "error")
