import json
import os
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reasoning_rl import journal
from reasoning_rl.errors import ConfigError, RunError, StorageError
from reasoning_rl.journal import Journal, append_line, read_metrics, rollout_steps, write_environment
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, Verdict


def problem(name: str = "arithmetic/train/1") -> Problem:
    return Problem(id=name, source="arithmetic", split="train", question="1+1?", gold="2", task="gsm8k")


def group(*answers: str, format_too: bool = True) -> Group:
    completions = tuple(Completion(text, tuple(range(len(text))), tuple(-0.5 for _ in text), "stop", 3) for text in answers)
    verdicts = tuple(verdict(text, format_too) for text in answers)
    return Group(Prompt(problem(), "1+1?\n", (1, 2)), completions, verdicts)


def verdict(text: str, format_too: bool) -> Verdict:
    right = text.endswith("2")
    scores = {"gsm8k": Score(float(right), "correct" if right else "no_answer", "reason of gsm8k", answer="2" if right else None)}
    if format_too:
        scores["format"] = Score(0.5, reason="half")
    return Verdict(float(right) + 0.05, scores, right, right, answer=scores["gsm8k"])


def test_a_step_is_a_line_and_pandas_reads_it(tmp_path: Path) -> None:
    with Journal(tmp_path) as book:
        book.metrics({"step": 1, "reward": 0.5})
        book.metrics({"step": 2, "reward": 0.75, "eval/pass@1": 0.25})
    assert pd.read_json(tmp_path / "metrics.jsonl", lines=True)["reward"].tolist() == [0.5, 0.75]
    assert read_metrics(tmp_path)["eval/pass@1"].tolist()[1] == 0.25


def test_what_is_no_finite_number_becomes_null(tmp_path: Path) -> None:
    Journal(tmp_path).metrics({"step": 1, "kl": float("nan"), "ratio": float("inf")})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "kl": None, "ratio": None}


def test_a_resumed_run_forgets_what_came_after_its_checkpoint_and_the_torn_line(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    for step in (1, 2, 3):
        book.metrics({"step": step, "reward": 0.0})
        book.rollouts(step, [group("2")])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "rew')
    book.faults(3, [group("2")], {(0, 0)})
    assert [row["step"] for row in book.truncate(2)] == [1, 2]
    assert read_metrics(tmp_path)["step"].tolist() == [1, 2]
    assert list(rollout_steps(tmp_path)) == [1, 2]
    assert not list((tmp_path / "faults").iterdir())
    book.metrics({"step": 3, "reward": 1.0})
    assert read_metrics(tmp_path)["step"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("meddle", "there"), [("cut", "has 4 bytes"), ("append", r"has \d+ bytes"), ("remove", "is gone")])
def test_a_file_that_others_change_meanwhile_is_not_written_on(meddle: str, there: str, tmp_path: Path) -> None:
    book, path = Journal(tmp_path), tmp_path / "metrics.jsonl"
    book.metrics({"step": 1, "reward": 0.0})
    if meddle == "cut":
        os.truncate(path, 4)
    elif meddle == "append":
        with path.open("a") as file:
            file.write("?")
    else:
        path.unlink()
    with pytest.raises(StorageError, match=rf"metrics\.jsonl {there}, but this run left it with \d+: something else changes its files"):
        book.metrics({"step": 2, "reward": 0.0})


def test_a_line_that_a_kill_tore_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "resumed.jsonl"
    assert append_line(path, {"é": 1}) == len(b'{"\xc3\xa9": 1}\n')
    os.truncate(path, 5)
    append_line(path, {"step": 2})
    assert path.read_text().splitlines() == ['{"é"', '{"step": 2}']


def test_the_rows_behind_a_number_that_is_none_are_stored_as_rollouts_are(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    groups = [group("1", "2"), group("3", "4")]
    path = book.faults(7, groups, {(0, 1), (1, 0)})
    assert path == tmp_path / "faults" / "step-00007.parquet"
    found, whole = pd.read_parquet(path), pd.read_parquet(book.rollouts(7, groups))
    assert found["completion"].tolist() == whole["completion"].tolist()[1:3]
    assert list(found) == list(whole)


def test_there_is_nothing_to_truncate_in_a_new_run(tmp_path: Path) -> None:
    Journal(tmp_path).truncate(0)
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    assert read_metrics(tmp_path)["step"].tolist() == [1]


@pytest.mark.parametrize("line", ["{", "[1]", "{}", "null"])
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl:2: damaged"):
        read_metrics(tmp_path)


def test_a_run_without_metrics_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no metrics\.jsonl here"):
        read_metrics(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't be written"):
        Journal(tmp_path / "file").metrics({"step": 1})


def test_every_completion_is_a_row_with_its_scores_and_reasons(tmp_path: Path) -> None:
    path = Journal(tmp_path).rollouts(12, [group("1+1=2", "7"), group("no")], advantages=[[1.0, -1.0], [None]])
    assert path == tmp_path / "rollouts" / "step-00012.parquet"
    rows = pd.read_parquet(path)
    assert rows[["group", "sample"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0]]
    first = rows.iloc[0]
    assert (first["step"], first["problem_id"], first["prompt"], first["gold"]) == (12, "arithmetic/train/1", "1+1?\n", "2")
    assert (first["completion"], list(first["token_ids"]), first["tokens"]) == ("1+1=2", [0, 1, 2, 3, 4], 5)
    assert (first["score_gsm8k"], first["reason_gsm8k"], first["score_format"], first["reason_format"]) == (
        1.0,
        "reason of gsm8k",
        0.5,
        "half",
    )
    assert (first["verdict"], first["answer"], first["finish_reason"], first["policy_version"]) == ("correct", "2", "stop", 3)
    assert (list(first["logprobs"]), first["logprob_sum"]) == ([-0.5] * 5, -2.5)
    assert rows["advantage"].isna().tolist() == [False, False, True]
    assert rows["correct"].tolist() == [True, False, False]


def test_the_files_of_a_run_open_as_one_table_even_where_a_step_found_no_answer(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.rollouts(1, [group("no")])
    book.rollouts(2, [group("2")])
    assert pd.read_parquet(tmp_path / "rollouts")["answer"].isna().tolist() == [True, False]


def test_log_probabilities_that_the_engine_did_not_give_are_null(tmp_path: Path) -> None:
    untold = Group(group("x").prompt, (Completion("2", (1, 2)),), (Verdict(1.0),))
    row = pd.read_parquet(Journal(tmp_path).rollouts(1, [untold])).iloc[0]
    assert row[["logprobs", "logprob_sum"]].isna().all()


def test_text_that_utf8_cannot_hold_is_stored_all_the_same(tmp_path: Path) -> None:
    path = Journal(tmp_path).rollouts(1, [group("half a pair \ud83d")])
    assert pd.read_parquet(path)["completion"].tolist() == ["half a pair ?"]


def test_an_answer_judged_without_weight_is_told_but_is_no_score_of_the_recipe(tmp_path: Path) -> None:
    judgement = Score(0.0, "wrong", "3 is not 2", answer="3")
    judged = Verdict(0.5, {"format": Score(0.5), "mine": Score(0.0, "error", "KeyError")}, answer=judgement)
    path = Journal(tmp_path).rollouts(1, [Group(group("x").prompt, group("x").completions, (judged,))])
    row = pd.read_parquet(path).iloc[0]
    assert (row["verdict"], row["reason"], row["answer"]) == ("wrong", "3 is not 2", "3")
    assert row.filter(like="score_").index.tolist() == ["score_format", "score_mine"]


def test_verifiers_may_score_without_judging_answers(tmp_path: Path) -> None:
    scored = Group(group("x").prompt, group("x").completions, (Verdict(0.5, {"format": Score(0.5)}),))
    row = pd.read_parquet(Journal(tmp_path).rollouts(1, [scored])).iloc[0]
    assert (row["verdict"], row["reason"]) == ("scored", "")


def test_the_environment_tells_versions_seed_and_command(tmp_path: Path) -> None:
    facts = json.loads(write_environment(tmp_path, seed=5).read_text())
    assert facts["seed"] == 5
    assert facts["argv"] == sys.argv
    assert facts["versions"]["pydantic"]
    assert facts["versions"]["vllm"] is None or isinstance(facts["versions"]["vllm"], str)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=folder, check=True, capture_output=True)


def test_the_git_state_is_that_of_the_checkout_and_says_when_it_is_dirty(tmp_path: Path) -> None:
    assert journal._git_state(tmp_path) is None
    git(tmp_path, "init")
    package = tmp_path / "__init__.py"
    package.write_text("")
    assert journal._git_state(tmp_path) is None  # inside a repository that does not hold the package
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    clean = journal._git_state(tmp_path)
    assert clean is not None
    assert len(str(clean["commit"])) == 40
    assert clean["dirty"] is False
    package.write_text("changed")
    assert journal._git_state(tmp_path) == {"commit": clean["commit"], "dirty": True}


def test_trackers_that_are_not_installed_are_all_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ConfigError) as caught:
        Journal(tmp_path, ["wandb", "trackio", "nosuch"])
    assert "pip install 'reasoning-rl[wandb]'" in str(caught.value)
    assert "pip install 'reasoning-rl[trackio]'" in str(caught.value)
    assert "no such tracker 'nosuch'" in str(caught.value)


class FakeHosted(types.ModuleType):
    """Stands for wandb and trackio: remembers what it was told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.told: list[object] = []

    def init(self, **settings: Any) -> "FakeHosted":
        self.told.append(settings)
        return self

    def log(self, row: Mapping[str, float], step: int) -> None:
        self.told.append((step, row))

    def finish(self) -> None:
        self.told.append("finished")


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_hosted_tracker_is_told_config_finite_metrics_and_the_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeHosted()
    monkeypatch.setitem(sys.modules, name, fake)
    with Journal(tmp_path / "first", [name], config={"seed": 1}) as book:
        book.metrics({"step": 4, "reward": 0.5, "kl": float("nan")})
    assert fake.told == [{"project": "reasoning-rl", "name": "first", "config": {"seed": 1}}, (4, {"reward": 0.5}), "finished"]


def test_tensorboard_gets_event_files_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with Journal(tmp_path, ["tensorboard"]) as book:
        book.metrics({"step": 1, "reward": 0.5})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"reward" in events.read_bytes()
