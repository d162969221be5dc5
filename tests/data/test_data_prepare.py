"""The whole stage, on small inputs of every source."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import run
from typing import Any

import pandas as pd
import pytest

from reasoning_rl.config import ArchitectureConfig, ArithmeticConfig, DataConfig, PolicyConfig
from reasoning_rl.data import Loaded, Manifest, Row, load_demonstrations, load_manifest, load_prompts, load_tokenizer, prepare
from reasoning_rl.data import store as stores
from reasoning_rl.data.cleaning import clean
from reasoning_rl.data.tokenizer import learn_tokenizer, save_tokenizer
from reasoning_rl.errors import ConfigError, DataError, ModelError, StorageError
from reasoning_rl.files import sha256_of
from reasoning_rl.records import Problem

POLICY = PolicyConfig()
SMALL = ArithmeticConfig(train_problems=60, eval_problems=20, demonstrations=80)
FILES = (
    "train.parquet",
    "eval.parquet",
    "demonstrations.parquet",
    "rejected.parquet",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
)


def arithmetic(**settings: Any) -> DataConfig:
    defaults = {"template": "plain", "max_prompt_tokens": 128, "near_duplicate": 1.0, "decontaminate_ngram": 0, "arithmetic": SMALL}
    return DataConfig(**{**defaults, **settings})


def gsm8k(
    tmp_path: Path, train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]] = (("Held out?", "9"),), **settings: Any
) -> DataConfig:
    """Files of (question, gold) in GSM8K's schema, and the settings that read them."""
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    for name, rows in (("train", train), ("test", test)):
        lines = [json.dumps({"question": question, "answer": f"1+1=<<1+1=2>>2\n#### {gold}"}) for question, gold in rows]
        (source / f"{name}.jsonl").write_text("\n".join(lines))
    return DataConfig(**{"source": "gsm8k", "path": source, "template": "plain", "max_prompt_tokens": 100, **settings})


def rejected(folder: Path) -> list[tuple[str, str, str]]:
    table = pd.read_parquet(folder / "rejected.parquet")
    return list(zip(table["problem_id"], table["stage"], table["related"]))


def add_up(manifest: Manifest, folder: Path) -> None:
    """Kept + set aside = read, in the manifest and in the files."""
    table = pd.read_parquet(folder / "rejected.parquet")
    for split in ("train", "eval"):
        counts = manifest.counts[split]
        assert counts["read"] == counts["kept"] + sum(counts["set_aside"].values())
        assert counts["kept"] == len(pd.read_parquet(folder / f"{split}.parquet"))
        assert counts["set_aside"] == table[table.split == split].stage.value_counts().to_dict()


def test_the_arithmetic_recipe_fills_a_folder(tmp_path: Path) -> None:
    manifest = prepare(arithmetic(), POLICY, tmp_path, seed=0)
    assert manifest.fresh
    assert manifest.counts == {
        "train": {"read": 60, "kept": 60, "set_aside": {}},
        "eval": {"read": 20, "kept": 20, "set_aside": {}},
        "demonstrations": 80,
    }
    assert dict(manifest.files) == {name: sha256_of(tmp_path / name) for name in FILES}
    assert manifest.eval_sha256 == sha256_of(tmp_path / "eval.parquet")
    add_up(manifest, tmp_path)


def test_prompts_come_back_as_they_were_worded(tmp_path: Path) -> None:
    prepare(arithmetic(), POLICY, tmp_path, seed=0)
    prompts = load_prompts(tmp_path, "eval")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    assert [prompt.problem.id for prompt in prompts] == [f"arithmetic/test/{index}" for index in range(20)]
    for prompt in prompts:
        assert prompt.text == prompt.problem.question + "\n"
        assert list(prompt.token_ids) == tokenizer(prompt.text)["input_ids"]
        assert prompt.problem.task == "gsm8k"


def test_demonstrations_hold_the_annotations_and_nothing_else(tmp_path: Path) -> None:
    prepare(arithmetic(), POLICY, tmp_path, seed=0)
    demonstrations = load_demonstrations(tmp_path)
    assert len(demonstrations) == 80
    for one in demonstrations:
        assert one.prompt.endswith("?\n")
        assert re.fullmatch(r"<think>\n(-?\d+[-+*/]\d+=-?\d+\n)*</think><answer>-?\d+</answer>", one.completion)


def test_a_second_call_does_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    first = prepare(arithmetic(), POLICY, tmp_path, seed=0)
    before = (tmp_path / "train.parquet").stat().st_mtime_ns
    second = prepare(arithmetic(), POLICY, tmp_path, seed=0, on_progress=said.append)
    assert (first.fresh, second.fresh) == (True, False)
    assert (second.identity, second.files) == (first.identity, first.files)
    assert (tmp_path / "train.parquet").stat().st_mtime_ns == before
    assert said == [f"{tmp_path} is up to date"]


@pytest.mark.parametrize("change", ["seed", "settings", "file", "manifest", "check", "context"])
def test_any_change_prepares_again(tmp_path: Path, change: str) -> None:
    prepare(arithmetic(), POLICY, tmp_path, seed=0)
    if change == "file":
        (tmp_path / "eval.parquet").unlink()
    if change == "manifest":
        (tmp_path / "manifest.json").write_text("{")
    again = prepare(
        arithmetic(train_limit=50 if change == "settings" else None),
        PolicyConfig(architecture=ArchitectureConfig(context=256)) if change == "context" else POLICY,
        tmp_path,
        seed=int(change == "seed"),
        check=(lambda _: None) if change == "check" else None,
    )
    assert again.fresh


def test_changed_input_files_are_prepared_again(tmp_path: Path) -> None:
    config = gsm8k(tmp_path, [("One?", "1")])
    prepare(config, POLICY, tmp_path / "out", seed=0)
    assert not prepare(config, POLICY, tmp_path / "out", seed=0).fresh
    assert prepare(gsm8k(tmp_path, [("Two?", "2")]), POLICY, tmp_path / "out", seed=0).fresh


def test_problems_that_a_run_has_learned_from_are_not_replaced(tmp_path: Path) -> None:
    begun, later = [("One?", "1"), ("Two?", "2")], [("One?", "1"), ("Three?", "3")]
    config = gsm8k(tmp_path, begun)
    made = prepare(config, POLICY, tmp_path / "out", seed=0)
    gsm8k(tmp_path, later)
    with pytest.raises(DataError, match=r"train\.jsonl is not as it was when .*out was made, which a run has learned from; put it back"):
        prepare(config, POLICY, tmp_path / "out", seed=0, begun=True)
    assert load_manifest(tmp_path / "out") == replace(made, fresh=False)
    gsm8k(tmp_path, begun)
    (tmp_path / "out" / "train.parquet").unlink()
    assert prepare(config, POLICY, tmp_path / "out", seed=0, begun=True).files == made.files  # made again as it was


def test_the_outcome_is_the_same_in_another_process(tmp_path: Path) -> None:
    manifest = prepare(arithmetic(), POLICY, tmp_path / "here", seed=3)
    code = (
        "import sys; from pathlib import Path; from reasoning_rl.config import *; from reasoning_rl.data import prepare\n"
        f"prepare(DataConfig.model_validate_json({arithmetic().model_dump_json()!r}), PolicyConfig(), Path(sys.argv[1]), seed=3)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, env={"PYTHONHASHSEED": "7"})
    assert load_manifest(tmp_path / "there").files == manifest.files


def test_every_row_is_kept_or_listed_with_its_stage(tmp_path: Path) -> None:
    train = [
        ("Alone?", "1"),  # 0 kept
        ("alone?", "1"),  # 1 repeats 0
        ("Held  OUT?", "9"),  # 2 is held out
        ("A gold that fails?", "13"),  # 3
        ("word " * 150, "2"),  # 4 too long
        ("a b c d e f g h i j k l m n o p q r s t u v", "3"),  # 5 kept
        ("a b c d e f g h i j k l m n o p q r s t u w", "3"),  # 6 nearly 5: 19 of 21 3-grams
        ("Beyond the limit?", "4"),  # 7
    ]
    config = gsm8k(tmp_path, train, [("Held out?", "9"), ("held out?", "9")], train_limit=7)
    with (config.path / "train.jsonl").open("a") as file:  # type: ignore[operator]  # the path is set
        file.write("\n{broken\n")

    def unlucky(problem: Problem) -> str | None:
        return "unlucky" if problem.gold == "13" else None

    manifest = prepare(config, POLICY, tmp_path / "out", seed=0, check=unlucky)
    assert sorted(rejected(tmp_path / "out")) == [
        ("gsm8k/test/1", "duplicate", "gsm8k/test/0"),
        ("gsm8k/train/1", "duplicate", "gsm8k/train/0"),
        ("gsm8k/train/2", "contamination", "gsm8k/test/0"),
        ("gsm8k/train/3", "gold", ""),
        ("gsm8k/train/4", "length", ""),
        ("gsm8k/train/6", "near_duplicate", "gsm8k/train/5"),
        ("gsm8k/train/7", "limit", ""),
        ("gsm8k/train/8", "row", ""),
    ]
    table = pd.read_parquet(tmp_path / "out" / "rejected.parquet").set_index("problem_id")
    assert table["reason"]["gsm8k/train/3"] == "gold '13' fails its own verifier: unlucky"
    assert table["where"]["gsm8k/train/8"] == f"{config.path}/train.jsonl:9"
    assert [prompt.problem.id for prompt in load_prompts(tmp_path / "out", "train")] == ["gsm8k/train/0", "gsm8k/train/5"]
    add_up(manifest, tmp_path / "out")


def test_solutions_become_demonstrations_in_the_templates_form(tmp_path: Path) -> None:
    prepare(gsm8k(tmp_path, [("One?", "2")], template="boxed"), POLICY, tmp_path / "out", seed=0)
    (one,) = load_demonstrations(tmp_path / "out")
    assert one.prompt.endswith("One?<|im_end|>\n<|im_start|>assistant\n")
    assert one.completion == "1+1=2\n\\boxed{2}"


def test_the_chat_template_of_a_learned_tokenizer_is_used(tmp_path: Path) -> None:
    prepare(gsm8k(tmp_path, [("One?", "2")], template="chat"), POLICY, tmp_path, seed=0)
    (prompt,) = load_prompts(tmp_path, "train")
    assert prompt.text.startswith("user: One?\nPlease")
    assert prompt.text.endswith("\nassistant: ")


def test_a_pretrained_policy_brings_its_tokenizer(tmp_path: Path) -> None:
    model = tmp_path / "model"
    save_tokenizer(learn_tokenizer(["One? Two? Held out?"] * 5, 300), model, context=200)
    out = tmp_path / "out"
    config = gsm8k(tmp_path, [("One?", "2")], template="chat")
    prepare(config, POLICY, out, seed=0)
    policy = PolicyConfig(model=str(model))
    manifest = prepare(config, policy, out, seed=0)
    assert manifest.tokenizer == str(model)
    assert not (out / "tokenizer" / "tokenizer.json").exists()  # an earlier policy's is gone
    assert sorted(manifest.files) == sorted(FILES[:4])
    (prompt,) = load_prompts(out, "train")
    assert list(prompt.token_ids) == load_tokenizer(model)(prompt.text)["input_ids"]
    save_tokenizer(learn_tokenizer(["Other"] * 5, 300), model, context=200)
    assert prepare(config, policy, out, seed=0).fresh  # the tokenizer changed under its name


def test_a_prompt_length_that_leaves_no_room_for_an_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.max_prompt_tokens: 512 tokens leave no room for an answer in the policy's context of 512"):
        prepare(arithmetic(max_prompt_tokens=512), POLICY, tmp_path, seed=0)
    model = tmp_path / "model"
    save_tokenizer(learn_tokenizer(["One"] * 5, 300), model, context=64)
    with pytest.raises(DataError, match="context of 64"):
        prepare(arithmetic(), PolicyConfig(model=str(model)), tmp_path, seed=0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"source": "gsm8q"}, ConfigError, "data.source: no such source"),
        ({"template": "plane"}, ConfigError, "data.template: no such template 'plane'"),
        (
            {"max_prompt_tokens": 3},
            DataError,
            "data.train_split: none of 60 rows is left; set aside: {'length': 60}; for example arithmetic/train/59",
        ),
    ],
)
def test_mistakes_are_said_in_one_message(tmp_path: Path, settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        prepare(arithmetic(**settings), POLICY, tmp_path, seed=0)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_nothing_left_is_an_error_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of 1 rows is left; set aside: \{'contamination': 1\}; .*the question of the held-out gsm8k/test/0"
    ):
        prepare(gsm8k(tmp_path, [("Held out?", "9")]), POLICY, tmp_path / "out", seed=0)


def test_a_policy_without_tokenizer_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no tokenizer"):
        prepare(arithmetic(), PolicyConfig(model=str(tmp_path)), tmp_path / "out", seed=0)


def test_a_folder_that_is_a_file_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match=r"out can't be written"):
        prepare(arithmetic(), POLICY, tmp_path / "out", seed=0)


def test_a_source_that_gives_an_id_twice_is_refused() -> None:
    row = Row(Problem("s/0", "s", "train", "Why?", "1"), "here:1")
    with pytest.raises(DataError, match="here:1: the source gives the id 's/0' twice"):
        clean(Loaded([row], [row]), DataConfig(), None, lambda _: None)


def test_an_interruption_leaves_whole_files_and_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(arithmetic(), POLICY, tmp_path, seed=0)

    def interrupted(*_: object) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stores, "write_demonstrations", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(arithmetic(), POLICY, tmp_path, seed=1)
    assert not (tmp_path / "manifest.json").exists()
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert len(load_prompts(tmp_path, "train")) == 60
    with pytest.raises(DataError, match="prepare the data first"):
        load_manifest(tmp_path)
    assert prepare(arithmetic(), POLICY, tmp_path, seed=1).fresh


def test_absent_and_damaged_folders_say_what_to_do(tmp_path: Path) -> None:
    for load in (load_manifest, load_demonstrations, lambda folder: load_prompts(folder, "train")):
        with pytest.raises(DataError, match="prepare the data first"):
            load(tmp_path)
    for name in ("manifest.json", "demonstrations.parquet", "train.parquet"):
        (tmp_path / name).write_text("[")
    for load in (load_manifest, load_demonstrations, lambda folder: load_prompts(folder, "train")):
        with pytest.raises(DataError, match="is damaged"):
            load(tmp_path)


def test_a_manifest_of_another_schema_is_refused(tmp_path: Path) -> None:
    prepare(arithmetic(), POLICY, tmp_path, seed=0)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(DataError, match="schema 99; this version reads schema 1"):
        load_manifest(tmp_path)


def test_the_folder_data_is_no_module_of_its_own() -> None:
    root = Path(__file__).parents[2]
    result = run([sys.executable, "-c", "import data"], cwd=root, capture_output=True, text=True, check=False)
    assert "import reasoning_rl.data, not data" in result.stderr
