"""What is wrong with the options that a recipe gives a verifier: unknown, missing, or of the wrong kind."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from reasoning_rl.registry import did_you_mean
from reasoning_rl.rewards.style import NATIVE, style_of


def mistakes(function: Callable[..., object], options: Mapping[str, object], where: str) -> list[str]:
    """One line for each, `where` being the verifier's place in the recipe. Values are checked against a native verifier's annotations."""
    style = style_of(function)
    accepted = style.options(function)
    unknown = [] if _takes_any(function) else [name for name in options if name not in accepted]
    found = [f"{where}.options.{name}: no such option; {did_you_mean(name, list(accepted))}" for name in unknown]
    if found or style is not NATIVE:
        return found
    required = [name for name, each in accepted.items() if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    found += [f"{where}.options.{name}: required by this verifier" for name in required if name not in options]
    annotations = _annotations(function)
    wrong = {name: _wrong(value, annotations[name]) for name, value in options.items() if name in annotations}
    return found + [f"{where}.options.{name}: {said}" for name, said in wrong.items() if said]


def _takes_any(function: Callable[..., object]) -> bool:
    return any(each.kind is each.VAR_KEYWORD for each in inspect.signature(function).parameters.values())


def _annotations(function: Callable[..., object]) -> dict[str, Any]:
    """Of the parameters that have one."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters.values()
    except (NameError, AttributeError, SyntaxError):  # written as text that only a type checker understands
        return {}
    return {each.name: each.annotation for each in parameters if each.annotation is not each.empty}


def _wrong(value: object, annotation: Any) -> str | None:
    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except PydanticSchemaGenerationError:  # a class of the author's, of which nothing is known
        return None
    except ValidationError as failure:
        message = failure.errors(include_url=False)[0]["msg"]
        return (
            f"found {value!r}; it should be{message.removeprefix('Input should be')}" if message.startswith("Input should be") else message
        )
    return None
