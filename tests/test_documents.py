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


def test_the_code_of_the_verifiers_page_does_what_it_says(tmp_path: Path) -> None:
    from reasoning_rl.config import VerifierConfig
    from reasoning_rl.records import Completion, Problem
    from reasoning_rl.rewards.reward import Reward

    brevity, aime, policy = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "verifiers.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(policy, {})  # two assertions
    (tmp_path / "page.py").write_text(f"{brevity}\n\n{aime}")
    reward = Reward({f"{tmp_path}/page.py:{name}": VerifierConfig() for name in ("brevity", "aime")})
    problem = Problem("p", "s", "t", "q", "33")
    assert reward.verdict(Completion(r"\boxed{33}", (1,) * 512), problem).reward == 0.5 + 1
    judged = [reward.verdict(Completion(text, ()), problem).judgement for text in (r"\boxed{33}", r"\boxed{66/2}", "no idea")]
    assert [score.verdict for score in judged] == ["correct", "wrong", "no_answer"]
    assert "not an integer: 66/2" in judged[1].reason


def test_the_five_questions_are_answered_by_the_code_that_asks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from page_fakes import evaluated

    answers = {number: [str(number)] * right + ["0"] * (4 - right) for number, right in enumerate((1, 0, 2, 3, 1, 4), start=1)}
    better = {number: [str(number)] * right + ["0"] * (4 - right) for number, right in enumerate((3, 1, 2, 4, 0, 4), start=1)}
    evaluated(tmp_path / "runs" / "cpu" / "eval" / "base", answers)
    evaluated(tmp_path / "runs" / "cpu" / "eval" / "trained", better)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    shared: dict[str, object] = {}
    printed = []
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, shared)
        printed.append(capsys.readouterr().out)
    assert len(printed) == page.count("```text\n") == 6  # each is followed by what it printed
    assert printed[0] == "6 problems, 60 answers\n"  # four and a greedy one, twice
    assert "trained" in printed[1]
    assert "no_answer" not in printed[3]
    assert "pass@k" in printed[4]
    assert "inf" in printed[5]


def test_the_verifier_of_the_readme_works(tmp_path: Path) -> None:
    from reasoning_rl.records import Completion, Problem, Score
    from reasoning_rl.rewards.verifier import find_verifier

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "brevity.py").write_text(code)
    assert len(code.strip().splitlines()) <= 12
    brevity = find_verifier(f"{tmp_path}/brevity.py:brevity", "rewards.brevity")
    score = brevity(Completion("", tuple(range(512))), Problem("p", "s", "t", "q", "1"))
    assert score == Score(0.5, reason="512 tokens")
