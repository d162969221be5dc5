import pytest
from pydantic import ValidationError

from reasoning_rl.config import OBJECTIVE_PRESETS, SAMPLING_PRESETS, Config, EvalConfig, ObjectiveConfig, SamplingConfig, Section
from reasoning_rl.recipes import load_config


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config("cpu").seed = 1  # type: ignore[misc]  # that is the point


def test_the_run_lies_below_runs_under_its_name() -> None:
    assert str(load_config("cpu", ["runs=out", "name=first"]).folder) == "out/first"


@pytest.mark.parametrize("name", SAMPLING_PRESETS)
def test_a_sampling_preset_fills_in_what_is_open(name: str) -> None:
    filled = SamplingConfig.model_validate({"preset": name, "temperature": 0.5})
    assert filled.max_tokens == SAMPLING_PRESETS[name]["max_tokens"]
    assert filled.temperature == 0.5


@pytest.mark.parametrize("name", OBJECTIVE_PRESETS)
def test_an_objective_preset_may_stand_alone(name: str) -> None:
    assert ObjectiveConfig.model_validate(name).kl == OBJECTIVE_PRESETS[name]["kl"]


def test_one_answer_per_prompt_has_no_baseline() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        SamplingConfig(group_size=1)


def test_pass_at_k_wants_at_least_k_samples() -> None:
    with pytest.raises(ValidationError, match="pass@8 needs at least 8 samples"):
        EvalConfig(samples=4)
    with pytest.raises(ValidationError):
        EvalConfig(k=[])


def test_a_pretrained_policy_brings_its_own_context() -> None:
    config = load_config("cpu", ["policy.model=some/folder", "sampling.max_tokens=100000"])
    assert config.sampling.max_tokens == 100_000


def test_a_weight_may_stand_for_its_verifier() -> None:
    config = Config.model_validate({**load_config("cpu").model_dump(), "rewards": {"math": 2, "length": {"weight": 0.5}}})
    assert [config.rewards[name].weight for name in ("math", "length")] == [2.0, 0.5]


def test_the_head_width_of_rotary_positions_is_even() -> None:
    with pytest.raises(ValidationError, match="must be even"):
        Config.model_validate({**load_config("cpu").model_dump(), "policy": {"architecture": {"head_width": 33}}})


def sections(kind: type[Section]) -> list[type[Section]]:
    return [kind, *(below for child in kind.__subclasses__() for below in sections(child))]


@pytest.mark.parametrize("section", sections(Section))
def test_every_section_refuses_what_it_does_not_know(section: type[Section]) -> None:
    assert section.model_config["extra"] == "forbid"
    assert section.model_config["frozen"]
