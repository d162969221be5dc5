"""Objectives by name, with a recipe's settings in place of their own."""

from pathlib import Path

import pytest

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.errors import ConfigError
from reasoning_rl.objectives import OBJECTIVES, build
from reasoning_rl.objectives.policy_gradient import Clip, PolicyGradient


def built(config: ObjectiveConfig) -> PolicyGradient:
    objective = build(config, max_tokens=64)
    assert isinstance(objective, PolicyGradient)
    return objective


def test_grpo_is_deepseekmaths() -> None:
    grpo = built(ObjectiveConfig())
    assert (grpo.advantage.__name__, grpo.weight.__name__, grpo.divergence.__name__) == ("standardized", "per_sequence", "k3")
    assert (grpo.kl, grpo.clip) == (0.04, Clip(0.2, 0.2))


def test_preset_of_deepseekmath_is_the_row_itself() -> None:
    assert built(ObjectiveConfig(preset="deepseekmath")) == built(ObjectiveConfig())


def test_preset_of_r1_clips_at_ten() -> None:
    r1 = built(ObjectiveConfig.model_validate({"preset": "r1_zero"}))
    assert (r1.kl, r1.clip) == (0.001, Clip(10, 10))


def test_settings_win_over_the_row_one_by_one() -> None:
    assert built(ObjectiveConfig(kl=0)).kl == 0
    assert built(ObjectiveConfig(kl=0)).clip == Clip(0.2, 0.2)
    assert built(ObjectiveConfig(clip_high=0.28)).clip == Clip(0.2, 0.28)
    assert built(ObjectiveConfig(clip_low=3)).clip == Clip(3, 0.2)


def test_budget_is_the_most_tokens_of_an_answer() -> None:
    assert built(ObjectiveConfig(name="dr_grpo")).budget == 64


def test_dr_grpo_needs_no_reference() -> None:
    assert built(ObjectiveConfig(name="dr_grpo")).needs == frozenset()


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"objective\.name: no such objective; known: dr_grpo, grpo\. Did you mean 'grpo'\?"):
        build(ObjectiveConfig(name="grp0"), max_tokens=64)


def test_every_row_can_be_built() -> None:
    for name in OBJECTIVES.names():
        assert build(ObjectiveConfig(name=name), max_tokens=64).needs <= {"reference"}


OWN = """
from reasoning_rl.objectives.advantages import leave_one_out
from reasoning_rl.objectives.policy_gradient import Clip, PolicyGradient
from reasoning_rl.objectives.weights import per_token

row = PolicyGradient(leave_one_out, per_token, Clip(0.2, 0.28))

class Imitation:
    needs = frozenset()
    def arrange(self, groups): return []
    def loss(self, logp_BT, entropy_BT, batch): return None

other = Imitation()
wrong = 7
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def test_row_of_your_own_comes_from_a_file_and_takes_settings(own_file: Path) -> None:
    mine = built(ObjectiveConfig(name=f"{own_file}:row", kl=0.1))
    assert (mine.kl, mine.clip, mine.advantage.__name__) == (0.1, Clip(0.2, 0.28), "leave_one_out")


def test_objective_of_another_kind_comes_as_it_is(own_file: Path) -> None:
    assert type(build(ObjectiveConfig(name=f"{own_file}:other"), max_tokens=64)).__name__ == "Imitation"


def test_setting_that_an_objective_has_not_is_refused(own_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"objective\.clip_low: .*:other has no such setting"):
        build(ObjectiveConfig(name=f"{own_file}:other", clip_low=0.1), max_tokens=64)


def test_thing_that_is_no_objective_is_refused(own_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"objective\.name: .*:wrong is of type int; an objective has needs, arrange\(\) and loss\(\)"):
        build(ObjectiveConfig(name=f"{own_file}:wrong"), max_tokens=64)
