"""What held-out questions share with training questions, word by word."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.data.overlap import Overlap, overlaps
from reasoning_rl.data.words import words
from reasoning_rl.records import Problem

SHARED = Path(os.environ.get("REASONING_RL_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "gsm8k"
COWS = "A farmer has ten cows and each cow gives nine litres of milk a day"


def problems(split: str, *questions: str) -> list[Problem]:
    return [Problem(f"s/{split}/{index}", "s", split, question, "1") for index, question in enumerate(questions)]


def overlap(question: str, *train: str, size: int = 3) -> Overlap:
    (found,) = overlaps(problems("train", *train), problems("test", question), size)
    return found


def test_a_question_of_its_own_shares_nothing() -> None:
    assert overlap("Why not?", COWS) == ("s/test/0", 0.0, 0, "", False)


def test_the_share_is_of_the_questions_own_runs() -> None:
    # seven words, five 3-grams; "ten cows and each" holds two of them, and is the longest run
    assert overlap("Bob buys ten cows and each dies", COWS) == ("s/test/0", 2 / 5, 4, "s/train/0", False)


def test_one_training_question_has_to_hold_what_counts() -> None:
    # "a b c d" holds two of the five 3-grams, "d e f" and "e f g" one each, which do not add up
    found = overlap("a b c d e f g", "d e f", "a b c d", "e f g")
    assert found == ("s/test/0", 2 / 5, 4, "s/train/1", False)


def test_most_runs_count_more_than_the_longest() -> None:
    # of the eight 3-grams: "a b c d" holds two, "b c d / f g h / h i j" three, though none of its runs has four words
    found = overlap("a b c d e f g h i j", "a b c d", "b c d x f g h x h i j")
    assert (found.share, found.longest_run, found.nearest) == (3 / 8, 4, "s/train/1")


def test_without_a_shared_gram_the_longest_run_says_what_is_nearest() -> None:
    assert overlap("a b c d", "x b y", "x c d", "d c b", size=4) == ("s/test/0", 0.0, 2, "s/train/1", False)


def test_case_and_punctuation_do_not_hide_a_run() -> None:
    assert overlap("Has ten, cows AND?", COWS).longest_run == 4


def test_a_repeat_is_said_and_named_though_another_holds_it_too() -> None:
    assert overlap("Has ten  cows?", COWS, "has ten cows?") == ("s/test/0", 1.0, 3, "s/train/1", True)


def test_a_question_shorter_than_a_run_is_one() -> None:
    assert overlap("has ten", COWS).share == 1
    assert overlap("has two", COWS).share == 0


def test_size_zero_compares_whole_questions() -> None:
    assert overlap(COWS, f"Once {COWS} or two", size=0).share == 1
    assert overlap(f"{COWS} now", f"Once {COWS} or two", size=0).share == 0


def test_runs_end_where_questions_end() -> None:
    assert overlap("a b", "x a", "b x").longest_run == 1
    two = overlaps(problems("train", "a b"), problems("test", "x a", "b x"), 2)
    assert [one.longest_run for one in two] == [1, 1]


def test_nothing_to_compare_with_is_no_overlap() -> None:
    assert overlap("a b") == ("s/test/0", 0.0, 0, "", False)
    assert overlap("", "a b") == ("s/test/0", 0.0, 0, "", False)
    assert overlaps([], [], 13) == []


TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(train=TEXTS, held_out=TEXTS, size=st.integers(0, 4))
def test_the_figures_are_those_of_comparing_all_pairs(train: list[str], held_out: list[str], size: int) -> None:
    known = {f"s/train/{index}": words(text) for index, text in enumerate(train)}
    for text, found in zip(held_out, overlaps(problems("train", *train), problems("test", *held_out), size), strict=True):
        mine = words(text)
        length = min(size or len(mine), len(mine))
        shares = {name: share(mine, theirs, length) for name, theirs in known.items()}
        assert found.share == max(shares.values())
        assert found.longest_run == max(longest(mine, theirs) for theirs in known.values())
        assert found.repeated == (text in train)
        if found.share:
            assert shares[found.nearest] == found.share
        elif found.longest_run:
            assert longest(mine, known[found.nearest]) == found.longest_run


def runs(text: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(text[start : start + length]) for start in range(len(text) - length + 1)]


def share(mine: Sequence[str], theirs: Sequence[str], length: int) -> float:
    grams = runs(mine, length) if mine else []
    return sum(gram in runs(theirs, length) for gram in grams) / len(grams) if grams else 0.0


def longest(mine: Sequence[str], theirs: Sequence[str]) -> int:
    return max(length for length in range(len(mine) + 1) if not length or set(runs(mine, length)) & set(runs(theirs, length)))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real problems in {SHARED}")
def test_gsm8k_shares_thirteen_words_with_its_training_problems_three_times() -> None:
    train, held_out = (
        problems(split, *(json.loads(line)["question"] for line in (SHARED / f"{split}.jsonl").read_text().splitlines()))
        for split in ("train", "test")
    )
    found = overlaps(train, held_out, 13)
    assert len(found) == 1319
    assert [one.problem_id for one in found if one.share] == ["s/test/581", "s/test/602", "s/test/632"]
    most = found[632]
    mine, theirs = words(held_out[632].question), words(train[int(most.nearest.rpartition("/")[2])].question)
    assert longest(mine, theirs) == most.longest_run == 25
    assert not any(one.repeated for one in found)
