"""The three kinds of function are told apart by their parameters."""

import pytest

from reasoning_rl.rewards.style import style_of


def native(completion: object, problem: object, *, depth: int = 1) -> None: ...
def trl(prompts: object, completions: object, scale: float = 1.0, **columns: object) -> None: ...
def trl_of_ids(completion_ids: object) -> None: ...
def verl(data_source: object, solution_str: object, ground_truth: object, extra_info: object = None, scale: float = 1.0) -> None: ...


@pytest.mark.parametrize(
    ("function", "name", "options"),
    [
        (native, "native", ["depth"]),
        (trl, "trl", ["scale"]),
        (trl_of_ids, "trl", []),
        (verl, "verl", ["data_source", "scale"]),
    ],
)
def test_each_is_known_and_so_are_its_options(function: object, name: str, options: list[str]) -> None:
    assert callable(function)
    style = style_of(function)
    assert (style.name, list(style.options(function))) == (name, options)


def test_a_callable_without_a_signature_is_native() -> None:
    assert style_of(min).name == "native"
