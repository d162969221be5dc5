"""Objectives by name, with a recipe's settings in place of their own."""

from math import inf
from pathlib import Path
from typing import get_args

import pytest

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.errors import ConfigError
from reasoning_rl.objectives import OBJECTIVES, build
from reasoning_rl.objectives.objective import Need
from reasoning_rl.objectives.policy_gradient import PolicyGradient
from reasoning_rl.objectives.surrogates import Clip


def built(config: ObjectiveConfig) -> PolicyGradient:
    objective = build(config, max_tokens=64)
    assert isinstance(objective, PolicyGradient)
    return objective


def functions(objective: PolicyGradient) -> tuple[str, ...]:
    return tuple(choice.__name__ for choice in (objective.baseline, objective.ratio, objective.surrogate, objective.weight))


@pytest.mark.parametrize(
    ("name", "choices", "settings"),
    [
        ("grpo", "centered token_ratio clipped per_sequence", {"kl": 0.04, "clip": Clip(0.2, 0.2), "scale": "group"}),
        ("grpo_process", "centered token_ratio clipped per_sequence", {"kl": 0.04, "supervision": "process", "outcome_step": True}),
        ("dr_grpo", "centered token_ratio clipped per_budget", {"kl": 0, "clip": Clip(0.2, 0.2), "scale": "none", "budget": 64}),
        ("dapo", "centered token_ratio clipped per_token", {"kl": 0, "clip": Clip(0.2, 0.28), "mask_truncated": True}),
        ("gspo", "centered sequence_ratio clipped per_sequence", {"kl": 0, "clip": Clip(3e-4, 4e-4)}),
        ("gspo_token", "centered sequence_token_ratio clipped per_sequence", {"kl": 0, "clip": Clip(3e-4, 4e-4)}),
        ("cispo", "centered token_ratio reweighted per_token", {"kl": 0, "clip": Clip(inf, 4)}),
        ("rloo", "leave_one_out token_ratio score per_answer", {"kl": 0.05, "kl_in": "reward", "scale": "none"}),
        ("reinforce", "unchanged token_ratio score per_answer", {"kl": 0, "scale": "none"}),
        ("reinforce_pp", "unchanged token_ratio clipped per_token", {"kl_in": "reward", "scale": "none", "whiten": True}),
        ("reinforce_pp_baseline", "centered token_ratio clipped per_token", {"kl_in": "loss", "scale": "none", "whiten": True}),
    ],
)
def test_row_is_its_papers(name: str, choices: str, settings: dict[str, object]) -> None:
    objective = built(ObjectiveConfig(name=name))
    assert " ".join(functions(objective)) == choices
    assert {key: getattr(objective, key) for key in settings} == settings


def test_settings_win_over_the_row_one_by_one() -> None:
    assert built(ObjectiveConfig(kl=0)).kl == 0
    assert built(ObjectiveConfig(kl=0)).clip == Clip(0.2, 0.2)
    assert built(ObjectiveConfig(clip_high=0.28)).clip == Clip(0.2, 0.28)
    assert built(ObjectiveConfig(clip_low=3)).clip == Clip(3, 0.2)
    assert built(ObjectiveConfig(clip_dual=3)).clip == Clip(0.2, 0.2, 3)


CHOICES_OF_PAPERS = {
    "kl_estimator": ("k1", "k2", "k3"),
    "ratio": ("token", "sequence", "sequence_token"),
    "baseline": ("mean", "others", "none"),
    "weight": ("sequence", "token", "budget", "answer"),
}


@pytest.mark.parametrize("setting", CHOICES_OF_PAPERS)
def test_every_choice_by_name_is_another_function(setting: str) -> None:
    chosen = [getattr(built(ObjectiveConfig.model_validate({setting: value})), setting) for value in CHOICES_OF_PAPERS[setting]]
    assert all(map(callable, chosen))
    assert len(set(chosen)) == len(chosen)


def test_every_choice_that_the_config_takes_can_be_built() -> None:
    found = [
        (setting, choice)
        for setting, info in ObjectiveConfig.model_fields.items()
        for annotation in get_args(info.annotation)
        for choice in get_args(annotation)
        if isinstance(choice, str)
    ]
    assert ("weight", "answer") in found
    for setting, choice in found:
        beside = {"correction": "token"} if setting == "correction_beyond" else {}
        assert getattr(built(ObjectiveConfig.model_validate({**beside, setting: choice})), setting) is not None


@pytest.mark.parametrize(
    ("settings", "needs"),
    [
        ({"kl": 0}, set()),
        ({"kl": 0.1}, {"reference"}),
        ({"kl": 0.1, "kl_in": "reward"}, {"reference", "before"}),
        ({"kl": 0, "kl_in": "reward"}, set()),
        ({"kl": 0, "top_entropy": 0.2}, {"before"}),
        ({"kl": 0, "top_entropy": 1}, set()),
        ({"kl": 0, "entropy": 0.01}, {"entropy"}),
        ({"kl": 0, "supervision": "process"}, {"steps"}),
        ({"kl": 0, "correction": "token"}, set()),
    ],
)
def test_an_objective_needs_what_its_settings_use(settings: dict[str, object], needs: set[str]) -> None:
    assert built(ObjectiveConfig.model_validate(settings)).needs == needs


@pytest.mark.parametrize("name", ["dr_grpo", "dapo", "gspo", "gspo_token", "cispo", "reinforce"])
def test_rows_without_a_divergence_need_no_reference(name: str) -> None:
    assert built(ObjectiveConfig(name=name)).needs == set()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kl": 0.1, "kl_in": "reward", "supervision": "process"}, r"objective\.kl_in: 'reward' needs one reward of each answer"),
        ({"kl": 0.1, "kl_in": "reward", "combine": "normalise_then_sum"}, r"objective\.kl_in: 'reward' needs one reward of each answer"),
        (
            {"supervision": "process", "combine": "normalise_then_sum"},
            r"objective\.combine: 'normalise_then_sum' combines rewards of answers",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(ObjectiveConfig.model_validate(settings), max_tokens=64)


def test_setting_of_another_kind_of_objective_is_refused_with_those_it_takes() -> None:
    with pytest.raises(ConfigError, match=r"objective\.gap: grpo has no such setting; it takes baseline, .*clip_high"):
        build(ObjectiveConfig(gap=0.5), max_tokens=64)


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"objective\.name: no such objective; known: .*dr_grpo.*\. Did you mean 'grpo'\?"):
        build(ObjectiveConfig(name="grp0"), max_tokens=64)


def test_every_row_can_be_built() -> None:
    for name in OBJECTIVES.names():
        assert build(ObjectiveConfig(name=name), max_tokens=64).needs <= set(get_args(Need))


OWN = """
from reasoning_rl.objectives.advantages import leave_one_out
from reasoning_rl.objectives.objective import Objective
from reasoning_rl.objectives.policy_gradient import PolicyGradient
from reasoning_rl.objectives.weights import per_token

row = PolicyGradient(leave_one_out, weight=per_token, clip_high=0.28)

class Nothing(Objective):
    def arrange(self, groups): return []
    def loss(self, now, batch): return None

other = Nothing()
wrong = 7
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def test_row_of_your_own_comes_from_a_file_and_takes_settings(own_file: Path) -> None:
    mine = built(ObjectiveConfig(name=f"{own_file}:row", kl=0.1))
    assert (mine.kl, mine.clip, mine.baseline.__name__) == (0.1, Clip(0.2, 0.28), "leave_one_out")


def test_objective_of_another_kind_comes_as_it_is(own_file: Path) -> None:
    assert type(build(ObjectiveConfig(name=f"{own_file}:other"), max_tokens=64)).__name__ == "Nothing"


def test_setting_that_an_objective_has_not_is_refused(own_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"objective\.clip_low: .*:other has no such setting; it takes none"):
        build(ObjectiveConfig(name=f"{own_file}:other", clip_low=0.1), max_tokens=64)


def test_thing_that_is_no_objective_is_refused(own_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"objective\.name: .*:wrong is of type int; it should be an Objective"):
        build(ObjectiveConfig(name=f"{own_file}:wrong"), max_tokens=64)


def test_class_in_place_of_an_objective_is_refused(own_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"names a class; it should name an instance of it, as in `mine = Nothing\(\)`"):
        build(ObjectiveConfig(name=f"{own_file}:Nothing"), max_tokens=64)


def test_fields_of_an_objective_of_your_own_are_options(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SHARPER)
    name = f"{tmp_path / 'mine.py'}:sharper"
    assert build(ObjectiveConfig(name=name, options={"tau": 0.5}), max_tokens=64) == build(
        ObjectiveConfig(name=f"{name}_half"), max_tokens=64
    )
    with pytest.raises(ConfigError, match=r"objective\.tua: .* has no such setting; it takes .*tau"):
        build(ObjectiveConfig(name=name, options={"tua": 0.5}), max_tokens=64)


SHARPER = """
from dataclasses import dataclass
from reasoning_rl.objectives.policy_gradient import PolicyGradient

@dataclass(frozen=True)
class Sharper(PolicyGradient):
    tau: float = 1.0

sharper, sharper_half = Sharper(), Sharper(tau=0.5)
"""


def test_settings_that_the_surrogate_leaves_idle_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.clip_high: changes nothing in rloo with its other settings; leave it out"):
        build(ObjectiveConfig(name="rloo", clip_high=0.3), max_tokens=64)
    with pytest.raises(ConfigError, match=r"objective\.clip_dual: changes nothing in cispo"):
        build(ObjectiveConfig(name="cispo", clip_dual=3), max_tokens=64)


def test_a_scale_that_would_spare_the_kl_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.scale: 'group' would scale the reward, not the KL in it"):
        build(ObjectiveConfig(name="reinforce_pp", scale="group"), max_tokens=64)
