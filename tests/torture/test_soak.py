import pytest
from processes import Held
from soak import Sight, broken_promises, spans, table
from stages import BrokenPromiseError

STEPS = 400


def sights(*, grown_mib: float = 0.0, files: int = 0, processes: int = 0) -> list[Sight]:
    """800 MiB, 5 files and 2 processes, at each tenth step; so much more from step 300 on. Every other time a file is being written."""
    late = [step >= 300 for step in range(0, STEPS + 1, 10)]
    return [
        Sight(step, Held(800 + grown_mib * now, 5 + files * now + step // 10 % 2, 2 + processes * now))
        for step, now in zip(range(0, STEPS + 1, 10), late, strict=True)
    ]


def broken(seen: list[Sight]) -> list[str]:
    return list(broken_promises(spans(seen, STEPS)))


def test_what_stays_as_it_is_breaks_no_promise() -> None:
    assert broken(sights()) == []
    assert broken(sights(grown_mib=-200)) == []


def test_memory_may_grow_by_a_twentieth() -> None:
    assert broken(sights(grown_mib=39)) == []  # 4.9 %
    # 41 / 800 is 5.1 %
    assert broken(sights(grown_mib=41))[0] == "step 300: 841 MiB, +5.1% on step 200; promised are 5%"


def test_a_file_that_stays_open_is_told_from_one_that_is_being_written() -> None:
    assert broken(sights(files=1)) == ["step 400: 6 files, 5 at step 200"]


def test_a_process_that_is_left_over_is_told() -> None:
    assert broken(sights(processes=1)) == ["step 400: 3 processes, 2 at step 200"]


def test_growth_before_everything_is_compiled_and_after_the_last_step_is_none() -> None:
    early, late = Sight(20, Held(100, 1, 1)), Sight(STEPS, Held(9_000, 99, 9))
    assert broken([early, *sights()[:-1], late]) == []


def test_too_short_a_look_proves_nothing() -> None:
    with pytest.raises(BrokenPromiseError, match="take more --steps"):
        broken([sight for sight in sights() if sight.step <= 200])


def test_the_table_has_the_steps_that_it_is_asked_for() -> None:
    assert [line.split() for line in table(spans(sights(), STEPS)).splitlines()] == [
        ["step", "resident", "MiB", "files", "processes"],
        ["100", "800", "5", "2"],
        ["200", "800", "5", "2"],
    ]
