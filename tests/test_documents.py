"""What the documents point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_project_resolves(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in inside if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_figure_is_left_to_be_filled_in(page: Path) -> None:
    assert re.findall(r"@[A-Z_]+@|\bTODO\b|\bTBD\b", page.read_text(encoding="utf-8")) == []


def test_the_verifier_of_the_readme_works(tmp_path: Path) -> None:
    from reasoning_rl.records import Completion, Problem, Score
    from reasoning_rl.rewards.verifier import find_verifier

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "brevity.py").write_text(code)
    assert len(code.strip().splitlines()) <= 12
    brevity = find_verifier(f"{tmp_path}/brevity.py:brevity", "rewards.brevity")
    score = brevity(Completion("", tuple(range(512))), Problem("p", "s", "t", "q", "1"))
    assert score == Score(0.5, reason="512 tokens")
