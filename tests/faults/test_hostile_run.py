"""Training with verifiers that break down, and with answers made to break them: it ends, and all other answers are judged as if alone."""

import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from faults_runs import config, ending, said_by, trained

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.files import storable
from reasoning_rl.journal import read_metrics
from reasoning_rl.learner.checkpoint import checkpoints
from reasoning_rl.records import Completion, Problem, Prompt
from reasoning_rl.rollout.engine import More, OnFinished, Sampling
from reasoning_rl.rollout.judge import Judge
from reasoning_rl.rollout.local import LocalEngine

pytestmark = pytest.mark.slow

HOSTILE = '''
import os
import signal
import time
from pathlib import Path

from reasoning_rl.records import Score
from reasoning_rl.rewards.verifier import verifier

KEPT = []


def hoard():
    while True:
        KEPT.append(bytearray(32 << 20))


def linger():
    while True:
        time.sleep(1)


def fall():
    os.kill(os.getpid(), signal.SIGKILL)


def scribble():
    os.write(1, b"{}" * 5000)
    print("correct", "\\ud800".encode(errors="replace"), flush=True)


@verifier("moody")
def moody(completion, problem):
    """In the third step its first answers make it do each of these; it is as good as new afterwards."""
    for deed in (scribble, linger, fall, hoard) if completion.policy_version == 2 and problem.split == "train" else ():
        done = Path(__file__).with_suffix("." + deed.__name__)
        if not done.exists():
            done.touch()
            deed()
            break
    return Score(completion.token_ids[0] % 2, reason="half a pair: \\ud83d")


@verifier("fragile")
def fragile(completion, problem):
    """Some answers end its process."""
    if sum(completion.token_ids) % 23 == 0:
        fall()
    return Score(completion.token_ids[0] % 2)
'''


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """The verifiers' file."""
    path = tmp_path / "hostile.py"
    path.write_text(HOSTILE)
    return path


def rollouts(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "rollouts")


def test_a_verifier_that_hangs_falls_and_hoards_costs_only_the_answers_it_does_so_at(hostile: Path, tmp_path: Path) -> None:
    name = f"{hostile}:moody"
    own = config(tmp_path, f"rewards.{name}=1", "judge.deadline_s=1", "judge.memory_mib=256")
    said = trained(own)
    rows = rollouts(own.folder)
    step = rows[rows["step"] == 3]
    lost = step[step["verdict"].isin(["timeout", "error"])]
    assert sorted(lost["reason"]) == ["no verdict after 1 s", "the worker was ended by SIGKILL while judging it"]
    full = step[step[f"reason_{name}"].str.startswith("MemoryError")]
    assert len(full) == 1
    others = rows.drop([*lost.index, *full.index])
    assert (others[f"score_{name}"] == [ids[0] % 2 for ids in others["token_ids"]]).all()
    assert set(others[f"reason_{name}"]) == {"half a pair: ?"}
    metrics = read_metrics(own.folder).set_index("step")
    assert metrics["verifier_failures"].loc[1:].tolist() == [0, 0, pytest.approx(2 / 12), 0]
    assert metrics["guards/verifier_storm"].loc[1:].tolist() == [0, 0, 1, 0]
    assert "Step 3: verifiers failed on 16.7% of the answers, which is above 5.0%" in said
    assert "{}{}" not in said


def test_a_storm_stops_the_run_behind_its_step_where_it_is_asked_to(hostile: Path, tmp_path: Path) -> None:
    own = config(tmp_path, f"rewards.{hostile}:moody=1", "judge.deadline_s=1", "guards.verifier_storm=stop")
    _, failure = said_by(own)
    assert isinstance(failure, VerifierError)
    assert failure.exit_code == 5
    assert re.match(r"step 3: verifiers failed on .* The run stops, since guards\.verifier_storm is stop", str(failure))
    assert read_metrics(own.folder)["step"].tolist() == [0, 1, 2, 3]
    assert len(rollouts(own.folder)) == 36
    assert "steps 3 to 4" in trained(own)


def test_answers_that_end_a_verifiers_process_are_lost_alone_and_the_rest_is_learned_from_however_many_judge(
    hostile: Path, tmp_path: Path
) -> None:
    name = f"{hostile}:fragile"
    own = config(tmp_path, f"rewards.{name}=1")
    trained(own)
    rows = rollouts(own.folder)
    fatal = rows["token_ids"].map(lambda ids: sum(ids) % 23 == 0)
    assert fatal.any()
    assert ((rows["verdict"] == "error") == fatal).all()
    assert set(rows["reason"][fatal]) == {f"the worker was ended by {signal.SIGKILL.name} while judging it"}
    assert (rows[f"score_{name}"] == [0 if lost else ids[0] % 2 for ids, lost in zip(rows["token_ids"], fatal, strict=True)]).all()
    again = config(tmp_path, f"rewards.{name}=1", "name=again", "judge.workers=3")
    trained(again)
    assert ending(again.folder) == ending(own.folder)


CHILD = """
import signal, subprocess
from reasoning_rl.records import Score


def helped(completion, problem):
    helper = subprocess.Popen(["sleep", "60"])
    helper.terminate()
    return Score(float(helper.wait() == -signal.SIGTERM))
"""


def test_what_a_verifier_starts_can_be_ended_by_it_though_its_own_process_leaves_signals_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    with Judge({f"{tmp_path}/child.py:helped": VerifierConfig()}, JudgeConfig(deadline_s=30)) as judge:
        (verdict,) = judge.judge([(Completion("5", (1,)), Problem("t/0", "t", "test", "2+3?", "5"))])
    assert verdict.reward == 1


TEXTS = [
    "<think>" * 100_000,
    "\\boxed{" + "9" * 1_000_000 + "}",
    "<answer>" + "(" * 200_000 + "</answer>",
    "<answer>9^{9^{9^{9}}}</answer>",
    "\x00\ud800\u202e" * 10_000,
    "",
]


class Rambling(LocalEngine):
    """Its answers to the first problems spell something else than their tokens."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_finished: OnFinished | None = None, more: More | None = None
    ) -> list[list[Completion]]:
        def told(index: int, row: int, completion: Completion) -> None:
            if on_finished:
                on_finished(index, row, garbled(index, row, completion, sampling.n))

        answers = super().generate(prompts, sampling, told, more)
        return [[garbled(index, row, one, sampling.n) for row, one in enumerate(made)] for index, made in enumerate(answers)]


def garbled(index: int, row: int, completion: Completion, n: int) -> Completion:
    place = index * n + row
    return replace(completion, text=TEXTS[place]) if place < len(TEXTS) else completion


def test_answers_without_end_sense_or_encoding_are_judged_and_stored_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = config(tmp_path, "name=plain")
    trained(plain)
    monkeypatch.setattr("reasoning_rl.learner.worker.LocalEngine", Rambling)
    own = config(tmp_path)
    trained(own)
    ours, theirs = rollouts(own.folder), rollouts(plain.folder)
    spelled = ours["completion"] != theirs["completion"]
    assert sorted(ours["completion"][spelled]) == sorted([storable(text) for text in TEXTS] * 4)
    assert set(ours["verdict"][spelled]) <= {"wrong", "no_answer", "too_large"}
    pd.testing.assert_frame_equal(ours[~spelled], theirs[~spelled])
    # evenness looks at tokens alone: what is learned is the same
    assert [path.name for path in checkpoints(own.folder / "checkpoints")] == ["step-00002", "step-00004"]
    assert read_metrics(own.folder)["verifier_failures"].dropna().tolist() == [0] * 4


def test_a_run_that_is_a_step_ahead_goes_on_with_such_answers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait in its checkpoint."""
    monkeypatch.setattr("reasoning_rl.learner.worker.LocalEngine", Rambling)
    shorter = ("train.off_policy_steps=1", "learner.old_logprobs=engine", "train.keep_checkpoints=9")
    own = config(tmp_path, *shorter)
    trained(own)
    (last,) = (path for path in checkpoints(own.folder / "checkpoints") if path.name == "step-00004")
    for path in last.iterdir():
        path.unlink()
    last.rmdir()
    before = rollouts(own.folder)
    assert "steps 3 to 4" in trained(own)
    pd.testing.assert_frame_equal(rollouts(own.folder), before)
