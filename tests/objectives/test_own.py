"""The objectives that docs/objectives.md adds in a dozen lines, as they stand there, against their formulas as loops."""

import re
from pathlib import Path

import pytest
import torch

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.objectives import build
from reasoning_rl.objectives.objective import Batch, Now, Objective
from reasoning_rl.records import Completion, Group, Problem, Prompt, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "objectives.md"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Both blocks of the page in a file."""
    path = tmp_path / "mine.py"
    path.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)))
    return path


def groups() -> list[Group]:
    """One right of four, one right of two, both right; answers of 1, 2, 3 … tokens."""
    prompt = Prompt(Problem("toy/0", "toy", "train", "?", "1"), "?", (0,))
    right = [(True, False, False, False), (False, True), (True, True)]
    return [
        Group(
            prompt,
            tuple(Completion("", tuple(range(row + 1))) for row in range(len(marks))),
            tuple(Verdict(float(m), correct=m) for m in marks),
        )
        for marks in right
    ]


def loss_and_gradient(objective: Objective) -> tuple[float, list[list[float]]]:
    """Of a policy that gives token t of sample s the log-probability −1 − s − t/10; the samples' tokens are all there are."""
    samples = objective.arrange(groups())
    longest = max(len(sample.completion_ids) for sample in samples)
    mask_BT = torch.tensor([[t < len(sample.completion_ids) for t in range(longest)] for sample in samples])

    def padded(values: list[list[float]]) -> torch.Tensor:
        return torch.tensor([row + [0.0] * (longest - len(row)) for row in values], dtype=torch.float64)

    logp_BT = padded([[-1 - s - t / 10 for t in range(len(sample.completion_ids))] for s, sample in enumerate(samples)]).requires_grad_()
    batch = Batch(
        mask_BT=mask_BT,
        advantage_BT=padded([list(sample.advantages) for sample in samples]),
        weight_BT=padded([[sample.weight] * len(sample.completion_ids) for sample in samples]),
        old_logp_BT=logp_BT.detach(),
    )
    loss = objective.loss(Now(logp_BT, torch.zeros_like(logp_BT)), batch).value
    return loss.item(), torch.autograd.grad(loss, logp_BT)[0].tolist()


def test_the_class_of_the_page_is_its_formula(own: Path) -> None:
    # right answers that were not all: row 0 of group 0, one token, rare 3/4; row 1 of group 1, two tokens, rare 1/2; N = 8
    # loss = (3/4·1 + 1/2·(2 + 2.1))/8, gradient −rarity/8 on their tokens
    loss, gradient = loss_and_gradient(build(ObjectiveConfig(name=f"{own}:rare"), 64))
    assert loss == pytest.approx((0.75 * 1 + 0.5 * 4.1) / 8, abs=1e-12)
    assert gradient == [pytest.approx([-0.75 / 8, 0.0]), pytest.approx([-0.5 / 8, -0.5 / 8])]


def test_the_row_of_the_page_is_its_formula(own: Path) -> None:
    # on-policy the gradient is −A/Σ|o|: A = 3/4 and −1/4 (three), −1/2 and 1/2, 0 and 0; Σ|o| = 10 + 3 + 3
    _, gradient = loss_and_gradient(build(ObjectiveConfig(name=f"{own}:row"), 64))
    expected = [[-0.75], [0.25] * 2, [0.25] * 3, [0.25] * 4, [0.5], [-0.5] * 2]
    assert gradient == [pytest.approx([value / 16 for value in row] + [0.0] * (4 - len(row))) for row in expected]
