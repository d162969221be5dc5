"""The stage eval on benchmark suites, from the command line on: any model, without training, and a run's own policies."""

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from conftest import TEXTS, tiny_policy
from test_pipeline import rewarded
from typer.testing import CliRunner, Result

from reasoning_rl import cli, options
from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.data.suite import message
from reasoning_rl.data.suites import SUITES
from reasoning_rl.data.tokenizer import learn_tokenizer, plain_chat, save_tokenizer
from reasoning_rl.errors import ConfigError, DataError, EngineError
from reasoning_rl.eval.report import Report, read_report
from reasoning_rl.recipes import load_config, model_name
from reasoning_rl.records import Prompt
from reasoning_rl.rollout.judge import Judge
from reasoning_rl.suitestage import Exam, Failures, Taker, refused_golds

SHARED = Path(os.environ.get("REASONING_RL_SHARED", Path(__file__).parents[2] / "shared")) / "data"
QUICK = ("eval.bootstrap=100", "eval.max_tokens=8", "policy.device=cpu", "judge.workers=1")
PROBLEMS = [{"question": f"What is {number}+1?", "answer": f"#### {number + 1}"} for number in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, of a policy that knows nothing."""
    folder = tmp_path_factory.mktemp("models")
    save_tokenizer(learn_tokenizer(TEXTS, 300), folder / "tokenizer", 512)
    tiny_policy(str(folder / "tokenizer"), context=512).save(folder / "tiny")
    return folder / "tiny"


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    """Some problems in the columns of GSM8K."""
    return written(tmp_path / "gsm8k.jsonl", PROBLEMS)


def written(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def run(command: str, runs: Path, *arguments: object) -> Result:
    """A command of the command line, its runs in this folder."""
    return CliRunner().invoke(cli.app, [command, *map(str, arguments), f"runs={runs}"])


def asked(runs: Path, model: Path, *arguments: object) -> Result:
    return run("eval", runs, "--model", model, *arguments, *QUICK)


def report(runs: Path, suite: str, run_name: str = "tiny", policy: str = "tiny") -> Report:
    return read_report(runs / run_name / "eval" / suite / policy / "report.json")


def test_a_model_folder_is_evaluated_without_training_or_data(model: Path, gsm8k: Path, tmp_path: Path) -> None:
    done = asked(tmp_path, model, "--suite", "gsm8k", "--samples", 2, "--limit", 3, f"eval.paths.gsm8k={gsm8k}")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "tiny" / "eval" / "gsm8k" / "tiny"
    assert {"samples.parquet", "problems.parquet", "report.json", "report.md"} <= {path.name for path in folder.iterdir()}
    assert list(pd.read_parquet(folder / "problems.parquet").problem_id) == ["gsm8k/test/0", "gsm8k/test/1", "gsm8k/test/2"]
    assert len(pd.read_parquet(folder / "samples.parquet")) == 3 * (2 + 1)  # two sampled, one greedy
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [".lock", "eval"]


def test_a_report_says_what_was_asked_and_how(model: Path, gsm8k: Path, tmp_path: Path) -> None:
    asked(tmp_path, model, "--suite", "gsm8k", "--samples", 2, "--limit", 3, f"eval.paths.gsm8k={gsm8k}")
    facts = report(tmp_path, "gsm8k").facts
    assert facts["suite"] == {
        "name": "gsm8k", "rows_read": 4, "rows_of_benchmark": 1319, "refused_golds": {}, "cite": "Cobbe et al. 2021, arXiv:2110.14168",
    }  # fmt: skip
    assert facts["data_inputs"] == {str(gsm8k): sha256(gsm8k.read_bytes()).hexdigest()}
    assert facts["template"] == "gsm8k, chat"  # tokenizers that are learned here have a chat format
    assert facts["template_sha256"] == message(SUITES.get("gsm8k"), plain_chat).sha256
    assert facts["rewards"] == {"gsm8k": {"weight": 1.0, "options": {}, "gate": "none"}}
    assert facts["note"] == "No figure of the benchmark: gsm8k has 1,319 problems, and 3 were asked."
    assert facts["policy"] == str(model)


def test_the_number_of_samples_decides_what_k_are_reported(model: Path, tmp_path: Path) -> None:
    asked(tmp_path, model, "--suite", "arithmetic", "--samples", 5, "--limit", 1)
    passes = [measure.k for measure in report(tmp_path, "arithmetic").metrics if measure.metric == "pass@k"]
    assert passes == [1, 2, 4]


def test_a_line_for_each_report_ends_the_output(model: Path, gsm8k: Path, tmp_path: Path) -> None:
    done = asked(tmp_path, model, "--suite", "gsm8k,arithmetic", "--samples", 1, "--limit", 2, f"eval.paths.gsm8k={gsm8k}")
    place = tmp_path / "tiny" / "eval"
    # of two problems none is solved; Wilson's interval is z²/(2+z²) = 3.841/5.841 wide
    assert done.stdout.splitlines()[-2:] == [
        f"gsm8k       tiny  pass@1 0.000 (0.000 to 0.658)  {place}/gsm8k/tiny",
        f"arithmetic  tiny  pass@1 0.000 (0.000 to 0.658)  {place}/arithmetic/tiny",
    ]


def test_what_is_there_is_kept_until_its_problems_or_the_way_of_asking_change(model: Path, gsm8k: Path, tmp_path: Path) -> None:
    settings = ("--suite", "gsm8k", "--samples", 1, "--limit", 2, f"eval.paths.gsm8k={gsm8k}")
    kept = f"{tmp_path}/tiny/eval/gsm8k/tiny is up to date"
    assert kept not in asked(tmp_path, model, *settings).output
    assert kept in asked(tmp_path, model, *settings).output
    assert kept in asked(tmp_path, model, *settings, "--suite", "arithmetic").output  # other suites are no matter
    assert kept not in asked(tmp_path, model, *settings, "eval.template=plain").output
    assert report(tmp_path, "gsm8k").facts["template"] == "plain"
    written(gsm8k, PROBLEMS[::-1])
    assert kept not in asked(tmp_path, model, *settings, "eval.template=plain").output


def test_an_unknown_suite_ends_with_2_before_the_model_is_looked_at(tmp_path: Path) -> None:
    done = asked(tmp_path, tmp_path / "absent", "--suite", "gsm9k")
    assert done.exit_code == 2
    assert ": no such suite; known: aime24, " in done.stderr
    assert "Did you mean 'gsm8k'?" in done.stderr


def test_an_unknown_template_and_one_without_suites_end_with_2(model: Path, tmp_path: Path) -> None:
    done = asked(tmp_path, model, "--suite", "gsm8k", "eval.template=plian")
    assert done.exit_code == 2
    assert "eval.template: no such template 'plian'" in done.stderr
    done = asked(tmp_path, model, "eval.template=plain")
    assert done.exit_code == 2
    assert "eval.template: suites are asked by it, and eval.suites is empty" in done.stderr


def test_a_model_that_is_not_there_ends_with_4(tmp_path: Path) -> None:
    done = asked(tmp_path, tmp_path / "absent", "--suite", "arithmetic")
    assert done.exit_code == 4
    assert "there is no folder" in done.stderr


def test_a_suite_that_fails_takes_no_other_along(model: Path, tmp_path: Path) -> None:
    done = asked(tmp_path, model, "--suite", "gsm8k,arithmetic", "--samples", 1, "--limit", 1, f"eval.paths.gsm8k={tmp_path}/absent")
    assert done.exit_code == 3
    assert done.stderr == f"Error: suite gsm8k: eval.paths.gsm8k: there is no file or folder {tmp_path}/absent\n"
    assert "gsm8k is left out" in done.stdout
    assert report(tmp_path, "arithmetic").metrics[0].n == 1
    assert not (tmp_path / "tiny" / "eval" / "gsm8k").exists()


# `datasets` writes its cache without closing every file at once
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_hub_that_is_away_leaves_the_suites_that_need_none(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.load

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hugging Face Hub")

    monkeypatch.setattr(datasets.load, "load_dataset", away)
    done = asked(tmp_path, model, "--suite", "aime24", "--suite", "arithmetic", "--suite", "svamp", "--samples", 1, "--limit", 1)
    assert done.exit_code == 3
    for suite in ("aime24", "svamp"):
        assert f"suite {suite}: " in done.stderr
        assert f"Without a connection, give local files by eval.paths.{suite}." in done.stderr
    assert report(tmp_path, "arithmetic").metrics[0].n == 1


def test_a_problem_that_does_not_fit_names_the_setting_and_stops_its_suite_alone(model: Path, gsm8k: Path, tmp_path: Path) -> None:
    written(gsm8k, [{"question": "How many? " * 200, "answer": "#### 1"}])
    done = asked(tmp_path, model, "--suite", "gsm8k,arithmetic", "--samples", 1, "--limit", 1, f"eval.paths.gsm8k={gsm8k}")
    assert done.exit_code == 6
    assert "suite gsm8k: problem gsm8k/test/0: a prompt of " in done.stderr
    assert done.stderr.endswith("; lower eval.max_tokens, or leave the suite out\n")
    assert (tmp_path / "tiny" / "eval" / "arithmetic" / "tiny" / "report.json").is_file()


def test_a_model_of_a_short_context_gets_what_is_left_of_it(model: Path, gsm8k: Path, tmp_path: Path) -> None:
    shared = ("--suite", "gsm8k", "--samples", 1, "--limit", 2, f"eval.paths.gsm8k={gsm8k}", "eval.bootstrap=100", "policy.device=cpu")
    done = run("eval", tmp_path, "--model", model, *shared)
    assert done.exit_code == 0, done.output
    found = report(tmp_path, "gsm8k")
    sampling = found.facts["sampling"]
    assert isinstance(sampling, dict)
    assert 300 < sampling["max_tokens"] < 512  # of a context of 512, where the suite has 1,024
    assert f"Answers end at {sampling['max_tokens']} tokens, which is what the model's context leaves; gsm8k has 1,024." in str(
        found.facts["note"]
    )


OWN = """
from reasoning_rl.data.hub import HubTable
from reasoning_rl.data.suite import Table
from reasoning_rl.data.suites import parse_minerva
from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier


@verifier("unlucky", judges_answer=True)
def unlucky(completion: Completion, problem: Problem) -> Score:
    return Score(float(problem.gold != "13"), "wrong", "no 13")


exam = Table(
    name="exam", hub=HubTable("someone/exam", "", "test"), size=2, parse=parse_minerva, verifier=__file__ + ":unlucky", max_tokens=64
)
"""


def test_a_suite_of_ones_own_with_its_verifier_is_asked_and_golds_it_refuses_are_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    written(tmp_path / "exam.jsonl", [{"question": "12+1?", "answer": "13"}, {"question": "12+2?", "answer": "14"}])
    settings = (
        f"eval={{suites: ['{tmp_path}/own.py:exam'], paths: {{exam: {tmp_path}}}, samples: 1, k: [1], max_tokens: 8, bootstrap: 100}}"
    )
    done = run("eval", tmp_path, "-r", "suites", "name=mine", "--model", model, settings, "policy.device=cpu")
    assert done.exit_code == 0, done.output
    found = report(tmp_path, "exam", "mine")
    suite = found.facts["suite"]
    assert isinstance(suite, dict)
    assert suite["refused_golds"] == {"exam/test/0": "wrong: no 13"}
    assert found.facts["note"] == "The verifier refuses the golds of exam/test/0, which nobody can solve."
    assert found.metrics[0].value == 0.5  # the one is right whatever the answer, the other never is


RUN = (
    "-r", "smoke", "name=own", "cold_start.enabled=false", "train.steps=1", "train.eval_every=0", "data.arithmetic.train_problems=20",
    "data.arithmetic.eval_problems=4", "data.arithmetic.demonstrations=4", "sampling.max_tokens=6", "data.max_prompt_tokens=400",
    "policy.device=cpu",
)  # fmt: skip


def test_a_run_is_evaluated_on_suites_before_and_after_training_as_it_was_trained(model: Path, tmp_path: Path) -> None:
    settings = (*RUN, f"policy.model={model}", rewarded(tmp_path))
    assert run("train", tmp_path, *settings).exit_code == 0
    done = run("eval", tmp_path, *settings, "--suite", "arithmetic", "--samples", 2, "--limit", 2, "eval.bootstrap=100")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "own" / "eval" / "arithmetic"
    assert {"base", "trained", "comparison.md", "passk.png"} <= {path.name for path in folder.iterdir()}
    for policy in ("base", "trained"):
        facts = report(tmp_path, "arithmetic", "own", policy).facts
        sampling = facts["sampling"]
        assert isinstance(sampling, dict)
        assert (facts["template"], sampling["max_tokens"]) == ("plain", 6)
    assert not (tmp_path / "own" / "eval" / "base").exists()
    assert [line.split()[:2] for line in done.stdout.splitlines()[-2:]] == [["arithmetic", "base"], ["arithmetic", "trained"]]


def test_a_run_that_is_not_trained_has_nothing_to_ask(tmp_path: Path) -> None:
    done = run("eval", tmp_path, "-r", "smoke", "--suite", "arithmetic")
    assert done.exit_code == 8
    assert "there is no policy here to evaluate" in done.stderr


def exam(own: bool, *overrides: str) -> Exam:
    suite = SUITES.get("aime24")
    config = load_config("suites", ["eval.suites=[aime24]", *overrides])
    return Exam(config, suite, Taker("x", "x", None, own, ""), message(suite, None), {"file": "abc"})


def test_a_model_may_answer_as_long_as_the_suite_says_and_a_run_as_long_as_it_was_trained_to() -> None:
    assert exam(False).max_tokens == 8192
    assert exam(True).max_tokens == exam(True).config.sampling.max_tokens == 64
    assert exam(True, "eval.max_tokens=5").max_tokens == exam(False, "eval.max_tokens=5").max_tokens == 5


def test_a_report_is_for_one_way_of_asking() -> None:
    key = exam(False).facts["key"]
    assert exam(False, "eval.paths.svamp=x", "sampling.batch_rows=1").facts["key"] == key
    for change in ("eval.max_tokens=5", "eval.temperature=1", "seed=1", "eval.limit=1"):
        assert exam(False, change).facts["key"] != key


def test_failures_are_raised_as_one_of_the_class_of_the_first() -> None:
    failures, aime, svamp = Failures(), SUITES.get("aime24"), SUITES.get("svamp")
    failures.tell()
    for suite, failure in ((aime, DataError("a")), (aime, DataError("b")), (svamp, EngineError("c"))):
        with failures.noted(suite):
            raise failure
    with pytest.raises(DataError, match=r"^suite aime24: a\nsuite svamp: c$"):
        failures.tell()


def test_a_mistake_that_is_none_of_the_suite_stops_all() -> None:
    with pytest.raises(ConfigError), Failures().noted(SUITES.get("aime24")):
        raise ConfigError("x")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real problems in {SHARED}")
@pytest.mark.parametrize(("name", "place"), [("gsm8k", "gsm8k"), ("math500", "math")])
def test_no_gold_of_a_real_benchmark_is_beyond_reach(name: str, place: str) -> None:
    suite = SUITES.get(name)
    problems = suite.read(load_config("suites", [f"eval.paths.{name}={SHARED / place}"]))
    with Judge({suite.verifier: VerifierConfig(options=dict(suite.options))}, JudgeConfig()) as judge:
        assert refused_golds(judge, message(suite, plain_chat), [Prompt(problem, "", ()) for problem in problems]) == {}


def test_the_options_choose_the_recipe() -> None:
    assert options.evaluation(None, [], None, [], None, None) == ("cpu", [])
    assert options.evaluation(None, [], "a/b", [], None, None) == ("cpu", [])
    assert options.evaluation(None, ["seed=1"], "a/b", ["gsm8k"], None, 3) == (
        "suites",
        ['name="a-b"', 'policy.model="a/b"', 'eval.suites=["gsm8k"]', "eval.limit=3", "seed=1"],
    )
    assert options.evaluation("cpu", [], "a/b", ["gsm8k"], None, None) == ("cpu", ['eval.suites=["gsm8k"]'])
    assert options.evaluation(None, ["eval.suites=[svamp]"], "a/b", [], None, None)[0] == "suites"


@pytest.mark.parametrize(("samples", "ks"), [(1, [1]), (2, [1, 2]), (15, [1, 2, 4, 8]), (16, [1, 2, 4, 8, 16])])
def test_k_goes_up_in_powers_of_two_to_the_number_of_samples(samples: int, ks: list[int]) -> None:
    recipe, overrides = options.evaluation(None, [], "a/b", ["gsm8k"], samples, None)
    assert load_config(recipe, overrides).eval.k == ks
    assert load_config(recipe, [*overrides, "eval.k=[1]"]).eval.k == [1]


def test_a_checkpoint_is_called_after_its_run(tmp_path: Path) -> None:
    (tmp_path / "cpu" / "checkpoints" / "step-00120").mkdir(parents=True)
    assert model_name(str(tmp_path / "cpu" / "checkpoints" / "step-00120")) == "cpu-step-00120"
    assert model_name(str(tmp_path / "cpu")) == "cpu"
    assert model_name("Cache") == "Cache-model"
