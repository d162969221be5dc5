"""Repeats within the training problems, and of held-out problems among them."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_rl.data.contamination import contaminated
from reasoning_rl.data.duplicates import exact_duplicates, jaccard, near_duplicates
from reasoning_rl.data.source import Row
from reasoning_rl.data.words import shingles, words
from reasoning_rl.records import Problem

LONG = "A farmer has ten cows and each cow gives nine litres of milk a day how many litres are there in a week"


def rows(*questions: str, gold: str = "1", split: str = "train") -> list[Row]:
    problems = [Problem(f"s/{split}/{index}", "s", split, question, gold) for index, question in enumerate(questions)]
    return [Row(problem, problem.id) for problem in problems]


def test_case_and_spacing_make_no_new_question() -> None:
    findings = exact_duplicates(rows("How many  Apples?", "how many apples?\n", "How many pears?"))
    assert {name: finding.related for name, finding in findings.items()} == {"s/train/1": "s/train/0"}
    assert findings["s/train/1"].reason == "the question of s/train/0"


def test_repeats_with_another_gold_are_pointed_out() -> None:
    first, second = rows("Why?", gold="1")[0], rows("-", "Why?", gold="2")[1]
    assert exact_duplicates([first, second])["s/train/1"].reason.endswith("whose gold is '1' where this one's is '2'")


def test_a_changed_word_is_a_near_repeat_from_the_set_similarity_on() -> None:
    # LONG has 23 words, 21 shingles; another last word changes one shingle: Jaccard 20/22 = 0.909
    near = LONG.replace("week", "month")
    assert set(near_duplicates(rows(LONG, near), 0.9)) == {"s/train/1"}
    assert near_duplicates(rows(LONG, near), 0.91) == {}
    assert "0.91 of the word 3-grams" in near_duplicates(rows(LONG, near), 0.9)["s/train/1"].reason


def test_the_same_words_with_another_gold_are_another_problem() -> None:
    first, second = rows(LONG, gold="1")[0], rows("-", LONG.replace("week", "month"), gold="2")[1]
    assert near_duplicates([first, second], 0.5) == {}


def test_similarity_one_leaves_near_repeats_alone() -> None:
    assert near_duplicates(rows(LONG, LONG + "!"), 1.0) == {}


def test_a_repeat_is_compared_with_what_is_kept() -> None:
    # each differs from its neighbour by one word (0.909) and from the next but one by two (19/23 = 0.83)
    chain = [LONG, LONG.replace("week", "month"), LONG.replace("week", "month").replace("A farmer", "The farmer")]
    assert set(near_duplicates(rows(*chain), 0.9)) == {"s/train/1"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join), min_size=2, max_size=14),
    st.sampled_from([0.0, 0.3, 0.5, 0.8]),
)
def test_the_index_finds_what_comparing_all_pairs_finds(questions: list[str], similarity: float) -> None:
    kept: list[str] = []
    expected = set()
    for index, question in enumerate(questions):
        similar = [jaccard(shingles(question), shingles(earlier)) for earlier in kept]
        if any(value > 0 and value >= similarity for value in similar):
            expected.add(f"s/train/{index}")
        else:
            kept.append(question)
    assert set(near_duplicates(rows(*questions), similarity)) == expected


def test_a_held_out_question_is_contamination_whatever_the_run_length() -> None:
    train, held_out = rows("Why  so?", "Why not?"), rows("Other?", "why so?", split="test")
    for size in (0, 13):
        (finding,) = contaminated(train, held_out, size).values()
        assert finding == ("the question of the held-out s/test/1", "s/test/1")


def test_a_shared_run_of_words_is_contamination() -> None:
    held_out = rows("Alone?", f"Listen: {LONG}?", "x " + LONG, split="test")
    shared = " ".join(LONG.split()[3:12])  # nine words
    found = contaminated(rows(f"Once, {shared}, ok?"), held_out, 9)["s/train/0"]
    assert found.related == "s/test/1"  # the first that has it
    assert found.reason == f"shares 9 words with the held-out s/test/1: “{shared}”"
    assert contaminated(rows(f"Once, {shared}, ok?"), held_out, 10) == {}


def test_drawings_are_no_words() -> None:
    assert words("See [asy]\ndraw(A--B);\n[/asy] it.") == ["see", "it"]


def test_shingles_of_short_texts_are_the_text() -> None:
    assert shingles("Why not?") == {("why", "not")}
    assert [len(shingles(" ".join("abcdef"[:size]))) for size in (1, 2, 3, 4)] == [1, 1, 1, 2]
    assert all(jaccard(shingles(left), shingles(right)) == 0 for left, right in pairwise(["a", "b", "c d e"]))
