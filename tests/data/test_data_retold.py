"""The suites of a run's training problems and their twins."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from reasoning_rl.config import Config, EvalConfig
from reasoning_rl.data.perturbation import seen_and_twins
from reasoning_rl.data.retold import PERTURBED, SEEN, asked
from reasoning_rl.data.suites import find_suites
from reasoning_rl.errors import ConfigError, DataError
from reasoning_rl.recipes import load_config

SETTINGS = ("data.arithmetic.train_problems=60", "data.arithmetic.eval_problems=30", "data.arithmetic.demonstrations=60")


def config(runs: Path, *overrides: str) -> Config:
    return load_config("smoke", [f"runs={runs}", *SETTINGS, *overrides])


def rolled_out(config: Config, step: int, indices: Sequence[int]) -> Path:
    """A file of rollouts with two answers to each of these training problems."""
    path = config.folder / "rollouts" / f"step-{step:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"arithmetic/train/{index}" for index in indices for _ in range(2)]
    pd.DataFrame({"problem_id": ids, "completion": "x"}).to_parquet(path)
    return path


def test_both_suites_are_found_by_name() -> None:
    assert find_suites(EvalConfig(suites=["seen", "perturbed"])) == [SEEN, PERTURBED]


def test_the_two_suites_are_the_pairs_of_the_runs_own_problems(tmp_path: Path) -> None:
    run = config(tmp_path, "seed=3")
    pairs = seen_and_twins(run.data, 3, 500)
    assert len(pairs.seen) + pairs.skipped == 60  # all there are
    assert (SEEN.read(run), PERTURBED.read(run)) == (pairs.seen, pairs.twins)
    assert SEEN.inputs(run)["training problems without a twin"] == str(pairs.skipped)


def test_a_trained_run_is_asked_what_it_has_been_asked(tmp_path: Path) -> None:
    run = config(tmp_path)
    before = SEEN.inputs(run)
    rolled_out(run, 1, [7, 3])
    rolled_out(run, 2, [3, 40])
    assert asked(run.folder) == frozenset(f"arithmetic/train/{index}" for index in (3, 7, 40))
    assert [problem.id for problem in PERTURBED.read(run)] == [f"arithmetic/train/{index}" for index in (3, 7, 40)]
    assert SEEN.inputs(run) != before


def test_without_rollouts_every_training_problem_will_do(tmp_path: Path) -> None:
    assert asked(tmp_path / "nothing") is None


def test_damaged_rollouts_are_named(tmp_path: Path) -> None:
    run = config(tmp_path)
    rolled_out(run, 1, [7]).write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"smoke: the problems that it asked can't be read from its rollouts: .*[Pp]arquet"):
        SEEN.read(run)


def test_problems_of_another_source_have_no_twins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.source: 'gsm8k' has no perturbed twins"):
        PERTURBED.inputs(config(tmp_path, "data.source=gsm8k"))
