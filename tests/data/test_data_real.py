"""Every row of the real GSM8K and MATH is accounted for. Skipped where the files are absent."""

import os
from pathlib import Path

import pandas as pd
import pytest

from reasoning_rl.config import ArchitectureConfig, DataConfig, PolicyConfig
from reasoning_rl.data import load_prompts, prepare

SHARED = Path(os.environ.get("REASONING_RL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
POLICY = PolicyConfig(architecture=ArchitectureConfig(context=2048))

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real problems in {SHARED}")


@pytest.mark.parametrize(
    ("config", "train", "held_out"),
    [
        (DataConfig(source="gsm8k", path=SHARED / "gsm8k", template="plain"), 7473, 1319),
        (
            DataConfig(source="hendrycks_math", path=SHARED / "math", eval_split="math500", vocabulary=2048, max_prompt_tokens=1024),
            7474,
            500,
        ),
    ],
    ids=["gsm8k", "math"],
)
def test_every_real_row_is_kept_or_set_aside_with_a_reason(tmp_path: Path, config: DataConfig, train: int, held_out: int) -> None:
    manifest = prepare(config, POLICY, tmp_path, seed=0)
    table = pd.read_parquet(tmp_path / "rejected.parquet")
    for split, rows in (("train", train), ("eval", held_out)):
        counts = manifest.counts[split]
        assert counts["read"] == rows == counts["kept"] + len(table[table.split == split])
        assert counts["kept"] > 0.98 * rows
        assert len(load_prompts(tmp_path, "eval" if split == "eval" else "train")) == counts["kept"]
    assert (table.reason.str.len() > 0).all()
    # 4 rows of the MATH file come without an answer; GSM8K has none
    assert (table.stage == "row").sum() == (0 if config.source == "gsm8k" else 4)
    assert set(table[table.stage.isin(["duplicate", "near_duplicate", "contamination"])].related) <= _ids(config, train, held_out)


def _ids(config: DataConfig, train: int, held_out: int) -> set[str]:
    sizes = ((config.train_split, train), (config.eval_split, held_out))
    return {f"{config.source}/{split}/{index}" for split, size in sizes for index in range(size)}
