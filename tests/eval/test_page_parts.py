"""What stands on a report page, piece by piece, by hand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from page_fakes import evaluated, make_page

from reasoning_rl.eval import compare
from reasoning_rl.eval.page import Page, PolicyPage, words, write_page
from reasoning_rl.eval.page.charts import course_charts, length_charts, passk_chart
from reasoning_rl.eval.page.examples import EACH, examples
from reasoning_rl.eval.page.facts import facts
from reasoning_rl.eval.page.probes import probes
from reasoning_rl.eval.page.problems import shelves
from reasoning_rl.eval.page.tables import grids, main_results, parts, verdicts
from reasoning_rl.eval.probe_report import Figure, ProbeReport

# Problems 1 to 4; their gold answers are their numbers. Levels are 2, 3, 4, 5, subjects geometry, number theory, algebra, geometry.
BEFORE = {1: ["1", "9", "9", "9"], 2: ["2", "2", "9", "9"], 3: ["9", "9", "9", "9"], 4: ["4", "4", "4", "so…"]}  # p = 1/4, 1/2, 0, 3/4
AFTER = {1: ["1", "1", "1", "1"], 2: ["2", "2", "2", "9"], 3: ["9", "9", "9", "so…"], 4: ["4", "9", "9", "9"]}  # p = 1, 3/4, 0, 1/4


def page_of(*policies: PolicyPage) -> Page:
    comparison = compare(*(policy.samples.parent for policy in policies)) if len(policies) > 1 else None
    return Page("Title", "", policies, comparison, None, {})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("parts")
    return page_of(evaluated(folder / "base", BEFORE), evaluated(folder / "trained", AFTER))


def ids(page: Page) -> list[list[str]]:
    return [[problem.id.rsplit("/", maxsplit=1)[1] for problem in shelf.problems] for shelf in shelves(page)]


def test_shelves_hold_the_hardest_and_the_largest_changes(page: Page) -> None:
    # Changes: +3/4, +1/4, 0, -1/2.
    assert ids(page) == [["3", "4", "2", "1"], ["1", "2"], ["4"]]
    hardest = shelves(page)[0].problems[0]
    assert hardest.counts == [("base", 0, 4), ("trained", 0, 4)]
    assert hardest.gold == "3"


def test_a_policy_alone_has_only_the_hardest(page: Page) -> None:
    assert ids(page_of(page.first)) == [["3", "1", "2", "4"]]


def test_grids_hold_means_and_counts(page: Page) -> None:
    _, trained = grids(page)
    assert trained.columns == ["2", "3", "4", "5", "all"]
    cells = {name: [(cell.text, cell.problems) if cell else None for cell in row] for name, row in trained.rows}
    assert cells["geometry"] == [("1.00", 1), None, None, ("0.25", 1), ("0.62", 2)]  # (1 + 1/4) / 2 = 0.625, to even
    assert cells["all"][-1] == ("0.50", 4)  # (1 + 3/4 + 0 + 1/4) / 4


def test_problems_of_one_level_have_no_grid(page: Page) -> None:
    flat = replace(page.last, problems=page.last.problems.assign(level="1"))
    assert grids(replace(page, policies=[page.first, flat])) == []


def test_parts_are_those_of_the_reports(page: Page) -> None:
    (by_ending,) = parts(page, ["ending"])
    # Of base 15 answers ended themselves and 6 of them were right, of trained 15 and 8.
    assert [(group, [cell.text if cell else "" for cell in row]) for group, row in by_ending.rows] == [
        ("ended", ["0.400", "0.533"]), ("cut off", ["0.000", "0.000"]),
    ]  # fmt: skip
    assert not by_ending.counted


def test_verdicts_stand_in_one_order_with_those_cut_off(page: Page) -> None:
    base, trained = verdicts(page)
    assert base.counts == [("correct", 6, 0), ("wrong", 9, 0), ("no_answer", 1, 1)]
    assert trained.counts == [("correct", 8, 0), ("wrong", 7, 0), ("no_answer", 1, 1)]
    assert (trained.total, trained.cut_off) == (16, 1)


def test_the_headline_holds_values_and_paired_differences(page: Page) -> None:
    first = main_results(page)[0]
    assert (first.label, [value.text for value in first.values if value]) == ("pass@1", ["0.375", "0.500"])
    (change,) = first.changes
    assert change
    assert change.text == "+0.125"
    assert not change.told  # of four problems nothing can be told


def test_a_metric_that_one_policy_lacks_is_left_out_there(page: Page, tmp_path: Path) -> None:
    fewer = evaluated(tmp_path / "few", {number: texts[:2] for number, texts in AFTER.items()}, greedy=False)
    rows = {row.label: row for row in main_results(page_of(page.first, fewer))}
    assert rows["pass@4"].values[1] is None
    assert rows["pass@4"].changes == [None]
    assert rows["greedy"].values[1] is None


def test_examples_are_of_every_verdict_and_of_the_sampled_answers(page: Page) -> None:
    found = examples(page.last)
    assert {outcome: len(shown) for outcome, shown in found.items()} == {"correct": EACH, "no_answer": 1, "wrong": EACH}
    assert next(iter(found)) == "correct"
    (cut,) = found["no_answer"]
    assert (cut.completion, cut.answer, cut.gold, cut.cut_off, cut.reason) == ("so…", None, "3", True, "None against 3")
    samples = pd.read_parquet(page.last.samples).query("kind == 'sampled'").set_index(["problem_id", "sample"])
    for outcome, shown in found.items():
        for example in shown:
            assert samples.loc[(example.problem, example.sample), "verdict"] == outcome
            assert samples.loc[(example.problem, example.sample), "completion"] == example.completion


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_examples_do_not_hang_on_how_the_file_is_cut(tmp_path: Path, size: int) -> None:
    policy = make_page(tmp_path, problems=20, samples=8, skills={"one": 0.6}).last
    cut = tmp_path / "cut.parquet"
    pq.write_table(pq.read_table(policy.samples), cut, row_group_size=size)
    assert examples(replace(policy, samples=cut)) == examples(policy)


def test_facts_that_agree_stand_once(page: Page) -> None:
    found = {fact.name: fact for fact in facts(page)}
    assert (found["policy"].values, found["policy"].shared) == (["base", "trained"], False)
    assert found["rewards.last.weight"].shared
    assert "note" not in found


def curve(*differences: float, p: float = 0.001) -> pd.DataFrame:
    """A comparison of two runs whose pass@k at k = 1, 2, 4, … differ by these."""
    ks = [2**power for power in range(len(differences))]
    base = pd.DataFrame({"run": "base", "metric": "pass@k", "k": ks, "value": 0.5, "difference": float("nan"), "p_holm": float("nan")})
    trained = base.assign(run="trained", value=[0.5 + moved for moved in differences], difference=list(differences), p_holm=p)
    frame = pd.concat([base, trained], ignore_index=True).astype({"k": "Int64"})
    return frame.assign(difference_low=frame["difference"] - 0.1, difference_high=frame["difference"] + 0.1, detectable=0.05)


@pytest.mark.parametrize(
    ("differences", "p", "said"),
    [
        (
            (0.2, 0.1, 0.05),
            0.001,
            "is nowhere below that of base: the difference goes from +0.200 at k = 1 to +0.050 at k = 4, and they don’t",
        ),
        (
            (0.2, 0.0, -0.1),
            0.001,
            "cross between k = 1 and k = 4: the difference goes from +0.200 at k = 1 to −0.100 at k = 4. With 4 answers",
        ),
        ((0.2, -0.1, 0.1), 0.001, "cross between k = 1 and k = 2 and between k = 2 and k = 4"),
        ((-0.2, -0.1, -0.05), 0.001, "is nowhere above that of base"),
        ((0.02, 0.01, -0.01), 0.4, "changes its sign between k = 2 and k = 4, which may be chance"),
        ((0.2, 0.1, 0.01), 0.4, "At k = 4 no difference can be told"),
    ],
)
def test_curves_are_said_to_cross_where_the_difference_turns(page: Page, differences: tuple[float, ...], p: float, said: str) -> None:
    (sentence,) = words.curves(replace(page, comparison=curve(*differences, p=p)))
    assert said in sentence


def test_a_single_k_has_no_curve_to_speak_of(page: Page) -> None:
    assert words.curves(replace(page, comparison=curve(0.2))) == []


def test_a_difference_that_may_be_none_is_called_none(page: Page) -> None:
    same = replace(page, comparison=curve(0.02, 0.01, 0.01, p=0.3))
    assert "no difference can be told, +0.020 (−0.080 to +0.120; p = 0.300)." in words.verdict(same)[0]
    assert words.power(same) == "A true difference of 0.050 or more is found by a comparison of this size four times in five."
    assert ": a difference of −0.200 (" in words.verdict(replace(page, comparison=curve(-0.2, -0.1, -0.1)))[0]


def test_lengths_are_said_with_what_was_cut_off(page: Page) -> None:
    # "so…" has three characters, so three tokens; the others have one: (15 + 3) / 16 = 1.125.
    base, _ = words.lengths(page)
    assert base.startswith("base writes 1.1 (")
    assert base.endswith("6.2\N{NO-BREAK SPACE}% of its answers were cut off at the limit.")  # 1 of 16


def test_a_curve_is_drawn_under_the_name_of_its_policy(tmp_path: Path) -> None:
    made = make_page(tmp_path, problems=12, samples=4, skills={"base": 0.5, "good": 0.9, "poor": 0.3, "fair": 0.7})
    drawn = passk_chart(made)
    assert drawn
    assert list(drawn.header) == ["k", "base", "good", "poor", "fair"]
    values = [f"{measure.value:.3f}" for policy in made.policies if (measure := policy.report.find("pass@k", 4))]
    assert [cell.split()[0] for cell in drawn.rows[-1][1:]] == values


def test_the_same_answers_give_the_same_curve(page: Page, tmp_path: Path) -> None:
    again = page_of(page.first, evaluated(tmp_path / "again", BEFORE))
    (sentence,) = words.curves(again)
    assert sentence.startswith("The curve of again is that of base. At k = 4 no difference can be told")
    assert words.power(again).startswith("A true difference of 0.1")  # nothing moved, which is no certainty


def test_curves_of_k_need_two_points(page: Page) -> None:
    assert passk_chart(page)
    single = [replace(policy, report=replace(policy.report, metrics=policy.report.metrics[:1])) for policy in page.policies]
    assert passk_chart(replace(page, policies=single, comparison=None)) is None


def test_lengths_that_few_answers_have_get_no_share_of_right_ones(page: Page) -> None:
    (spread,) = length_charts(page)  # 15 answers have 1 token, and 20 would be enough
    assert spread.rows == [("1", "0.938", "0.938"), ("2", "0.062", "0.062")]


def test_lengths_that_many_answers_have_get_their_share(tmp_path: Path) -> None:
    many = evaluated(tmp_path / "many", {number: [str(number)] * 3 + ["9"] * 2 for number in (1, 2, 3, 4)})
    right, _ = length_charts(page_of(many))
    assert right.rows == [("1", "0.600")]  # of 20 answers of one token 12 are right


def test_a_run_without_metrics_has_no_chart() -> None:
    assert course_charts(None) == []
    assert course_charts(pd.DataFrame({"step": [1, 2]})) == []


def test_what_a_probe_found_stands_on_the_page(tmp_path: Path) -> None:
    probed = page_of(evaluated(tmp_path / "base", BEFORE), evaluated(tmp_path / "trained", AFTER))
    assert probes(probed) is None
    assert "Reasoned or remembered" not in write_page(tmp_path / "without.html", probed).read_text()
    figures = (Figure("completed", 0.25, 0.05, 0.7, 4), Figure("pass@1 flagged", 1.0, 0.2, 1.0, 1))
    (tmp_path / "trained" / "contamination.json").write_text(ProbeReport("trained", 4, 0.6, 13, figures, {}).to_json())
    found = probes(probed)
    assert found is not None
    assert [(name, [value and value.text for value in values]) for name, _, values in found.rows] == [
        ("completed", [None, "0.250"]),
        ("pass@1 flagged", [None, "1.000"]),
    ]
    page = write_page(tmp_path / "with.html", probed).read_text()
    assert "60&nbsp;% of the words of each question were shown" in page
    assert "0.050 to 0.700" in page


def test_a_damaged_probe_is_left_out(tmp_path: Path) -> None:
    alone = page_of(evaluated(tmp_path / "base", BEFORE))
    (tmp_path / "base" / "contamination.json").write_text('{"figures": [{"name"')
    assert probes(alone) is None
