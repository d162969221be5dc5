"""The command line: what it prints, and how it ends. Each kind of bad input ends with one message and a documented exit code."""

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from reasoning_rl import __version__, cli, doctor, errors
from reasoning_rl.config import EvalConfig
from reasoning_rl.eval.evaluate import evaluate
from reasoning_rl.journal import Journal
from reasoning_rl.options import runs_named
from reasoning_rl.recipes import load_config, recipe_names
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, Verdict
from reasoning_rl.rollout.engine import Sampling

ROOT = Path(__file__).parent.parent


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def refused(code: int, said: str, *arguments: object) -> None:
    """Running this ends with `code`, one message that holds `said`, and no traceback."""
    result = run(*arguments)
    assert said in result.stderr
    assert result.exit_code == code
    assert result.stderr.count("Error") == 1
    assert "Traceback" not in result.output


# What it prints


@pytest.mark.parametrize("command", ["data", "train", "eval", "compare", "compare-objectives", "show", "verify", "doctor", "clean"])
def test_every_command_has_help(command: str) -> None:
    assert run(command, "--help").exit_code == 0


def test_the_version_is_printed() -> None:
    assert run("--version").output == f"{__version__}\n"


def test_the_module_is_the_same_as_the_console_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["reasoning-rl", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("reasoning_rl", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("name", recipe_names())
def test_a_printed_config_is_a_recipe_that_loads_to_the_same(name: str, tmp_path: Path) -> None:
    printed = run("data", "--recipe", name, "seed=3", "--print-config")
    assert printed.exit_code == 0, printed.output
    (tmp_path / "printed.yaml").write_text(printed.stdout)
    assert load_config(tmp_path / "printed.yaml") == load_config(name, ["seed=3"])


def test_printing_the_config_does_nothing_else(tmp_path: Path) -> None:
    run("train", "--recipe", "smoke", f"runs={tmp_path}", "--print-config")
    assert list(tmp_path.iterdir()) == []


def test_data_says_what_was_kept_and_does_it_once(tmp_path: Path) -> None:
    sizes = ["data.arithmetic.train_problems=20", "data.arithmetic.eval_problems=5", "data.arithmetic.demonstrations=300"]
    first = run("data", "-r", "smoke", f"runs={tmp_path}", *sizes)
    assert first.exit_code == 0, first.output
    assert "eval: 5 problems of 5 read" in first.output
    assert "up to date" in run("data", "-r", "smoke", f"runs={tmp_path}", *sizes).output


def test_one_completion_is_judged_to_a_json_line() -> None:
    result = run("verify", "--completion", "<think>6*7</think><answer>42</answer>", "--gold", "42", "--task", "gsm8k")
    assert result.exit_code == 0, result.output
    score = json.loads(result.stdout)
    assert (score["value"], score["verdict"], score["answer"]) == (1.0, "correct", "42")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_file_is_judged_row_by_row(suffix: str, tmp_path: Path) -> None:
    rows = pd.DataFrame({"completion": [r"\boxed{2}", r"\boxed{3}"], "gold": ["2", "2"], "task": ["math", "gsm8k"]})
    path = tmp_path / f"answers.{suffix}"
    if suffix == "jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_parquet(path)
    result = run("verify", path, "--out", tmp_path / "verdicts.parquet", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert list(pd.read_parquet(tmp_path / "verdicts.parquet")["verdict"]) == ["correct", "wrong"]
    assert "2 answers: 50.00% correct, 50.00% in the required format" in result.stdout


def test_stored_rollouts_are_judged_again_beside_their_old_verdicts(tmp_path: Path) -> None:
    stored(tmp_path, 1.0, 0.0, text="2 and")
    result = run("verify", tmp_path / "first", "--against", "verdict", "--examples", 1, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "math and verdict" in result.stdout
    assert "of 2 (" in result.stdout


def stored(runs: Path, *rewards: float, text: str = "[red]x[/red]") -> Path:
    """A run `first` with one group of completions at step 3."""
    prompt = Prompt(Problem("p/1", "s", "train", "1+1?", "2"), "1+1?", (1,))
    completions = tuple(Completion(f"{text} {reward}", (1, 2)) for reward in rewards)
    scores = [Score(reward, "wrong", f"why {reward}") for reward in rewards]
    verdicts = tuple(Verdict(score.value, {"math": score}, answer=score) for score in scores)
    return Journal(runs / "first").rollouts(3, [Group(prompt, completions, verdicts)])


def test_show_prints_the_worst_completions_with_reasons_and_keeps_their_brackets(tmp_path: Path) -> None:
    stored(tmp_path, 0.3, 0.1, 0.2)
    shown = run("show", "first", "--runs", tmp_path, "--worst", 2).output
    assert "[red]x[/red] 0.1" in shown
    assert shown.index("why 0.1") < shown.index("why 0.2")
    assert "why 0.3" not in shown


def test_show_prints_the_best_completions_of_a_folder(tmp_path: Path) -> None:
    stored(tmp_path, 0.3, 0.1, 0.2)
    shown = run("show", tmp_path / "first", "--step", 3, "--best", 1).output
    assert "why 0.3" in shown
    assert "why 0.2" not in shown


def test_doctor_says_what_every_recipe_needs() -> None:
    said = run("doctor").output
    assert "torch" in said
    assert all(name in said for name in recipe_names())


def test_a_machine_without_a_gpu_is_told_so_for_each_recipe_that_needs_one() -> None:
    bare = doctor.Machine(cores=1, memory_gib=4, disk_gib=10, gpus=(), threads="1")
    assert "needs an NVIDIA GPU" in list(doctor.needed(load_config("gsm8k-qwen2.5-0.5b"), bare))
    assert list(doctor.needed(load_config("smoke"), bare)) == []
    assert list(doctor.needed(load_config("cpu", ["learner.processes=2"]), bare)) == [
        "wants 2 cores; here are 1 (learner.processes=1 suits)"
    ]


def test_a_gpu_is_seen_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(name="H200", total_memory=141 * 1024**3))
    machine = doctor.inspect(Path())
    assert machine.gpus == ("H200, 141 GiB",)
    assert "needs an NVIDIA GPU" not in list(doctor.needed(load_config("gsm8k-qwen2.5-0.5b"), machine))


def test_a_machine_without_torch_or_a_tracker_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(doctor, "installed_version", lambda _: None)
    machine = doctor.inspect(Path())
    assert machine.gpus == ()
    assert "needs pip install 'reasoning-rl[wandb]'" in list(doctor.needed(load_config("smoke", ["train.trackers=[wandb]"]), machine))


def test_a_recipe_for_vllm_is_told_where_vllm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, machine = load_config("smoke", ["sampling.engine=vllm"]), doctor.inspect(Path())
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert list(doctor.needed(recipe, machine)) == ["needs vLLM (make setup-vllm)"]
    monkeypatch.setattr(doctor, "find_spec", lambda _: object())
    assert list(doctor.needed(recipe, machine)) == []


# How it ends: twenty kinds of bad input and more


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sampling.temprature=1", "Did you mean 'temperature'?"),
        ("seed=abc", "seed: found 'abc'; it should be a valid integer"),
        ("seed", "write setting=value"),
        ("sampling.group_size=1", "it should be greater than or equal to 2"),
        ("eval.k=[16]", "pass@16 needs at least 16 samples"),
        ("policy.architecture.context=100", "is shorter than data.max_prompt_tokens"),
        ("train.trackers=[nosuch]", "it should be 'tensorboard', 'wandb' or 'trackio'"),
        ("data.source=gsm9k", "Did you mean 'gsm8k'?"),
        ("data.template=plian", "Did you mean 'plain'?"),
        ("sampling=[1", "not YAML"),
    ],
)
@pytest.mark.parametrize("command", ["data", "train"])
def test_a_wrong_setting_ends_with_2(command: str, override: str, said: str) -> None:
    refused(2, said, command, override)


def test_several_mistakes_are_one_message() -> None:
    refused(2, "2 mistakes", "train", "seed=x", "sampling.group_size=1")


def test_an_unknown_recipe_ends_with_2() -> None:
    refused(2, "Did you mean 'smoke'?", "data", "--recipe", "smoek")


def test_a_broken_recipe_ends_with_2_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 1\nsampling: {\n")
    refused(2, "mine.yaml:3:1: not YAML", "data", "-r", tmp_path / "mine.yaml")


def test_an_unknown_verifier_ends_with_5() -> None:
    refused(5, "rewards.gsm9k: no such verifier", "data", "rewards.gsm9k=1")


def test_unknown_names_of_every_kind_are_one_message() -> None:
    refused(2, "rewards.gsm9k: no such verifier", "data", "data.source=nosuch", "rewards.gsm9k=1")


def test_an_unknown_objective_ends_with_2() -> None:
    refused(2, "Did you mean 'grpo'?", "train", "objective.name=grop")


def test_process_supervision_without_a_verifier_of_steps_ends_with_2() -> None:
    said = "objective.supervision: 'process' needs a verifier that scores steps, such as rewards.steps=0; found gsm8k, format"
    refused(2, said, "train", "objective=grpo_process")


def test_a_reference_that_is_renewed_must_be_there() -> None:
    refused(2, "learner.reference_every: found 5, yet grpo as it is set has no reference model", "train", "learner.reference_every=5")


def test_an_option_that_is_missing_ends_with_2() -> None:
    refused(2, "give either a file, or both --completion and --gold", "verify", "--gold", "2")
    refused(2, "go with no option but --task; found FILES too", "verify", "a.jsonl", "--completion", "2", "--gold", "2")
    assert run("show").exit_code == 2
    assert run("nosuch").exit_code == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--workers", 2), ("--deadline", 1), ("--examples", 5), ("--completion-column", "completion"), ("--gold-column", "gold"),
        ("--reward", "math"), ("--recipe", "cpu"), ("--against", "math"), ("--out", "verdicts.parquet"), ("--report", "report.md"),
    ],
)  # fmt: skip
def test_an_option_that_one_completion_has_no_use_for_is_refused_even_with_its_default(option: str, value: object) -> None:
    refused(2, f"no option but --task; found {option} too", "verify", "--completion", "2", "--gold", "2", option, value)


def gsm8k(folder: Path, **files: str) -> list[str]:
    """Overrides that read these files, by split, as GSM8K."""
    for split, content in files.items():
        (folder / f"{split}.jsonl").write_text(content)
    return ["-r", "smoke", "data.source=gsm8k", f"data.path={folder}", f"runs={folder / 'runs'}"]


GOOD = json.dumps({"question": "What is 1+1?", "answer": "<<1+1=2>>\n#### 2"}) + "\n"
OTHER = json.dumps({"question": "How many legs has a spider?", "answer": "Eight.\n#### 8"}) + "\n"
NO_NUMBER = json.dumps({"question": "What is 1+1?", "answer": "two"}) + "\n"


def test_a_missing_data_file_ends_with_3(tmp_path: Path) -> None:
    refused(3, "absent", "data", "-r", "smoke", "data.source=gsm8k", f"data.path={tmp_path / 'absent'}", f"runs={tmp_path}")


def test_a_broken_line_ends_with_3_when_strict(tmp_path: Path) -> None:
    refused(3, "train.jsonl:2", "data", *gsm8k(tmp_path, train=GOOD + "{\n", test=OTHER), "data.strict=true")


def test_a_gold_without_a_number_ends_with_3_when_strict(tmp_path: Path) -> None:
    refused(3, "train.jsonl:2", "data", *gsm8k(tmp_path, train=GOOD + NO_NUMBER, test=OTHER), "data.strict=true")


def test_an_empty_split_ends_with_3(tmp_path: Path) -> None:
    refused(3, "test.jsonl", "data", *gsm8k(tmp_path, train=GOOD, test=""))


def test_an_unknown_split_ends_with_3(tmp_path: Path) -> None:
    refused(3, "validation", "data", *gsm8k(tmp_path, train=GOOD, test=OTHER), "data.eval_split=validation")


def test_a_model_folder_that_is_absent_ends_with_4(tmp_path: Path) -> None:
    refused(4, "there is no folder", "data", *gsm8k(tmp_path, train=GOOD, test=OTHER), f"policy.model={tmp_path / 'absent'}")


def test_a_model_folder_without_tokenizer_ends_with_4(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    refused(4, "has no tokenizer", "data", *gsm8k(tmp_path, train=GOOD, test=OTHER), f"policy.model={tmp_path / 'model'}")


def test_a_run_folder_that_cannot_be_written_ends_with_7(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(7, "can't be written", "data", *gsm8k(tmp_path, train=GOOD, test=OTHER), f"runs={tmp_path / 'file'}")


def test_resuming_a_run_that_is_not_there_ends_with_8(tmp_path: Path) -> None:
    refused(8, "smoke", "train", "-r", "smoke", "--resume", f"runs={tmp_path}")


def test_a_tracker_that_is_not_installed_ends_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    refused(2, "reasoning-rl[wandb]", "train", "-r", "smoke", f"runs={tmp_path}", "train.trackers=[wandb]")


def test_showing_a_run_or_step_that_is_not_there_ends_with_8(tmp_path: Path) -> None:
    refused(8, "runs found in", "show", "nosuch", "--runs", tmp_path)
    (tmp_path / "empty").mkdir()
    refused(8, "no rollouts here", "show", "empty", "--runs", tmp_path)
    path = stored(tmp_path, 0.5)
    refused(8, "it has steps 3", "show", "first", "--runs", tmp_path, "--step", 4)
    path.write_bytes(b"PAR1 no more")
    refused(8, "damaged", "show", "first", "--runs", tmp_path)


class Policy:
    """Answers everything with 2, and is always right."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: object = None) -> list[list[Completion]]:  # noqa: ARG002
        return [[Completion("2", (1,))] * sampling.n for _ in prompts]

    def load_weights(self, named_tensors: object, version: int) -> None: ...

    def close(self) -> None: ...

    def judge(self, items: Sequence[tuple[Completion, Problem]]) -> list[Verdict]:
        score = Score(1.0, "correct", answer="2")
        return [Verdict(1.0, {"math": score}, correct=True, strict=True, answer=score) for _ in items]


def report(folder: Path, *problems: str) -> Path:
    """What the eval stage writes for these problems."""
    prompts = [Prompt(Problem(name, "s", "test", name, "2"), name, (1,)) for name in problems]
    settings = EvalConfig(samples=2, k=[1], bootstrap=100)
    evaluate(Policy(), prompts, Policy(), settings, folder=folder, name=folder.name, max_tokens=4, seed=0)
    return folder


def test_reports_of_the_same_problems_are_compared(tmp_path: Path) -> None:
    first, second = report(tmp_path / "first", "a", "b"), report(tmp_path / "second", "a", "b")
    assert "pass@1" in run("compare", first, second).output
    assert run("compare", first, second, "--markdown").output.startswith("| metric")


def test_comparing_different_problems_ends_with_8(tmp_path: Path) -> None:
    first, second = report(tmp_path / "first", "a", "b"), report(tmp_path / "second", "a", "c")
    refused(8, "can't be compared", "compare", first, second)
    done = run("compare", first, second, "--allow-different", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "Compared all the same: " in done.stdout
    for name in ("comparison.md", "report.html"):
        assert "they hold different problems (2 and 2, 1 shared" in (tmp_path / "out" / name).read_text()


def test_a_comparison_prints_what_it_writes(tmp_path: Path) -> None:
    first, second = report(tmp_path / "first", "a", "b"), report(tmp_path / "second", "a", "b")
    done = run("compare", f"base={first}", f"seeds={second},{second}", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "95 % intervals over seeds and problems; differences paired with base" in done.stdout
    assert "Figures are over all training seeds" in done.stdout
    frame = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert list(frame["run"].unique()) == ["base", "seeds"]
    assert set(frame[frame["run"] == "seeds"]["seeds"]) == {2}
    alone = run("compare", first, "--markdown", "--out", tmp_path / "alone")
    assert "| metric | run | value | interval |\n" in alone.stdout


def test_comparing_what_is_no_report_ends_with_8(tmp_path: Path) -> None:
    refused(8, "no report", "compare", tmp_path, tmp_path)
    (tmp_path / "report.json").write_text('{"name": ')
    refused(8, "report.json", "compare", tmp_path / "report.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"completion": "2"}\n', "answers.jsonl:1: no column 'gold'"),
        ('{"completion": "2", "gold": "2"}\n{"a\n', "answers.jsonl:2: not JSON"),
        ("3\n", "answers.jsonl:1: found int"),
        ('{"completion": "2", "gold": "2", "task": "chess"}\n', "task: found 'chess'"),
    ],
)
def test_answers_that_cannot_be_read_end_with_3(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text(content)
    refused(3, said, "verify", tmp_path / "answers.jsonl")


def test_a_verifier_that_cannot_be_asked_ends_with_2_or_5(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"completion": "2", "gold": "2"}\n')
    refused(5, "rewards.maths: no such verifier", "verify", tmp_path / "answers.jsonl", "--reward", "maths")
    refused(
        5, "neither a column nor a verifier; the columns are completion, gold", "verify", tmp_path / "answers.jsonl", "--against", "label"
    )
    refused(
        2, "--against: found gold, label; one is accepted", "verify", tmp_path / "answers.jsonl", "--against", "gold", "--against", "label"
    )
    refused(2, "rewards.math.weight: found 'x'", "verify", tmp_path / "answers.jsonl", "--reward", "math=x")
    refused(7, "can't be written", "verify", tmp_path / "answers.jsonl", "--out", tmp_path / "answers.jsonl" / "verdicts.parquet")


def test_files_of_answers_that_are_absent_or_no_parquet_end_with_3(tmp_path: Path) -> None:
    refused(3, "there is no such file", "verify", tmp_path / "absent.jsonl")
    (tmp_path / "torn.parquet").write_text("PAR1")
    refused(3, "not a parquet file", "verify", tmp_path / "torn.parquet")


# How failures become exit codes


def failing(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    """Let `doctor` meet this failure."""

    def inspect(_: Path) -> NoReturn:
        raise failure

    monkeypatch.setattr(doctor, "inspect", inspect)


def every_error(kind: type[errors.ReasoningRLError]) -> list[type[errors.ReasoningRLError]]:
    """That a user may meet: others stay among processes of ours."""
    public = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(below for child in public for below in every_error(child))]


@pytest.mark.parametrize("kind", every_error(errors.ReasoningRLError))
def test_every_error_ends_with_its_own_documented_code(kind: type[errors.ReasoningRLError], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, kind("what [b]happened[/b]"))
    refused(kind.exit_code, "Error: what [b]happened[/b]", "doctor")
    assert f"| {kind.exit_code} | `{kind.__name__}` |" in (ROOT / "docs" / "exit-codes.md").read_text()


def test_no_two_classes_of_failure_share_a_code() -> None:
    codes = [kind.exit_code for kind in errors.ReasoningRLError.__subclasses__()]
    assert len({1, *codes}) == 1 + len(codes)


def test_a_full_disk_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, OSError(28, "No space left on device", "runs/x"))
    refused(7, "Error: runs/x: No space left on device", "doctor")


def test_a_mistake_of_ours_shows_its_traceback_and_asks_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("oh"))
    result = run("doctor")
    assert result.exit_code == 1
    assert "ZeroDivisionError: oh" in result.stderr
    assert "CONTRIBUTING.md" in result.stderr


def test_debugging_lets_errors_through(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errors.DataError("oh"))
    assert isinstance(run("--debug", "doctor").exception, errors.DataError)
    assert run("doctor").exit_code == 3


def test_a_command_may_end_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, typer.Exit(0))
    assert run("doctor").exit_code == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_how_to_go_on(sent: signal.Signals, code: int) -> None:
    program = (
        "import sys, time; from reasoning_rl import cli, doctor\n"
        "def wait(_): print('ready', flush=True); time.sleep(60)\n"
        "doctor.inspect = wait; sys.argv = ['.venv/bin/reasoning-rl', 'doctor', '--runs', 'my runs']; cli.main()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "the same command goes on from there:\n  .venv/bin/reasoning-rl doctor --runs 'my runs'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("called", "advice"),
    [
        (["reasoning-rl", "train", "seed=1"], "whole; the same command goes on from there:\n  reasoning-rl train seed=1"),
        (["/x/reasoning_rl/__main__.py", "eval"], "whole; the same command goes on from there:\n  python -m reasoning_rl eval"),
        (["reasoning-rl", "train", "--fresh"], "whole; without --fresh, the same command goes on from there:\n  reasoning-rl train"),
    ],
)  # fmt: skip
def test_the_way_on_can_be_copied_and_deletes_nothing(called: list[str], advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", called)
    failing(monkeypatch, KeyboardInterrupt())
    result = run("doctor")
    assert result.exit_code == 130
    assert result.stderr.endswith(f"{advice}\n")


class OutOfMemoryError(RuntimeError):
    """Called like torch's."""


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),  # torch's on a CPU
    ],
)
def test_running_out_of_memory_ends_with_6_and_says_what_to_lower(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, failure)
    knobs = "learner.tokens_per_microbatch, policy.logits_mib, sampling.batch_rows or sampling.vllm.memory"
    said = f"out of memory: lower {knobs}, which change nothing else"
    refused(6, said, "doctor")
    assert run("doctor").stderr.endswith(f"(docs/faq.md)\n  {failure}\n".replace("\nmore", "").replace("  \n", ""))
    assert "| 6 | out of memory" in (ROOT / "docs" / "exit-codes.md").read_text()


def test_outside_the_main_thread_a_command_runs_without_a_signal_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errors.DataError("oh"))
    with ThreadPoolExecutor(1) as thread:
        thread.submit(refused, 3, "oh", "doctor").result()


def test_output_that_nobody_reads_any_more_ends_a_command_without_a_word() -> None:
    """As `reasoning-rl doctor | head -1` may."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "reasoning_rl", "doctor"], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_runs_to_compare_may_have_names_and_seeds(tmp_path: Path) -> None:
    (tmp_path / "a=b,c").mkdir()
    assert runs_named([str(tmp_path / "a=b,c")]) == [("", [tmp_path / "a=b,c"])]  # what is there is meant as it is
    assert runs_named(["x,y"]) == [("", [Path("x"), Path("y")])]
    assert runs_named(["name="]) == [("name", [])]
