"""GSM8K (arXiv:2110.14168): grade-school word problems; the answer column ends in `#### gold`."""

from collections.abc import Mapping

from reasoning_rl.config import DataConfig
from reasoning_rl.data.gold import after_hashes, gsm8k_number
from reasoning_rl.data.hub import HubTable, check_split
from reasoning_rl.data.source import Role, RowError
from reasoning_rl.data.tables import shown
from reasoning_rl.data.tabular import Fields, TableSource, split_name, text_field

REPOSITORY = "openai/gsm8k"
REVISION = "740312add88f781978c0658806c59bc2815b9866"


def hub_table(config: DataConfig, role: Role) -> HubTable:
    check_split(split_name(config, role), ["train", "test"], f"data.{role}_split")
    return HubTable(REPOSITORY, config.revision or REVISION, split_name(config, role), ("main",))


def parse(values: Mapping[str, object], config: DataConfig) -> Fields:  # noqa: ARG001  # nothing here depends on settings
    solution = text_field(values, "answer")
    return Fields(text_field(values, "question"), gold_number(solution), "gsm8k", solution)


def gold_number(solution: str) -> str:
    """The number after `####`. RowError when there is no mark or no number."""
    marked = after_hashes(solution)
    if marked is None:
        raise RowError(f"column 'answer' has no `####` before the gold: it ends in {shown(solution[-40:])}")
    number = gsm8k_number(marked)
    if number is None:
        raise RowError(f"gold without a number: {shown(marked)} after `####`; accepted: one number, with currency, commas or a unit")
    return number


SOURCE = TableSource("gsm8k", lambda _: ("question", "answer"), parse, hub_table)
