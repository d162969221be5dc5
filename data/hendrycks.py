r"""MATH (arXiv:2103.03874): competition problems; the gold is the last `\boxed{}` of the solution, or an answer column."""

from collections.abc import Mapping

from reasoning_rl.config import DataConfig
from reasoning_rl.data.gold import last_boxed
from reasoning_rl.data.hub import HubTable, check_split
from reasoning_rl.data.source import Role, RowError
from reasoning_rl.data.tables import shown
from reasoning_rl.data.tabular import Fields, TableSource, label_field, split_name, text_field

REPOSITORY = "EleutherAI/hendrycks_math"
REVISION = "21a5633873b6a120296cce3e2df9d5550074f4a3"
MATH500_REPOSITORY = "HuggingFaceH4/MATH-500"
MATH500_REVISION = "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"
SUBJECTS = ("algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra", "precalculus")


def hub_table(config: DataConfig, role: Role) -> HubTable:
    """`math500` is a data set of its own, with its own pin; `data.revision` speaks of the large one."""
    split = split_name(config, role)
    check_split(split, ["train", "test", "math500"], f"data.{role}_split")
    if split == "math500":
        return HubTable(MATH500_REPOSITORY, MATH500_REVISION, "test")
    return HubTable(REPOSITORY, config.revision or REVISION, split, SUBJECTS)


def parse(values: Mapping[str, object], config: DataConfig) -> Fields:  # noqa: ARG001  # nothing here depends on settings
    solution = text_field(values, "solution") if values.get("solution") else ""
    subject = label_field(values, "subject") or label_field(values, "type")
    return Fields(text_field(values, "problem"), _gold(values, solution), "math", solution, label_field(values, "level"), subject)


def _gold(values: Mapping[str, object], solution: str) -> str:
    if values.get("answer") is not None:
        return text_field(values, "answer")
    gold = last_boxed(solution)
    if gold is None:
        found = f"column 'solution' ends in {shown(solution[-40:])}" if solution else "column 'solution' is absent too"
        raise RowError(f"no gold: column 'answer' is absent or null, and there is no \\boxed{{}} to take it from ({found})")
    return gold


SOURCE = TableSource("hendrycks_math", lambda _: ("problem",), parse, hub_table)
