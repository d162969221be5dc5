"""What is wrong with a recipe, in words: one line for each mistake, `where: what was found; what is accepted`."""

from collections.abc import Sequence
from functools import reduce
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reasoning_rl.config import Config
from reasoning_rl.registry import did_you_mean

_Place = tuple[int | str, ...]


def lines(failure: ValidationError) -> list[str]:
    """Every mistake that pydantic found, worded for the author of the recipe."""
    return [line for mistake in _closest(failure.errors(include_url=False)) for line in _worded(mistake)]


def _worded(mistake: ErrorDetails) -> list[str]:
    place = _shown(mistake["loc"])
    match mistake["type"]:
        case "extra_forbidden":
            return [f"{_dotted(place)}: no such setting; {did_you_mean(str(place[-1]), _known(place[:-1]))}"]
        case "missing":
            return [f"{_dotted(place)}: missing; a recipe has to say it"]
        case "value_error":
            prefix = f"{_dotted(place)}." if place else ""
            return [f"{prefix}{line}" for line in str(mistake["ctx"]["error"]).splitlines()]
        case _:
            return [f"{_dotted(place)}: found {_short(mistake['input'])}; {_accepted(place, mistake['msg'])}"]


def _accepted(place: _Place, message: str) -> str:
    if _is_union(kind := _bare(_type_at(place))):
        return f"it should be {' or '.join(alternative.__name__ for alternative in get_args(kind))}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"it should be a mapping of settings, of {', '.join(kind.model_fields)}"
    return "it should be" + message.removeprefix("Input should be") if message.startswith("Input should be") else message


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _dotted(place: Sequence[int | str]) -> str:
    return ".".join(map(str, place)) or "the recipe"


def _shown(place: _Place) -> _Place:
    """The place as the author wrote it: pydantic adds the tried alternative of a union (`options.x.bool`) and `[key]`."""
    annotation: Any = Config
    kept: list[int | str] = []
    for part in place:
        if part == "[key]" or _is_union(_bare(annotation)):
            break
        kept.append(part)
        annotation = _inside(annotation, part)
    return tuple(kept)


def _closest(mistakes: list[ErrorDetails]) -> list[ErrorDetails]:
    """One mistake a place: a union reports one for each alternative."""
    first: dict[_Place, ErrorDetails] = {}
    for mistake in mistakes:
        first.setdefault(_shown(mistake["loc"]), mistake)
    return list(first.values())


def _known(place: _Place) -> list[str]:
    """Names of the settings that the section at `place` has."""
    section = _bare(_type_at(place))
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _type_at(place: _Place) -> Any:
    return reduce(_inside, place, Config)


def _inside(annotation: Any, part: int | str) -> Any:
    """The type of what lies under `part`; None where the tree ends."""
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        field = bare.model_fields.get(str(part))
        return field.annotation if field else None
    if get_origin(bare) in {dict, list, tuple}:
        return get_args(bare)[1 if get_origin(bare) is dict else 0]
    return None


def _bare(annotation: Any) -> Any:
    """`X` of `Annotated[X, …]` and of `X | None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if _is_union(annotation):
        others = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in {Union, UnionType}
