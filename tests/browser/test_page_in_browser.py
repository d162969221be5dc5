"""The report page in a real Chromium: what a reader sees on a phone and on a screen, in light and in dark, and what never happens."""

import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import HEIGHT, Scheme, browser, lacking, opened, tab
from page_fakes import HOSTILE, LINE, make_page
from pictures import pictures
from PIL import Image

from reasoning_rl.eval.page import write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
WIDTHS = (360, 768, 1280)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
MEASURES = (Path(__file__).parent / "measures.js").read_text()
READABLE = 4.5
"""Contrast of text to what is behind it: WCAG 2.2, success criterion 1.4.3."""


@pytest.fixture(scope="module")
def started() -> "Iterator[Browser]":
    missing = lacking()
    if missing and os.environ.get("REASONING_RL_REQUIRE_BROWSER") == "1":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page with all there is, one of four policies, one with as little as can be, and one of texts that break pages."""
    folder = tmp_path_factory.mktemp("pages")
    four = {"base": 0.5, "a policy with a rather long name": 0.8, "grpo": 0.55, "ppo": 0.6}
    made = {
        "full": make_page(folder / "full", problems=20, samples=8),
        "four": make_page(folder / "four", problems=10, samples=4, skills=four),
        "least": make_page(folder / "least", problems=3, samples=1, skills={"alone": 0.9}, facets=False, greedy=False, trained=False),
        "hostile": make_page(folder / "hostile", problems=0, samples=len(HOSTILE), hostile=True),
    }
    return {name: write_page(folder / f"{name}.html", page) for name, page in made.items()}


EVERY = pytest.mark.parametrize("name", ["full", "four", "least", "hostile"])


def measured(page: "Page", call: str) -> Any:
    """A function of measures.js, called."""
    return page.evaluate(f"() => {{ {MEASURES}\n return {call}; }}")


def measured_at(page: "Page", width: int, call: str) -> Any:
    page.set_viewport_size({"width": width, "height": HEIGHT})
    return measured(page, call)


@EVERY
def test_a_page_loads_nothing_and_complains_of_nothing(started: "Browser", pages: dict[str, Path], name: str) -> None:
    asked, said = [], []
    with tab(started, width=1280) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(pages[name].as_uri())
        page.wait_for_load_state("networkidle")
    assert asked == [pages[name].as_uri()]
    assert said == []


@EVERY
def test_a_page_never_scrolls_sideways(started: "Browser", pages: dict[str, Path], name: str) -> None:
    with opened(started, pages[name], width=1280) as page:
        closed = {width: measured_at(page, width, "overflow()") for width in WIDTHS}
        measured(page, "openAll()")
        unfolded = {width: measured_at(page, width, "overflow()") for width in WIDTHS}
    assert closed == unfolded == dict.fromkeys(WIDTHS, 0)


@EVERY
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_stands_out_from_what_is_behind_it(started: "Browser", pages: dict[str, Path], name: str, scheme: Scheme) -> None:
    with opened(started, pages[name], width=1280, scheme=scheme) as page:
        measured(page, "openAll()")
        found = measured(page, "contrasts()")
    assert len(found) > 40
    assert [text for text in found if text[1] < READABLE] == []


def test_the_page_is_dark_where_the_reader_wants_it_dark(started: "Browser", pages: dict[str, Path]) -> None:
    found = {}
    for scheme in SCHEMES:
        with opened(started, pages["full"], width=1280, scheme=scheme) as page:
            found[scheme] = measured(page, "brightness()")
    assert found["dark"] < 0.02
    assert found["light"] > 0.9


@EVERY
def test_everything_that_is_folded_opens_and_shows(started: "Browser", pages: dict[str, Path], name: str) -> None:
    with opened(started, pages[name], width=1280) as page:
        folded = page.locator("details")
        assert folded.count() >= 4
        for number in range(folded.count()):
            each = folded.nth(number)
            inside = each.locator("> :not(summary)").first
            assert not inside.is_visible()
            each.locator("> summary").click()
            assert inside.is_visible()


@pytest.mark.parametrize("name", ["full", "four"])
def test_charts_are_seen_whole_and_can_be_read(started: "Browser", pages: dict[str, Path], name: str) -> None:
    with opened(started, pages[name], width=1280) as page:
        found = [(width, chart) for width in WIDTHS for chart in measured_at(page, width, "charts()")]
    assert len(found) == 7 * len(WIDTHS)  # two of k, three of the run, two of lengths
    for width, chart in found:
        assert chart["smallest"] >= 10
        assert chart["box"]["right"] - chart["box"]["left"] > 250
        assert chart["box"]["right"] <= width
        assert chart["marks"]
        assert all(inside(part, chart["box"], slack=3) for part in (*chart["texts"], *chart["marks"]))
        assert chart["legend"]["bottom"] <= chart["box"]["top"]
        assert not any(overlap(*both) for both in combinations(chart["texts"], 2))


def inside(part: dict[str, float], whole: dict[str, float], slack: float) -> bool:
    return (
        part["left"] >= whole["left"] - slack
        and part["right"] <= whole["right"] + slack
        and part["top"] >= whole["top"] - slack
        and part["bottom"] <= whole["bottom"] + slack
    )


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    return one["left"] < other["right"] and other["left"] < one["right"] and one["top"] < other["bottom"] and other["top"] < one["bottom"]


def test_hostile_texts_stay_texts(started: "Browser", pages: dict[str, Path]) -> None:
    with opened(started, pages["hostile"], width=1280) as page:
        assert page.title() == "Toy: base and trained"
        assert page.evaluate("() => window.owned") is None
        assert page.locator("script, img, iframe, object, link").count() == 0
        texts = page.locator("pre").all_text_contents()
    assert HOSTILE[0] in texts
    assert HOSTILE[1] in texts
    assert HOSTILE[5] in texts
    cut = next(text for text in texts if text.startswith("xxx"))
    assert cut.endswith("xthe end")
    assert f"[… {len(LINE) + len('the end') - 4000:,} characters left out …]" in cut


def test_print_is_black_on_white_and_unfolded(started: "Browser", pages: dict[str, Path], tmp_path: Path) -> None:
    with opened(started, pages["full"], width=800, scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert measured(page, "brightness()") > 0.99
        assert not page.locator("nav").is_visible()
        assert page.locator("pre").first.is_visible()
        assert [text for text in measured(page, "contrasts()") if text[1] < READABLE] == []
        assert page.pdf(path=tmp_path / "page.pdf").startswith(b"%PDF")


def test_pictures_are_taken_in_light_and_dark_wide_and_narrow(started: "Browser", pages: dict[str, Path], tmp_path: Path) -> None:
    sizes: dict[str, int] = {}
    paper: dict[str, int] = {}
    for path in pictures(started, pages["full"], tmp_path):
        with Image.open(path) as picture:
            sizes[path.stem] = picture.width
            paper[path.stem] = picture.convert("L").tobytes()[0]
    assert sizes == {"full-light-wide": 1280, "full-light-narrow": 390, "full-dark-wide": 1280, "full-dark-narrow": 390}
    assert paper["full-light-wide"] > 200
    assert paper["full-dark-wide"] < 60
