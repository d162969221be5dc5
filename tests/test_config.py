import pytest
from pydantic import ValidationError

from reasoning_rl.config import (
    Config,
    EvalConfig,
    LearnerConfig,
    ObjectiveConfig,
    SamplingConfig,
    Section,
    VerifierConfig,
)
from reasoning_rl.errors import ConfigError
from reasoning_rl.recipes import load_config


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config("cpu").seed = 1  # type: ignore[misc]  # that is the point


def test_the_run_lies_below_runs_under_its_name() -> None:
    assert str(load_config("cpu", ["runs=out", "name=first"]).folder) == "out/first"


def test_short_forms_belong_to_recipes_alone() -> None:
    with pytest.raises(ValidationError, match=r"rewards\.math"):
        Config.model_validate({"rewards": {"math": 1.0}})
    with pytest.raises(ValidationError, match="valid dictionary"):
        ObjectiveConfig.model_validate("dapo")


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


@pytest.mark.parametrize("name", ["run", "_7", "a.b-c", "caches", "7"])
def test_a_run_is_called_by_a_plain_word(name: str) -> None:
    assert load_config("cpu", [f"name='{name}'"]).name == name


@pytest.mark.parametrize("name", [".", "..", ".hidden", "-r", "a/b", "", "naïve", "a\n"])
def test_a_name_that_is_no_folder_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"letters, digits, '\.', '_' and '-', beginning with none of '\.' and '-'"):
        Config(name=name, rewards={"math": VerifierConfig()})


@pytest.mark.parametrize("name", ["cache", "Cache"])
def test_a_run_may_not_lie_where_the_cold_starts_are_kept(name: str) -> None:
    with pytest.raises(ConfigError, match=f"name: found '{name}'; it should be another: `cache` holds the cold starts"):
        load_config("cpu", [f"name={name}"])


def test_without_cold_start_a_model_must_be_named() -> None:
    with pytest.raises(ConfigError, match="name a model or enable the cold start"):
        load_config("cpu", ["cold_start.enabled=false"])
    assert not load_config("cpu", ["cold_start.enabled=false", "policy.model=some/folder"]).cold_start.enabled


def test_the_answers_of_the_evaluation_fit_into_the_context_too() -> None:
    # the recipe's context is 256 and its prompts have up to 128 tokens: 128 are left
    assert load_config("cpu", ["eval.max_tokens=128"]).eval.max_tokens == 128
    with pytest.raises(ConfigError, match=r"data\.max_prompt_tokens \(128\) plus eval\.max_tokens \(129\)"):
        load_config("cpu", ["eval.max_tokens=129"])
    with pytest.raises(ConfigError, match=r"plus sampling\.max_tokens \(129\)"):
        load_config("cpu", ["sampling.max_tokens=129", "eval.max_tokens=8"])


def test_a_running_mean_that_never_moves_is_refused() -> None:
    assert LearnerConfig(betas=(0.0, 0.999)).betas == (0.0, 0.999)
    with pytest.raises(ValidationError, match="less than 1"):
        LearnerConfig(betas=(0.9, 1.0))


@pytest.mark.parametrize("truncation", ["sampling.top_p=0.9", "sampling.top_k=50"])
def test_logprobs_of_a_truncated_distribution_are_no_old_policy(truncation: str) -> None:
    with pytest.raises(ConfigError, match=r"learner\.old_logprobs: 'engine' needs top_p 1 and top_k 0"):
        load_config("cpu", ["learner.old_logprobs=engine", truncation])
    assert load_config("cpu", [truncation]).learner.old_logprobs == "learner"
    assert load_config("cpu", ["learner.old_logprobs=engine"]).sampling.top_p == 1


def test_where_nothing_is_sampled_nothing_is_sampled_ahead() -> None:
    with pytest.raises(ConfigError, match=r"train\.off_policy_steps samples ahead of the learner, and with train\.rollouts nothing is"):
        load_config("cpu", ["train.off_policy_steps=1", "train.rollouts=runs/another"])
    assert load_config("cpu", ["train.off_policy_steps=1"]).train.off_policy_steps == 1


def test_copies_in_float32_are_for_narrower_weights() -> None:
    with pytest.raises(ConfigError, match=r"learner\.master_weights: needs policy\.dtype 'bfloat16', found 'float32'"):
        load_config("cpu", ["learner.master_weights=true"])
    assert load_config("cpu", ["learner.master_weights=true", "policy.dtype=bfloat16"]).learner.master_weights


def test_a_reference_that_is_the_policy_without_adapters_does_not_move() -> None:
    adapters = ["policy.lora.rank=8", "policy.lora.targets=[q_proj]"]
    with pytest.raises(ConfigError, match=r"learner\.reference_every: 5 needs a reference of its own, which policy\.lora has not"):
        load_config("cpu", [*adapters, "learner.reference_every=5"])
    lora = load_config("cpu", adapters).policy.lora
    assert lora is not None
    assert (lora.rank, lora.targets) == (8, ["q_proj"])


def test_the_head_width_of_rotary_positions_is_even() -> None:
    with pytest.raises(ValidationError, match="must be even"):
        Config.model_validate({**load_config("cpu").model_dump(), "policy": {"architecture": {"head_width": 33}}})


def sections(kind: type[Section]) -> list[type[Section]]:
    return [kind, *(below for child in kind.__subclasses__() for below in sections(child))]


@pytest.mark.parametrize("section", sections(Section))
def test_every_section_refuses_what_it_does_not_know(section: type[Section]) -> None:
    assert section.model_config["extra"] == "forbid"
    assert section.model_config["frozen"]


def test_answers_are_ranked_by_what_they_have() -> None:
    with pytest.raises(ConfigError, match=r"eval\.best_of: found 'score_math'; accepted: reward, score_gsm8k, score_format"):
        load_config("cpu", ["eval.best_of=score_math"])
    assert load_config("cpu", ["eval.best_of=score_format"]).eval.best_of == "score_format"
    assert load_config("cpu", ["eval.best_of=score_math", "eval.suites=[math500]"]).eval.suites == ["math500"]
