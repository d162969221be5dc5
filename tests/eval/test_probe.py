"""Probes of policies that know every question by heart, or none."""

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from eval_fakes import ExactJudge, ScriptedEngine
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from reasoning_rl.data.template import find_template
from reasoning_rl.data.tokenizer import load_tokenizer
from reasoning_rl.errors import ConfigError, DataError
from reasoning_rl.eval import probe as module
from reasoning_rl.eval.probe import Asker, Part, continues, likeness, parted, probe
from reasoning_rl.eval.probe_report import is_probed
from reasoning_rl.eval.rouge import longest_common, rouge_l
from reasoning_rl.records import Problem, Prompt
from reasoning_rl.rollout.engine import Sampling

QUESTIONS = {
    "Tom has 5 apples and eats 2.": "3",
    "Ann bakes 4 cakes a day for 3 days.": "12",
    "Six crows sit on two trees and four leave.": "2",
}
PROBLEMS = [Problem(f"toy/test/{index}", "toy", "test", question, gold) for index, (question, gold) in enumerate(QUESTIONS.items())]
TEMPLATE = find_template("Q: {question} A:")


class Reader(ScriptedEngine):
    """Answers a plain text by what `known` makes of it, and a prompt of the template by `solves`."""

    def __init__(self, known: Callable[[str], str], solves: Callable[[Problem], str]) -> None:
        super().__init__({})
        self.known, self.solves = known, solves
        self.prompts: list[Prompt] = []

    def _texts(self, prompt: Prompt, sampling: Sampling) -> list[str]:  # noqa: ARG002
        self.prompts.append(prompt)
        return [self.solves(prompt.problem) if prompt.text.startswith("Q: ") else self.known(prompt.text)]


def by_heart(text: str) -> str:
    """The rest of the question that begins so, and then prattle."""
    return next(question[len(text) :] for question in QUESTIONS if question.startswith(text)) + " Answer: 7"


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: str) -> PreTrainedTokenizerBase:
    return load_tokenizer(tokenizer_folder)


@pytest.fixture
def asker(tokenizer: PreTrainedTokenizerBase) -> Callable[..., Asker]:
    def make(known: Callable[[str], str], solves: Callable[[Problem], str] = lambda _: "0") -> Asker:
        return Asker(Reader(known, solves), ExactJudge(), TEMPLATE, tokenizer, max_tokens=9, stop=("##",), seed=5)

    return make


def test_a_policy_that_has_memorised_completes_and_solves_everything(asker: Callable[..., Asker], tmp_path: Path) -> None:
    report = probe(asker(by_heart, lambda problem: problem.gold), PROBLEMS, folder=tmp_path, name="trained")
    table = pd.read_parquet(tmp_path / "contamination.parquet")
    assert table["problem_id"].tolist() == [problem.id for problem in PROBLEMS]
    assert table["completed"].all()
    assert table["flagged"].all()
    assert table["solved_from_part"].all()
    assert (table["rouge_l"] == 1).all()
    assert (table["part"] + table["rest"]).tolist() == list(QUESTIONS)
    completed = report.find("completed")
    assert completed is not None
    # Wilson's interval for 3 of 3: 1/(1 + 1.96²/3) = 0.4385
    assert (completed.value, completed.high, completed.n) == (1, 1, 3)
    assert completed.low == pytest.approx(0.4385, abs=1e-4)


def test_a_policy_that_has_not_completes_nothing(asker: Callable[..., Asker], tmp_path: Path) -> None:
    report = probe(asker(lambda _: " or whatever, 2."), PROBLEMS, folder=tmp_path, name="base")
    table = pd.read_parquet(tmp_path / "contamination.parquet")
    assert not table[["completed", "flagged", "solved_from_part"]].any(axis=None)
    # against "and eats 2": three words each, 2 in common is one; 2·1/6. Nothing is shared with "day for 3 days" and "trees and four leave"
    assert table["rouge_l"].tolist() == [pytest.approx(1 / 3), 0, 0]
    mean = report.find("rouge_l")
    assert mean is not None
    assert mean.value == pytest.approx(1 / 9)


def test_parts_are_shown_as_plain_text_and_then_put_in_the_template(asker: Callable[..., Asker], tmp_path: Path) -> None:
    asking = asker(by_heart)
    probe(asking, PROBLEMS[:1], folder=tmp_path, name="any")
    engine = asking.engine
    assert isinstance(engine, Reader)
    plain, put = engine.prompts
    assert (plain.text, put.text) == ("Tom has 5 apples", "Q: Tom has 5 apples A:")  # 0.6 · 7 words = 4.2
    (_, continuing), (_, answering) = engine.calls
    rest = len(asking.tokenizer(" and eats 2.", add_special_tokens=False)["input_ids"])
    assert continuing == Sampling(1, rest + 8, temperature=0, seed=5, stream="probe")
    assert answering == Sampling(1, 9, temperature=0, stop=("##",), seed=5, stream="probe")
    assert tuple(asking.tokenizer("Tom has 5 apples")["input_ids"]) == plain.token_ids
    assert put.problem is PROBLEMS[0]  # judged by its own gold


def test_overlap_with_training_questions_stands_beside(asker: Callable[..., Asker], tmp_path: Path) -> None:
    train = [
        Problem("toy/train/0", "toy", "train", "tom has 5  apples and eats 2.", "3"),
        Problem("toy/train/1", "toy", "train", "Six crows sit on a roof.", "6"),
    ]
    report = probe(asker(lambda _: "no"), PROBLEMS, folder=tmp_path, name="any", train=train, ngram=3)
    table = pd.read_parquet(tmp_path / "contamination.parquet")
    # of "six crows sit on two trees and four leave" two of seven 3-grams
    assert table["overlap"].tolist() == [1, 0, pytest.approx(2 / 7)]
    assert table["longest_run"].tolist() == [7, 1, 4]  # "a" of the cakes is in the roof's
    assert table["nearest"].tolist() == ["toy/train/0", "toy/train/1", "toy/train/1"]
    assert table["repeated"].tolist() == [True, False, False]
    assert table["flagged"].tolist() == [True, False, True]
    values = {figure.name: figure.value for figure in report.figures}
    assert values == {
        "completed": 0,
        "rouge_l": 0,
        "solved_from_part": 0,
        "repeated": pytest.approx(1 / 3),
        "overlap": pytest.approx((1 + 2 / 7) / 3),
        "flagged": pytest.approx(2 / 3),
    }
    assert report.ngram == 3


def test_without_training_questions_nothing_is_said_of_them(asker: Callable[..., Asker], tmp_path: Path) -> None:
    report = probe(asker(lambda _: "no"), PROBLEMS, folder=tmp_path, name="any")
    table = pd.read_parquet(tmp_path / "contamination.parquet")
    assert table[["overlap", "longest_run", "nearest", "repeated"]].isna().all(axis=None)
    assert report.find("overlap") is report.find("repeated") is None
    assert "no training questions were compared" in report.to_markdown()


def test_flagged_problems_are_measured_apart(asker: Callable[..., Asker], tmp_path: Path) -> None:
    evaluated = pd.DataFrame({"problem_id": [problem.id for problem in reversed(PROBLEMS)], "p": [0.25, 0.5, 1.0]})
    knows_one = asker(lambda text: by_heart(text) if text.startswith("Tom") else "no")
    report = probe(knows_one, PROBLEMS, folder=tmp_path, name="any", evaluated=evaluated)
    found = {figure.name: (figure.value, figure.n) for figure in report.figures}
    assert found["pass@1 flagged"] == (1.0, 1)
    assert found["pass@1 unflagged"] == ((0.5 + 0.25) / 2, 2)
    all_known = probe(asker(by_heart), PROBLEMS, folder=tmp_path, name="any", evaluated=evaluated)
    assert all_known.find("pass@1 unflagged") is None


def test_json_and_page_say_what_the_report_says(asker: Callable[..., Asker], tmp_path: Path) -> None:
    report = probe(asker(by_heart), PROBLEMS, folder=tmp_path, name="trained", share=0.5, facts={"policy": "runs/x"})
    told = json.loads((tmp_path / "contamination.json").read_text())
    assert told["name"] == "trained"
    assert (told["problems"], told["share"], told["ngram"], told["facts"]) == (3, 0.5, None, {"policy": "runs/x"})
    assert [figure["name"] for figure in told["figures"]] == ["completed", "rouge_l", "solved_from_part", "flagged"]
    page = (tmp_path / "contamination.md").read_text()
    assert page == report.to_markdown()
    assert "The first 50 % of the words of each of 3 questions were shown to trained" in page
    assert "| completed | 1.000 | 0.439 to 1.000 | 3 |" in page


def test_a_probe_is_there_when_its_key_is(asker: Callable[..., Asker], tmp_path: Path) -> None:
    assert not is_probed(tmp_path, "a1")
    probe(asker(by_heart), PROBLEMS, folder=tmp_path, name="any", facts={"key": "a1"})
    assert is_probed(tmp_path, "a1")
    assert not is_probed(tmp_path, "b2")
    (tmp_path / "contamination.json").write_text('{"facts": ')
    assert not is_probed(tmp_path, "a1")


def test_asking_in_pieces_changes_nothing(asker: Callable[..., Asker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = probe(asker(by_heart, lambda problem: problem.gold), PROBLEMS, folder=tmp_path / "a", name="any")
    monkeypatch.setattr(module, "PROBLEMS_AT_ONCE", 2)
    heard: list[tuple[int, int]] = []
    asking = asker(by_heart, lambda problem: problem.gold)
    pieces = probe(
        asking, PROBLEMS, folder=tmp_path / "b", name="any", on_progress=lambda done, total: heard.append((done, total))
    )  # fmt: skip
    assert heard == [(2, 3), (3, 3)]
    assert pieces == whole
    one, many = (pd.read_parquet(tmp_path / folder / "contamination.parquet") for folder in "ab")
    pd.testing.assert_frame_equal(one, many)


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_a_share_that_parts_nothing_is_refused(asker: Callable[..., Asker], tmp_path: Path, share: float) -> None:
    with pytest.raises(ConfigError, match=rf"a share of {share} of the words is to be shown; accepted: a number between 0 and 1"):
        probe(asker(by_heart), PROBLEMS, folder=tmp_path, name="any", share=share)


def test_no_problem_is_an_error(asker: Callable[..., Asker], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="probe: there is no problem to ask"):
        probe(asker(by_heart), [], folder=tmp_path, name="any")


def part_of(question: str, share: float) -> Part:
    return parted(Problem("p", "s", "test", question, "1"), share)


@given(st.lists(st.text("ab1 \n", min_size=1), min_size=1).map(" ".join).filter(lambda text: len(text.strip()) > 1), st.floats(0.01, 0.99))
def test_both_sides_of_a_part_have_something_and_together_they_are_the_question(question: str, share: float) -> None:
    part = part_of(question, share)
    assert part.text + part.rest == question.strip()
    assert part.text.strip()
    assert part.rest.strip()


def test_a_single_word_is_parted_by_letters_and_a_letter_not_at_all() -> None:
    assert part_of("12*3=?", 0.6)[1:] == ("12*3", "=?")  # 0.6 · 6 = 3.6
    with pytest.raises(DataError, match="problem p: the question 'x' can't be parted"):
        part_of(" x ", 0.6)


def test_a_completion_may_go_on_but_not_within_a_word() -> None:
    assert continues(" and\nEats 2.<|im_end|>", " and eats 2.")
    assert not continues(" and eats 25", " and eats 2")
    assert not continues(" then eats 2.", " and eats 2.")
    assert not continues("", " and eats 2.")


def test_likeness_looks_no_further_than_the_rest_goes() -> None:
    # of "and eats 2": "and", "eats" are followed; the 2 behind the third word doesn't count: 2·2/6
    assert likeness("and eats up 2", " and eats 2.") == pytest.approx(2 / 3)
    assert likeness("and eats", " and eats 2.") == pytest.approx(4 / 5)  # 2·2/(2+3): too short costs


WORDS = st.lists(st.sampled_from("abc"), max_size=7)


@given(WORDS, WORDS)
def test_rouge_l_is_a_symmetric_likeness(left: list[str], right: list[str]) -> None:
    value = rouge_l(left, right)
    assert 0 <= value <= 1
    assert (value == 1) == (left == right)
    assert (value == 0) == (set(left).isdisjoint(right) and left != right)
    assert value == rouge_l(right, left)


@given(WORDS, WORDS)
def test_the_longest_common_subsequence_is_that_of_trying_all(left: list[str], right: list[str]) -> None:
    everything = ({chosen for size in range(len(text) + 1) for chosen in combinations(text, size)} for text in (left, right))
    assert longest_common(left, right) == max(map(len, set.intersection(*everything)))
