"""The pipeline on real GSM8K and MATH with a tiny policy: it solves almost none of it, and every stage has to cope."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console
from test_pipeline import rewarded

from reasoning_rl.data.manifest import load_manifest
from reasoning_rl.eval.report import read_report
from reasoning_rl.evalstage import run_eval
from reasoning_rl.recipes import load_config
from reasoning_rl.stages import run_data, run_training

SHARED = Path(os.environ.get("REASONING_RL_SHARED", Path(__file__).parents[2] / "shared")) / "data"
SMALL = (
    "data.train_limit=60", "data.eval_limit=6", "data.vocabulary=600", "data.max_prompt_tokens=600", "policy.architecture.layers=1",
    "cold_start.steps=2", "cold_start.batch_size=4", "train.steps=2", "sampling.prompts_per_step=4", "sampling.group_size=2",
    "sampling.max_tokens=32", "eval.samples=2", "eval.k=[1,2]", "eval.bootstrap=100", "learner.processes=1",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real problems are not at hand")
@pytest.mark.parametrize(("recipe", "folder", "split"), [("gsm8k-tiny", "gsm8k", "test"), ("math-tiny", "math", "math500")])
def test_every_stage_copes_with_real_problems(recipe: str, folder: str, split: str, tmp_path: Path) -> None:
    config = load_config(
        recipe, [f"runs={tmp_path}", f"data.path={SHARED / folder}", f"data.eval_split={split}", rewarded(tmp_path), *SMALL]
    )
    console = Console(file=io.StringIO())
    run_data(config, console)
    run_training(config, resume="auto", console=console)
    run_eval(config, model=None, console=console)
    counts = load_manifest(config.folder / "data").counts
    for part in ("train", "eval"):
        assert counts[part]["read"] == counts[part]["kept"] + sum(counts[part]["set_aside"].values())
    solved = read_report(config.folder / "eval" / "trained" / "report.json").find("pass@k", 1)
    assert solved is not None
    assert 0 <= solved.value <= 1
