"""The report page as a file: whole, alone, honest, and not broken by what policies write."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from page_fakes import CREATED, HOSTILE, course, evaluated, make_page

from reasoning_rl.errors import StorageError
from reasoning_rl.eval import compare
from reasoning_rl.eval.metrics import METRICS
from reasoning_rl.eval.page import Page, write_page

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Document(HTMLParser):
    """Elements with their attributes, and the text outside of `style`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not (self.get_starttag_text() or "").endswith("/>") or self.open[-1:] == [tag]:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if self.open[-1:] == ["style"] else data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return make_page(tmp_path_factory.mktemp("made"), problems=30, samples=8)


@pytest.fixture(scope="module")
def written(made: Page) -> Path:
    return write_page(made.first.samples.parent.parent / "report.html", made)


@pytest.fixture(scope="module")
def document(written: Path) -> Document:
    return Document(written)


def test_every_element_is_closed_in_its_turn(document: Document) -> None:
    assert document.open == []


def test_nothing_is_fetched_and_nothing_runs(written: Path, document: Document) -> None:
    html = written.read_text()
    policy = next(meta["content"] for meta in document.named("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert {tag for tag, _ in document.elements} & {"script", "link", "img", "iframe", "base", "form"} == set()
    assert not re.search(r"url\(|@import|https?://", html)
    assert all(not attribute.startswith("on") for _, attributes in document.elements for attribute in attributes)


def test_every_link_leads_somewhere_on_the_page(document: Document) -> None:
    ids = [str(attributes["id"]) for _, attributes in document.elements if "id" in attributes]
    assert max(Counter(ids).values()) == 1
    assert len(document.named("a")) == 10
    assert {str(link["href"]) for link in document.named("a")} <= {f"#{key}" for key in ids}


def test_headings_descend_without_a_gap(document: Document) -> None:
    levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_every_table_has_a_caption_and_every_header_a_scope(document: Document) -> None:
    assert len(document.named("table")) == len(document.named("caption")) > 10
    assert all(header.get("scope") in {"row", "col"} for header in document.named("th"))


def test_every_picture_has_a_name_and_its_numbers(document: Document) -> None:
    pictures = [svg for svg in document.named("svg") if svg.get("role") == "img"]
    ids = {attributes.get("id") for _, attributes in document.elements}
    assert len(pictures) == 7  # two of k, three of the run, two of lengths
    assert all(set(str(svg["aria-labelledby"]).split()) <= ids for svg in pictures)
    assert document.text.count("The numbers\n") == len(pictures)


def test_equal_figures_give_equal_bytes(made: Page, written: Path, tmp_path: Path) -> None:
    again = make_page(tmp_path, problems=30, samples=8)
    assert write_page(tmp_path / "report.html", again).read_bytes() == written.read_bytes()


def test_the_page_knows_nothing_of_the_machine(written: Path) -> None:
    assert str(written.parent) not in written.read_text()


def test_the_opening_sentence_is_the_comparison(made: Page, document: Document) -> None:
    row = made.contrast(1, "pass@k", 1)
    assert row
    said = (
        f"trained solves {row['value']:.3f} of the problems at the first try, base {made.first.problems['p'].mean():.3f}: a difference of +"
    )
    assert said + f"{row['difference']:.3f} (+{row['difference_low']:.3f} to +{row['difference_high']:.3f}; p < 0.001)." in document.words


def test_every_metric_stands_with_its_interval_and_its_meaning(made: Page, document: Document) -> None:
    for measure in made.last.report.metrics:
        decimals = METRICS[measure.metric].decimals
        assert f"{measure.value:.{decimals}f}{measure.low:.{decimals}f} to {measure.high:.{decimals}f}" in document.text
        assert METRICS[measure.metric].meaning in document.text


def test_settings_and_hashes_are_there(made: Page, document: Document) -> None:
    assert str(made.last.report.facts["problems_sha256"]) in document.text
    assert "train.seednull" in document.text
    assert 'sampling.stop["</answer>"]' in document.text
    assert CREATED in document.text
    assert "Not shown twice." not in document.text  # the reports' note, which the caller puts on top or not


def test_the_note_opens_the_page_as_text(document: Document) -> None:
    assert document.text.index("A made-up run: <b>nothing</b> was learned.") < document.text.index("Results")


def test_a_policy_alone_has_a_page(tmp_path: Path) -> None:
    page = make_page(tmp_path, problems=12, samples=1, skills={"alone": 0.9}, facets=False, greedy=False, trained=False)
    document = Document(write_page(tmp_path / "report.html", page))
    assert f"alone solves {page.first.problems['p'].mean():.3f} (" in document.words
    assert "of 12 problems at the first try." in document.words
    assert "Another policy" not in document.words
    assert document.open == []
    for absent in (
        "The run",
        "Where it solves problems",
        "Differences are paired",
        METRICS["greedy"].meaning,
        "Gained",
        "Settings of the run",
    ):
        assert absent not in document.text


def test_a_page_without_a_comparison_shows_no_differences(made: Page, tmp_path: Path) -> None:
    document = Document(write_page(tmp_path / "report.html", replace(made, comparison=None)))
    assert "Holm" not in document.text
    assert "base solves" in document.words
    assert "trained solves" in document.words


@pytest.mark.parametrize("steps", [0, 1, 5000])
def test_a_run_of_any_length_is_drawn(made: Page, tmp_path: Path, steps: int) -> None:
    path = write_page(tmp_path / "report.html", replace(made, course=course(steps)))
    assert ("Lost answers" in Document(path).text) == (steps > 0)
    assert path.stat().st_size < 400_000


def test_a_run_without_some_metrics_is_drawn_without_them(made: Page, tmp_path: Path) -> None:
    metrics = pd.DataFrame({"step": [1, 2], "reward": [0.1, None], "completions/mean_length_correct": [None, None]})
    document = Document(write_page(tmp_path / "report.html", replace(made, course=metrics)))
    titles = [svg["aria-labelledby"] for svg in document.named("svg") if svg.get("role") == "img"]
    assert [title for title in titles if title in {"reward-title reward-says", "length-title length-says"}] == ["reward-title reward-says"]


def test_missing_values_of_pandas_are_no_groups(tmp_path: Path) -> None:
    page = make_page(tmp_path, problems=12, samples=2)
    problems = page.last.problems.astype({"level": "string", "subject": "string"})
    problems.loc[0, ["level", "subject"]] = pd.NA
    last = replace(page.last, problems=problems)
    document = Document(write_page(tmp_path / "report.html", replace(page, policies=[page.first, last])))
    assert "<NA>" not in document.text
    assert "nan" not in document.words.split()


def test_what_policies_write_stays_text(tmp_path: Path) -> None:
    page = make_page(tmp_path, problems=0, samples=len(HOSTILE), hostile=True)
    path = write_page(tmp_path / "report.html", page)
    document = Document(path)
    assert document.named("script") == document.named("img") == []
    assert document.open == []
    assert all(text in document.text for text in (HOSTILE[0], HOSTILE[1], HOSTILE[3], HOSTILE[5]))
    assert "half a pair ?, a bell ␇ and a null ␀" in document.text
    assert "[… 96,007 characters left out …]" in document.text  # 100,007 less the 4,000 that are shown
    assert path.stat().st_size < 200_000


def test_titles_and_settings_stay_text_too(made: Page, tmp_path: Path) -> None:
    bad = "</title><script>x</script>\ud800\x00"
    page = replace(made, title=bad, note=bad, settings={bad: {"nested": bad}})
    document = Document(write_page(tmp_path / "report.html", page))
    assert document.named("script") == []
    assert document.text.count("<script>x</script>?␀") == 5  # the page's title and its heading, the note, a setting's name and its value


def test_damaged_samples_are_named(made: Page, tmp_path: Path) -> None:
    (tmp_path / "samples.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StorageError, match=r"samples\.parquet: the answers can't be read"):
        write_page(tmp_path / "report.html", replace(made, policies=[made.first, replace(made.last, samples=tmp_path / "samples.parquet")]))
    assert not (tmp_path / "report.html").exists()


def test_a_comparison_of_other_runs_is_refused(made: Page) -> None:
    with pytest.raises(ValueError, match="found 1 policies and a comparison of 2 runs"):
        replace(made, policies=[made.first])
    with pytest.raises(ValueError, match="found 0 policies"):
        replace(made, policies=[], comparison=None)


def test_several_training_seeds_are_said(tmp_path: Path) -> None:
    policies = [evaluated(tmp_path / name, {1: ["1", "2"], 2: ["2", "3"], 3: ["1", "1"]}) for name in ("base", "one", "two")]
    folders = [policy.samples.parent for policy in policies]
    page = Page("Seeds", "", policies[:2], compare(folders[0], folders[1:], names=("base", "seeds")), None, {})
    assert "95 % intervals, over training seeds and problems, below the values" in Document(write_page(tmp_path / "r.html", page)).words
