"""Ranks of torch's default group have the loss and the gradients of one process, however many they are and whoever holds the weights."""

from typing import Any

import pytest
import torch
from rank_work import OBJECTIVES, Seen, reports

pytestmark = pytest.mark.slow
PADDING = {"learner/padding", "learner/attention_padding"}
"""Each rank packs its own share."""
TOLERANCE = 1e-6
"""Gradients are up to 0.2, in float32."""


@pytest.fixture(scope="module")
def said(tokenizer_folder: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return reports(tokenizer_folder, tmp_path_factory.getbasetemp() / "ranks")


def require_same(mine: Seen, alone: Seen) -> None:
    ours, theirs = ({name: value for name, value in one.learned.metrics.items() if name not in PADDING} for one in (mine, alone))
    assert list(ours) == list(theirs)
    assert ours == pytest.approx(theirs, rel=TOLERANCE, abs=TOLERANCE)
    assert mine.learned.advantages == [[pytest.approx(one, abs=TOLERANCE) for one in row] for row in alone.learned.advantages]
    assert any(float(gradient.abs().max()) > 0.01 for gradient in alone.gradients)
    for here, there in zip(mine.gradients, alone.gradients, strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("kind", ["replicated", "sharded"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_update_of_so_many_ranks_is_that_of_one_process(ranks: int, kind: str, objective: str, said: dict[int, dict[str, Any]]) -> None:
    """There are three groups, so one of four ranks has no sample at all."""
    require_same(said[ranks][f"{objective} {kind}"], said[0][f"{objective} replicated"])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_so_is_one_that_computes_activations_again(objective: str, said: dict[int, dict[str, Any]]) -> None:
    require_same(said[2][f"{objective} checkpointed"], said[0][f"{objective} replicated"])
