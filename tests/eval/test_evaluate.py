"""Evaluations of a scripted policy, read back with plain pandas."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from eval_fakes import CREATED, ExactJudge, ScriptedEngine, evaluated, prompt

from reasoning_rl.config import EvalConfig, VerifierConfig
from reasoning_rl.errors import ConfigError, DataError, EngineError, StorageError
from reasoning_rl.eval import evaluate as module
from reasoning_rl.eval.evaluate import evaluate, quick
from reasoning_rl.eval.report import TABLES, Report, read_report
from reasoning_rl.files import sha256_of
from reasoning_rl.records import Completion, Problem, Prompt, Verdict
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.engine import Sampling

SCRIPT = {0: "0 <0> 5 5", 1: "1 1 1 7…", 2: "9  8 8", 11: "11 11 11 11"}
"""Problem 2's second answer is an end of sequence alone."""


def test_an_evaluation_leaves_its_five_files(tmp_path: Path) -> None:
    evaluated(tmp_path / "trained", SCRIPT)
    names = sorted(file.name for file in (tmp_path / "trained").iterdir())
    assert names == ["passk.png", "problems.parquet", "report.json", "report.md", "samples.parquet"]


def test_samples_open_in_pandas_one_row_per_answer(tmp_path: Path) -> None:
    evaluated(tmp_path / "trained", SCRIPT)
    rows = pd.read_parquet(tmp_path / "trained" / "samples.parquet")
    assert list(rows["kind"].value_counts()[["sampled", "greedy"]]) == [16, 4]
    first = rows[rows["problem_id"] == "toy/test/0"]
    assert first["completion"].tolist() == ["0", "<0>", "5", "5", "5"]
    assert first["sample"].tolist() == [0, 1, 2, 3, 0]
    assert first["reward"].tolist() == [1.0, 1.1, 0.0, 0.0, 0.0]
    assert first["strict"].tolist() == [False, True, False, False, False]
    assert first["score_format"].tolist() == [0, 1, 0, 0, 0]
    assert first["verdict"].tolist() == ["correct", "correct", "wrong", "wrong", "wrong"]
    assert first["reason"].iloc[2] == "5 against 0"
    assert rows["answer"].isna().sum() == 1  # the empty answer
    assert rows[rows["finish_reason"] == "length"]["completion"].tolist() == ["7…", "7…"]
    assert rows["prompt_hash"].nunique() == 4


def test_problems_hold_the_counts_behind_the_estimates(tmp_path: Path) -> None:
    evaluated(tmp_path / "trained", SCRIPT)
    table = pd.read_parquet(tmp_path / "trained" / "problems.parquet").set_index("problem_id")
    assert table["n"].tolist() == [4, 4, 4, 4]
    assert table["c"].tolist() == [2, 3, 0, 4]
    assert table["c_strict"].tolist() == [1, 0, 0, 0]
    assert table["p"].tolist() == [0.5, 0.75, 0.0, 1.0]
    assert table["greedy_correct"].tolist() == [False, False, False, True]
    assert [list(votes) for votes in table["votes"]] == [[2], [1], [2, 1], []]  # 5 5; 7; 8 8 and 9, and an end of sequence alone
    assert [list(sizes) for sizes in table["tiers_n"]] == [[1, 1, 2], [3, 1], [4], [4]]  # rewards 1.1, 1, 0 of the first
    assert [list(right) for right in table["tiers_c"]] == [[1, 1, 0], [3, 0], [0], [4]]
    assert [list(sizes) for sizes in table["lengths_n"]] == [[3, 1], [3, 1], [4], [0, 4]]  # 1 token; 2 or 3
    assert [list(right) for right in table["lengths_c"]] == [[1, 1], [3, 0], [0], [0, 4]]
    assert table["truncated_c"].tolist() == [0, 0, 0, 0]
    assert table["maj@4"].tolist() == [0.5, 1.0, 0.0, 1.0]
    assert table["reward"].tolist() == [2.1 / 4, 3 / 4, 0, 1]
    assert table["steps"].isna().all()  # no worked solution
    assert table["tokens"].tolist() == [(1 + 3 + 1 + 1) / 4, (1 + 1 + 1 + 2) / 4, 1.0, 2.0]
    assert table["truncated"].tolist() == [0.0, 0.25, 0.0, 0.0]
    assert table["gold"].tolist() == ["0", "1", "2", "11"]


def test_the_report_averages_over_problems(tmp_path: Path) -> None:
    report = evaluated(tmp_path / "trained", SCRIPT)
    values = {measure.label: measure.value for measure in report.metrics}
    assert values == {
        "pass@1": (0.5 + 0.75 + 0 + 1) / 4,
        "pass@4": 3 / 4,
        "pass@1 strict": 1 / 16,
        "greedy": 1 / 4,
        "pass^4": 1 / 4,
        "maj@4": 2.5 / 4,  # two against two is a tie
        "best@4": 3 / 4,
        "avg@4": 9 / 16,
        "reward": pytest.approx((2.1 + 3 + 0 + 4) / 16),
        "tokens": (1.5 + 1.25 + 1 + 2) / 4,
        "truncated": 1 / 16,
    }
    assert report.verdicts == {"correct": 9, "wrong": 6, "no_answer": 1}
    assert all(measure.low <= measure.value <= measure.high and measure.n == 4 for measure in report.metrics)


def test_parts_are_reported_by_level(tmp_path: Path) -> None:
    report = evaluated(tmp_path / "trained", SCRIPT)
    parts = {(part.facet, part.group, part.label): (part.value, part.n) for part in report.slices}
    assert parts["level", "0", "pass@1"] == ((0.5 + 0) / 2, 2)  # problems 0 and 2
    assert parts["level", "1", "pass@1"] == ((0.75 + 1) / 2, 2)
    assert parts["level", "1", "greedy"] == (0.5, 2)
    assert parts["length", "1", "pass@1"] == (4 / 10, 3)  # of ten answers of one token four are right
    assert parts["length", "2 to 3", "pass@1"] == (5 / 6, 3)
    assert parts["ending", "cut off", "pass@1"] == (0.0, 1)
    assert parts["ending", "ended", "pass@1"] == (9 / 15, 4)
    assert {facet for facet, _, _ in parts} == {"level", "length", "ending"}  # the subject is the same everywhere


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "a" / "trained", tmp_path / "b" / "trained"):
        evaluated(folder, SCRIPT)
    for name in ("report.json", "report.md", "passk.png", "problems.parquet", "samples.parquet"):
        assert (tmp_path / "a" / "trained" / name).read_bytes() == (tmp_path / "b" / "trained" / name).read_bytes(), name


def test_the_report_names_what_it_comes_from(tmp_path: Path) -> None:
    evaluated(tmp_path / "trained", SCRIPT, facts={"template": "r1", "manifest": {"sha256": "abc"}})
    facts = json.loads((tmp_path / "trained" / "report.json").read_text())["facts"]
    assert (facts["template"], facts["manifest"], facts["seed"], facts["problems"]) == ("r1", {"sha256": "abc"}, 1, 4)
    assert facts["sampling"] == {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": 9, "stop": [], "greedy": True}


def test_the_order_of_problems_does_not_change_their_hash(tmp_path: Path) -> None:
    there = evaluated(tmp_path / "there", SCRIPT)
    back = evaluated(tmp_path / "back", dict(reversed(SCRIPT.items())))
    assert there.facts["problems_sha256"] == back.facts["problems_sha256"]
    assert there.facts["prompts_sha256"] == back.facts["prompts_sha256"]


def test_every_policy_draws_from_the_same_stream(tmp_path: Path) -> None:
    engine = ScriptedEngine({"toy/test/3": ["3", "4"]})
    config = EvalConfig(samples=2, k=[1], temperature=0.7, top_p=0.9, max_tokens=5, bootstrap=100)
    evaluate(engine, [prompt(3)], ExactJudge(), config, folder=tmp_path, name="any", max_tokens=9, seed=4, stop=("##",))
    sampled = Sampling(2, 5, 0.7, 0.9, stop=("##",), seed=4, stream="eval")
    greedy = Sampling(1, 5, 0, stop=("##",), seed=4, stream="eval")
    assert [sampling for _, sampling in engine.calls] == [sampled, greedy]


def test_greedy_can_be_left_out(tmp_path: Path) -> None:
    report = evaluated(tmp_path / "trained", SCRIPT, greedy=False)
    assert report.find("greedy") is None
    assert pd.read_parquet(tmp_path / "trained" / "problems.parquet")["greedy_correct"].isna().all()


def test_one_sample_gives_no_vote(tmp_path: Path) -> None:
    report = evaluated(tmp_path / "trained", {1: "1", 2: "3"}, k=[1])
    assert [measure.label for measure in report.metrics] == ["pass@1", "pass@1 strict", "greedy", "avg@1", "reward", "tokens", "truncated"]


def test_limit_takes_the_first_problems(tmp_path: Path) -> None:
    assert evaluated(tmp_path / "trained", SCRIPT, limit=2).metrics[0].n == 2


def test_problems_are_asked_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluated(tmp_path / "a" / "run", SCRIPT)
    monkeypatch.setattr(module, "ANSWERS_PER_CHUNK", 8)  # two problems of four answers
    engine = ScriptedEngine({f"toy/test/{number}": texts.split(" ") for number, texts in SCRIPT.items()})
    heard: list[tuple[int, int]] = []
    pieces = evaluate(
        engine,
        [prompt(number, level=str(number % 2)) for number in SCRIPT],
        ExactJudge(),
        EvalConfig(samples=4, k=[1, 4], bootstrap=200),
        folder=tmp_path / "b" / "run",
        name="run",
        max_tokens=9,
        seed=1,
        on_progress=lambda done, total: heard.append((done, total)),
        created=whole.created,
    )
    assert heard == [(2, 4), (4, 4)]
    assert [len(asked) for asked, _ in engine.calls] == [2, 2, 2, 2]
    files = {name: sha256_of(tmp_path / "b" / "run" / name) for name in TABLES}
    assert pieces == replace(whole, facts={**whole.facts, "files": files})  # samples.parquet has a row group a piece
    one, many = (pd.read_parquet(tmp_path / folder / "run" / "samples.parquet") for folder in "ab")
    order = ["problem_id", "kind", "sample"]
    pd.testing.assert_frame_equal(one.sort_values(order, ignore_index=True), many.sort_values(order, ignore_index=True))


class FormRewarded:
    """The verdicts of a recipe that rewards nothing but the format."""

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        reward = Reward({"format": VerifierConfig()})
        return [reward.verdict(*item) for item in items]


def test_the_vote_and_the_verdicts_are_of_answers_though_only_form_is_rewarded(tmp_path: Path) -> None:
    four = replace(prompt(4), problem=replace(prompt(4).problem, task="gsm8k"))
    engine = ScriptedEngine({"toy/test/4": ["#### 4", "#### 5", "#### 5.0", "####5"]})
    config = EvalConfig(samples=4, k=[1, 4], bootstrap=100, greedy=False)
    report = evaluate(engine, [four], FormRewarded(), config, folder=tmp_path, name="form", max_tokens=9, seed=0)
    vote = report.find("maj@k", 4)
    assert vote is not None
    assert vote.value == 0  # one vote for 4, three for 5, which is spelled in two ways
    assert report.verdicts == {"wrong": 3, "correct": 1}
    rows = pd.read_parquet(tmp_path / "samples.parquet")
    assert rows["answer"].tolist() == ["4", "5", "5.0", "5"]
    assert rows["reason"].str.len().min() > 0
    assert rows.filter(like="score_").columns.tolist() == ["score_format"]


def test_the_cpu_recipes_evaluation_tells_of_its_progress_several_times(tmp_path: Path) -> None:
    engine = ScriptedEngine({f"toy/test/{number}": ["1"] * 8 for number in range(500)})
    heard: list[int] = []
    evaluate(
        engine, [prompt(number) for number in range(500)], ExactJudge(), EvalConfig(samples=8, k=[1], bootstrap=100),
        folder=tmp_path, name="cpu", max_tokens=9, seed=0, on_progress=lambda done, _: heard.append(done),
    )  # fmt: skip
    assert heard == [128, 256, 384, 500]  # 1024 answers are 128 problems


def test_the_page_on_evaluation_names_the_folders_that_a_run_has() -> None:
    page = Path(__file__).parents[2] / "docs" / "evaluation.md"
    named = set(re.findall(r"runs/cpu/eval/([\w-]+)", page.read_text(encoding="utf-8")))
    assert named == {"base", "trained", "seen", "perturbed"}  # and suites


def test_no_problem_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no problem to ask"):
        evaluate(ScriptedEngine({}), [], ExactJudge(), EvalConfig(), folder=tmp_path, name="empty", max_tokens=9, seed=0)
    with pytest.raises(DataError, match="no problem to ask"):
        quick(ScriptedEngine({}), [], ExactJudge(), Sampling(2, 9))


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'toy/test/1' stands more than once"):
        evaluate(
            ScriptedEngine({}), [prompt(1), prompt(1)], ExactJudge(), EvalConfig(), folder=tmp_path, name="twice", max_tokens=9, seed=0
        )


class Dying(ScriptedEngine):
    """Answers so many calls, then fails once."""

    def __init__(self, script: dict[str, list[str]], lives: int) -> None:
        super().__init__(script)
        self.lives = lives

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: object = None) -> list[list[Completion]]:
        self.lives -= 1
        if self.lives == -1:
            raise EngineError("the engine died")
        return super().generate(prompts, sampling, on_finished)


def asked(engine: ScriptedEngine, folder: Path, answers: str = "", **settings: object) -> Report:
    """The script put to an engine, two problems at a time."""
    config = EvalConfig.model_validate({"samples": 4, "k": [1, 4], "bootstrap": 200, **settings})
    prompts = [prompt(number, level=str(number % 2)) for number in SCRIPT]
    return evaluate(
        engine, prompts, ExactJudge(), config, folder=folder, name="run", max_tokens=9, seed=1, facts={"answers": answers}, created=CREATED
    )


ANSWERS = {f"toy/test/{number}": texts.split(" ") for number, texts in SCRIPT.items()}


@pytest.mark.parametrize("lives", [0, 1, 2, 3])
def test_a_killed_evaluation_goes_on_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lives: int) -> None:
    monkeypatch.setattr(module, "ANSWERS_PER_CHUNK", 8)  # two calls, sampled and greedy, for two problems
    asked(ScriptedEngine(ANSWERS), tmp_path / "whole")
    engine = Dying(ANSWERS, lives)
    with pytest.raises(EngineError, match="died"):
        asked(engine, tmp_path / "killed")
    assert not (tmp_path / "killed" / "report.json").exists()
    asked(engine, tmp_path / "killed")
    assert len(engine.calls) == lives + 4 - 2 * (lives // 2)  # a piece that was begun is asked again, one that is whole is not
    names = ["passk.png", "problems.parquet", "report.json", "report.md", "samples.parquet"]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == names
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_other_circumstances_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERS_PER_CHUNK", 8)
    with pytest.raises(EngineError, match="died"):
        asked(Dying(ANSWERS, 2), tmp_path, answers="weights of step 1")
    engine = ScriptedEngine(ANSWERS)
    asked(engine, tmp_path, answers="weights of step 2")
    assert len(engine.calls) == 4


def test_a_damaged_piece_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERS_PER_CHUNK", 8)
    with pytest.raises(EngineError, match="died"):
        asked(Dying(ANSWERS, 2), tmp_path)
    (piece,) = tmp_path.glob(".parts-*/*.parquet")
    piece.write_bytes(piece.read_bytes()[:100])
    engine = ScriptedEngine(ANSWERS)
    asked(engine, tmp_path)
    assert len(engine.calls) == 4


def test_what_is_made_of_the_answers_can_change_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERS_PER_CHUNK", 8)
    asked(ScriptedEngine(ANSWERS), tmp_path)
    samples = (tmp_path / "samples.parquet").read_bytes()
    engine = ScriptedEngine(ANSWERS)
    report = asked(engine, tmp_path, k=[1, 2, 3], best_of="score_format")
    assert engine.calls == []
    assert report.find("pass@k", 3) is not None
    best = report.find("best@k", 4)
    assert best is not None
    assert best.value == (1 + 0.75 + 0 + 1) / 4  # by format: the right one of the first problem; elsewhere all are alike
    assert (tmp_path / "samples.parquet").read_bytes() == samples


def test_a_ranking_by_what_answers_lack_is_refused_and_the_answers_are_kept(tmp_path: Path) -> None:
    known = r"known: reward, score_exact, score_format\. Did you mean 'score_exact'"
    with pytest.raises(ConfigError, match=rf"no column 'score_exakt'; {known}"):
        asked(ScriptedEngine(ANSWERS), tmp_path, best_of="score_exakt")
    engine = ScriptedEngine(ANSWERS)
    asked(engine, tmp_path, best_of="score_exact")
    assert engine.calls == []


def test_pieces_without_an_answer_in_common_columns_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERS_PER_CHUNK", 1)
    script = {"toy/test/1": [""], "toy/test/2": ["2"]}
    config = EvalConfig(samples=1, k=[1], greedy=False)
    evaluate(ScriptedEngine(script), [prompt(1), prompt(2)], ExactJudge(), config, folder=tmp_path, name="x", max_tokens=9, seed=0)
    assert pd.read_parquet(tmp_path / "samples.parquet")["answer"].fillna("none").tolist() == ["none", "2"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file stands here")
    with pytest.raises(StorageError, match=r"taken/run/\.parts-\w+/000000\.parquet can't be written"):
        evaluated(tmp_path / "taken" / "run", SCRIPT)


def test_quick_reports_under_metric_names_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = ScriptedEngine({"toy/test/1": ["1", "<1>"], "toy/test/2": ["5", "50…"]})
    assert quick(engine, [prompt(1), prompt(2)], ExactJudge(), Sampling(2, 9)) == {
        "eval/pass@1": 2 / 4,
        "eval/reward": (1 + 1.1 + 0 + 0) / 4,
        "eval/completions/mean_length": (1 + 3 + 1 + 3) / 4,
        "eval/completions/clipped_ratio": 1 / 4,
    }
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_read_back_as_written(tmp_path: Path) -> None:
    written = evaluated(tmp_path / "trained", SCRIPT)
    assert read_report(tmp_path / "trained" / "report.json") == written


def test_evaluating_and_comparing_need_no_torch() -> None:
    code = "import sys, reasoning_rl.eval.evaluate; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
