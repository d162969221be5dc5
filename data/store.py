"""Parquet in and out: prompts of both splits, demonstrations, and the rows that were set aside."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_rl.data.source import Rejection, Role
from reasoning_rl.errors import DataError
from reasoning_rl.files import write_whole
from reasoning_rl.records import Demonstration, Problem, Prompt

if TYPE_CHECKING:
    from pyarrow import DataType

DEMONSTRATION_FIELDS = tuple(field.name for field in fields(Demonstration))
PROBLEM_FIELDS = tuple(field.name for field in fields(Problem) if field.name != "id")


def write_prompts(path: Path, prompts: Sequence[Prompt]) -> Path:
    """One row per problem: its fields, the prompt and the prompt's token ids."""
    columns: dict[str, list[Any]] = {"problem_id": [prompt.problem.id for prompt in prompts]}
    columns |= {name: [getattr(prompt.problem, name) for prompt in prompts] for name in PROBLEM_FIELDS}
    columns |= {"prompt": [prompt.text for prompt in prompts], "prompt_ids": [prompt.token_ids for prompt in prompts]}
    return _write(path, columns)


def write_demonstrations(path: Path, demonstrations: Sequence[Demonstration]) -> Path:
    return _write(path, {name: [getattr(one, name) for one in demonstrations] for name in DEMONSTRATION_FIELDS})


def write_rejections(path: Path, rejections: Sequence[Rejection]) -> Path:
    names = [field.name for field in fields(Rejection)]
    rows = [asdict(rejection) for rejection in rejections]
    return _write(path, {name: [row[name] for row in rows] for name in names})


def load_prompts(folder: Path, split: Role) -> list[Prompt]:
    """The prompts of `train` or `eval` in their stored order. DataError when they are absent or damaged."""
    columns = _read(folder / f"{split}.parquet", ("problem_id", *PROBLEM_FIELDS, "prompt", "prompt_ids"))
    problems = (Problem(*values) for values in zip(columns["problem_id"], *(columns[name] for name in PROBLEM_FIELDS)))
    return [Prompt(problem, text, tuple(ids)) for problem, text, ids in zip(problems, columns["prompt"], columns["prompt_ids"])]


def load_demonstrations(folder: Path) -> list[Demonstration]:
    """What the cold start imitates, in its stored order. DataError when it is absent or damaged."""
    columns = _read(folder / "demonstrations.parquet", DEMONSTRATION_FIELDS)
    ids = [map(tuple, columns.pop(name)) for name in ("prompt_ids", "completion_ids")]
    return [Demonstration(*values) for values in zip(*columns.values(), *ids)]


def _write(path: Path, columns: Mapping[str, list[Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    arrays = {name: pyarrow.array(values, _kind(name)) for name, values in columns.items()}
    return write_whole(path, lambda temporary: pyarrow.parquet.write_table(pyarrow.table(arrays), temporary))


def _kind(name: str) -> "DataType":
    """Stated, not inferred: an empty table has the same columns as a full one."""
    import pyarrow

    return pyarrow.list_(pyarrow.int32()) if name.endswith("_ids") else pyarrow.string()


def _read(path: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=list(names))
        return {name: table[name].to_pylist() for name in names}
    except FileNotFoundError as failure:
        raise DataError(f"{path}: there is no such file; prepare the data first (reasoning-rl data, or make data)") from failure
    except (OSError, KeyError, pyarrow.ArrowException) as failure:
        raise DataError(f"{path} is damaged ({failure}); delete the folder and prepare the data again") from failure
