from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.errors import ConfigError, StorageError
from reasoning_rl.recipes import dump_config, load_config, preset_names, recipe_names, text

GPU_RECIPES = ["gsm8k-qwen2.5-0.5b", "gsm8k-qwen2.5-1.5b", "math-qwen2.5-math-1.5b", "r1-zero-math"]
CLUSTER_RECIPES = ["gsm8k-qwen2.5-7b-1node", "gsm8k-qwen2.5-7b-2nodes", "gsm8k-qwen2.5-7b-8nodes"]


def written(folder: Path, content: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(content)
    return path


def refusal(recipe: str | Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(recipe, overrides)
    return str(caught.value).splitlines()


def test_the_package_holds_the_promised_recipes() -> None:
    assert recipe_names() == sorted(["cpu", "smoke", "suites", "gsm8k-tiny", "math-tiny", *GPU_RECIPES, *CLUSTER_RECIPES])


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_is_called_like_itself_and_comes_back_from_its_own_dump(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    assert config.name == name
    assert load_config(written(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize("name", [*GPU_RECIPES, *CLUSTER_RECIPES])
def test_a_gpu_recipe_names_a_model_skips_the_cold_start_and_says_that_it_was_not_run(name: str) -> None:
    config = load_config(name)
    assert config.policy.model
    assert config.policy.device == "cuda"
    assert config.policy.gradient_checkpointing
    assert not config.cold_start.enabled
    source = Path(__file__).parent.parent / "reasoning_rl" / "recipes" / f"{name}.yaml"
    assert "Not run here." in source.read_text()


@pytest.mark.parametrize(("name", "nodes"), list(zip(CLUSTER_RECIPES, (1, 2, 8), strict=True)))
def test_a_recipe_for_nodes_of_eight_gpus_uses_all_of_them_and_corrects_for_older_answers(name: str, nodes: int) -> None:
    config = load_config(name)
    assert config.cluster.learners + config.cluster.samplers * config.cluster.tensor_parallel == 8 * nodes
    assert config.train.off_policy_steps
    assert config.objective.correction == "token"
    weights_bytes = 16 * 7.62e9 / config.cluster.learners  # weights, gradients and moments of a 7B in float32
    assert weights_bytes < 0.5 * 80e9
    assert config.train.steps == 3 * (7473 // config.sampling.prompts_per_step)  # three passes over GSM8K


def test_the_cpu_recipe_has_the_settings_that_were_seen_to_work() -> None:
    config = load_config("cpu")
    assert (config.data.template, config.data.max_prompt_tokens, config.data.decontaminate_ngram) == ("plain", 128, 0)
    assert (config.sampling.prompts_per_step, config.sampling.group_size, config.sampling.max_tokens) == (32, 16, 64)
    assert {name: spec.weight for name, spec in config.rewards.items()} == {"gsm8k": 1.0, "format": 0.1}
    assert (config.objective.name, config.objective.kl, config.learner.learning_rate) == ("grpo", 0, 5e-4)


def test_overrides_win_and_are_parsed_as_yaml() -> None:
    config = load_config(
        "cpu", ["sampling.temperature=0.7", "eval.k=[1, 2]", "data.path=null", "policy.autocast=off", "learner.learning_rate=1e-6"]
    )
    assert config.sampling.temperature == 0.7
    assert config.eval.k == [1, 2]
    assert config.data.path is None
    assert config.policy.autocast == "off"
    assert config.learner.learning_rate == 1e-6


def test_a_weight_may_stand_for_its_verifier(tmp_path: Path) -> None:
    rewards = load_config(written(tmp_path, "extends: cpu\nrewards: {math: 2, format: {weight: 0.5}, gsm8k: null}\n")).rewards
    assert {name: spec.weight for name, spec in rewards.items()} == {"math": 2.0, "format": 0.5}


@pytest.mark.parametrize("recipe", [".hidden.yaml", "-r.yaml", "--.yaml"])
def test_a_run_called_like_its_recipe_has_a_name_that_a_run_may_have(recipe: str, tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "extends: cpu\n", recipe)).name in {"hidden", "r", "run"}


def test_an_override_reaches_into_a_short_form() -> None:
    config = load_config("cpu", ["rewards.gsm8k.options.strict=true"])
    assert config.rewards["gsm8k"].weight == 1.0
    assert config.rewards["gsm8k"].options == {"strict": True}


def test_a_verifier_in_a_file_keeps_the_dot_of_its_path() -> None:
    config = load_config("cpu", ["rewards.my.folder/file.py:brevity.weight=0.5"])
    assert config.rewards["my.folder/file.py:brevity"].weight == 0.5


def test_null_takes_a_verifier_out() -> None:
    assert list(load_config("cpu", ["rewards.format=null"]).rewards) == ["gsm8k"]
    assert set(load_config("math-tiny").rewards) == {"math", "format"}


def test_a_recipe_extends_another_and_keeps_what_it_does_not_say(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "extends: cpu\nseed: 7\nsampling: {temperature: 0.5}\n"))
    assert (config.name, config.seed, config.sampling.temperature) == ("mine", 7, 0.5)
    assert config.sampling.group_size == load_config("cpu").sampling.group_size


def test_extends_finds_a_file_beside_the_recipe(tmp_path: Path) -> None:
    written(tmp_path, "extends: cpu\nseed: 3\n", "base.yaml")
    assert load_config(written(tmp_path, "extends: base.yaml\n")).seed == 3


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "extends: b.yaml\n", "a.yaml")
    written(tmp_path, "extends: a.yaml\n", "b.yaml")
    assert "circle" in refusal(tmp_path / "a.yaml")[0]


def test_a_preset_named_later_wins_over_settings_named_earlier() -> None:
    roomy = ["policy.architecture.context=40000"]
    assert load_config("cpu").objective.kl == 0
    assert load_config("cpu", ["preset=deepseekmath", *roomy]).objective.kl == 0.04  # DeepSeekMath §4.2
    assert load_config("cpu", ["objective.kl=0.01", "preset=deepseekmath", *roomy]).objective.kl == 0.01


def test_settings_beside_a_preset_win_over_it() -> None:
    sampling = load_config("r1-zero-math").sampling
    assert (sampling.prompts_per_step, sampling.group_size, sampling.max_tokens) == (32, 16, 8192)


def test_another_objective_begins_with_its_own_row() -> None:
    assert load_config("cpu", ["objective.name=ppo"]).objective == ObjectiveConfig(name="ppo")
    assert load_config("cpu", ["objective=dapo", "objective.clip_high=0.3"]).objective == ObjectiveConfig(name="dapo", clip_high=0.3)
    assert load_config("cpu", ["objective.name=grpo"]).objective.kl == 0  # the same objective keeps what the recipe says of it


UNTRUNCATED = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
CONSTANT = {"warmup_steps": 0, "final_fraction": 1.0}
# All that the papers publish and a setting can say; each file of a preset names its source
PUBLISHED: dict[str, dict[str, dict[str, object]]] = {
    "deepseekmath": {
        "objective": {
            "name": "grpo", "kl": 0.04, "kl_estimator": "k3", "kl_in": "loss", "clip_low": 0.2, "clip_high": 0.2,
            "weight": "sequence", "scale": "group",
        },
        "sampling": {"group_size": 64, "prompts_per_step": 1024 // 64, "max_tokens": 1024, "dynamic": False, **UNTRUNCATED},
        "learner": {"learning_rate": 1e-6, "epochs": 1, "minibatches": 1, "reference_every": 0, **CONSTANT},
    },
    "r1_zero": {
        "data": {"template": "r1"},
        "objective": {
            "name": "grpo", "kl": 0.001, "kl_estimator": "k3", "kl_in": "loss", "clip_low": 10.0, "clip_high": 10.0,
            "weight": "sequence", "scale": "group",
        },
        "sampling": {"group_size": 16, "prompts_per_step": 8192 // 16, "max_tokens": 32_768, "dynamic": False, **UNTRUNCATED},
        "learner": {"learning_rate": 3e-6, "epochs": 1, "minibatches": 8192 // 512, "reference_every": 400 // 16, **CONSTANT},
        "rewards": {"format": {"weight": 1.0, "options": {}, "gate": "none"}},
        "eval": {"temperature": 0.6, "top_p": 0.95},
    },
    "dr_grpo": {
        "data": {"template": "boxed"},
        "objective": {
            "name": "dr_grpo", "kl": 0.0, "clip_low": 0.2, "clip_high": 0.2, "baseline": "mean", "scale": "none", "weight": "budget",
        },
        "sampling": {"group_size": 8, "prompts_per_step": 128, "max_tokens": 3000, "dynamic": False, **UNTRUNCATED},
        "learner": {"learning_rate": 1e-6, "epochs": 1, "minibatches": 128 * 8 // 128, "reference_every": 0, **CONSTANT},
    },
    "dapo": {
        "objective": {
            "name": "dapo", "kl": 0.0, "clip_low": 0.2, "clip_high": 0.28, "weight": "token", "scale": "group", "mask_truncated": True,
        },
        "sampling": {"group_size": 16, "prompts_per_step": 512, "max_tokens": 16_384 + 4096, "dynamic": True, **UNTRUNCATED},
        "learner": {
            "learning_rate": 1e-6, "epochs": 1, "minibatches": 512 * 16 // 512, "reference_every": 0, **CONSTANT, "warmup_steps": 20,
        },
        "rewards": {"length": {"weight": 0.5, "options": {"max_tokens": 20_480, "cache": 4096}, "gate": "none"}},
        "eval": {"samples": 32, "k": [1, 32], "temperature": 1.0, "top_p": 0.7},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", preset_names())
def test_presets_print_the_published_settings_line_by_line(name: str, tmp_path: Path) -> None:
    printed = yaml.safe_load(dump_config(load_config(written(tmp_path, f"extends: r1-zero-math\npreset: {name}\n"))))
    for section, settings in PUBLISHED[name].items():
        assert {key: printed[section][key] for key in settings} == settings


@pytest.mark.parametrize("name", preset_names())
def test_presets_set_nothing_that_is_not_published(name: str) -> None:
    preset = yaml.safe_load((Path(__file__).parents[1] / "reasoning_rl" / "recipes" / "presets" / f"{name}.yaml").read_text())
    assert {section: set(settings) for section, settings in preset.items()} == {
        section: set(settings) for section, settings in PUBLISHED[name].items()
    }


def test_the_length_reward_of_dapo_is_half_of_its_accuracys_span() -> None:
    # the paper's answers are worth −1 and 1, its punishment reaches −1; ours are worth 0 and 1
    dapo = load_config("r1-zero-math", ["preset=dapo"])
    assert (dapo.rewards["math"].weight, dapo.rewards["length"].weight) == (1.0, 0.5)
    assert dapo.rewards["length"].options == {"max_tokens": 20_480, "cache": 4096}


def test_all_mistakes_are_said_at_once_each_with_place_finding_and_what_is_accepted() -> None:
    said = refusal("cpu", "sampling.temprature=1", "sampling.group_size=1", "train.trackers=[foo]", "eval.k=[16]", "nonsense")
    assert said[0] == "recipe 'cpu': 5 mistakes"
    assert "  override 'nonsense': found no setting and value; write setting=value, as in sampling.temperature=0.7" in said
    assert "  sampling.group_size: found 1; it should be greater than or equal to 2" in said
    assert "  train.trackers.0: found 'foo'; it should be 'tensorboard', 'wandb' or 'trackio'" in said
    assert "  eval.k: pass@16 needs at least 16 samples per problem; samples is 8" in said
    assert any(
        line.startswith("  sampling.temprature: no such setting; known: ") and line.endswith("Did you mean 'temperature'?") for line in said
    )


def test_settings_that_contradict_each_other_are_said_at_once() -> None:
    said = refusal("cpu", "policy.architecture.context=100", "learner.minibatches=64", "rewards.gsm8k=null", "rewards.format=null")
    assert said[1:] == [
        "  rewards: at least one verifier is needed",
        "  learner.minibatches (64) exceeds sampling.prompts_per_step (32)",
        "  policy.architecture.context (100) is shorter than data.max_prompt_tokens (128) plus sampling.max_tokens (64)",
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=abc", "seed: found 'abc'; it should be a valid integer"),
        ("sampling=5", "sampling: found 5; it should be a mapping of settings, of engine, vllm, prompts_per_step"),
        ("preset=foo", "preset: no such preset 'foo'; known: dapo, deepseekmath, dr_grpo, r1_zero"),
        ("rewards.gsm8k.wieght=2", "Did you mean 'weight'?"),
        ("rewards.gsm8k.options.a=[1]", "rewards.gsm8k.options.a: found [1]; it should be bool or int or float or str"),
        ("data.columns={1: x}", "data.columns.1: found 1; it should be a valid string"),
        ("sampling.temperature=.nan", "sampling.temperature: found nan"),
        ("rewards.gsm8k=.inf", "rewards.gsm8k.weight: found inf"),
        ("rewards=", "rewards: found None"),
        ("rewards.format=true", "rewards.format.weight: found True; it should be a valid number"),
        ("rewards.format.weight=true", "rewards.format.weight: found True; it should be a valid number"),
        ("rewards.format=much", "rewards.format.weight: found 'much'; it should be a valid number"),
        ("policy.architecture.heads=3", "policy.architecture.heads (3) must be a multiple of kv_heads (2)"),
        ("data.arithmetic.steps=[4, 1]", "data.arithmetic.steps: the fewest (4) exceeds the most (1)"),
        ("data.arithmetic.steps=[0, 1]", "data.arithmetic.steps.0: found 0; it should be greater than 0"),
        ("name=a/b", "name: found 'a/b'"),
        ("name.x.y=1", "name: found {'x': {'y': 1}}"),
        ("a..b=1", "found no setting and value"),
        ("sampling=[1", "override 'sampling=[1':1:3: not YAML"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_place(override: str, said: str) -> None:
    assert said in "\n".join(refusal("cpu", override))


def test_a_long_wrong_value_is_shortened() -> None:
    assert len(refusal("cpu", f"seed={'x' * 500}")[0]) < 200


def test_a_setting_that_has_to_be_said_is_named(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "seed: 1\n"))[0].endswith("rewards: missing; a recipe has to say it")


def test_an_unknown_recipe_gets_a_suggestion() -> None:
    assert "Did you mean 'smoke'?" in refusal("smoek")[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "absent.yaml")[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("seed: 1\nsampling: {a: 1\n", "mine.yaml:3:1: not YAML"),
        ("seed: 1\nseed: 2\n", "mine.yaml:2:1: not YAML: key 'seed' stands twice"),
        ("a: \x01\n", "not YAML"),
        ("- 1\n", "found list; a recipe is a mapping"),
        ("", "found NoneType; a recipe is a mapping"),
        ("extends: [cpu]\n", "extends: found ['cpu']"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_with_its_line(content: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(written(tmp_path, content))[0]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"seed: \xff\n")
    assert "not UTF-8" in refusal(path)[0]


def test_a_file_that_cannot_be_read_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "seed: 1\n")

    def forbidden(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(StorageError, match="Permission denied"):
        load_config(path)


@pytest.mark.parametrize(
    ("written_as", "value"),
    [("1e-6", 1e-6), ("off", "off"), ("yes", "yes"), ("010", 10), ("1:30", "1:30"), ("2026-11-22", "2026-11-22"), ("~", None),
     ("true", True), ("-.inf", -float("inf")), ("+1.5", 1.5), ("1_000", "1_000"), ("", None), ("0x1f", "0x1f")],
)  # fmt: skip
def test_yaml_is_read_as_people_mean_it(written_as: str, value: object) -> None:
    assert text.parse(written_as, "here") == value


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cc", "Cs"]))


@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_what_is_written_is_read_back(value: object) -> None:
    assert text.parse(text.write({"value": value}), "here") == {"value": value}
