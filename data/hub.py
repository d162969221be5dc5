"""Rows of data sets on the Hugging Face hub, through the `datasets` library and its cache."""

from collections.abc import Iterator
from dataclasses import dataclass

from reasoning_rl.data.tables import RawRow
from reasoning_rl.errors import DataError, first_line
from reasoning_rl.registry import did_you_mean


@dataclass(frozen=True, slots=True)
class HubTable:
    """One split of a data set at one commit."""

    repository: str
    revision: str
    split: str
    subsets: tuple[str | None, ...] = (None,)
    """Read one after the other; None is the data set's default."""

    @property
    def name(self) -> str:
        return f"{self.repository}/{self.split}"


def check_split(split: str, known: list[str], setting: str) -> None:
    """DataError unless the data set has the split."""
    if split not in known:
        raise DataError(f"{setting}: no split {split!r} on the hub; {did_you_mean(split, known)}")


def read_hub(table: HubTable, local: str = "data.path") -> list[RawRow]:
    """All rows, downloaded once and cached. DataError when the hub can't be reached or doesn't have them; `local` names the way out."""
    rows = [
        RawRow(index, f"{table.repository}@{table.revision[:12]}/{place}", values)
        for index, (place, values) in enumerate(_rows(table, local))
    ]
    if not rows:
        raise DataError(f"{table.repository}: split {table.split!r} holds no rows")
    return rows


def _rows(table: HubTable, local: str) -> Iterator[tuple[str, dict[str, object]]]:
    for subset in table.subsets:
        for number, values in enumerate(_load(table, subset, local), start=1):
            yield f"{subset or 'default'}/{table.split}:{number}", values


def _load(table: HubTable, subset: str | None, local: str) -> list[dict[str, object]]:
    from datasets.exceptions import DatasetsError
    from datasets.load import load_dataset
    from huggingface_hub.errors import HfHubHTTPError

    try:
        loaded = load_dataset(table.repository, subset, split=table.split, revision=table.revision)
    except (OSError, ValueError, DatasetsError, HfHubHTTPError) as failure:
        raise DataError(
            f"{table.repository} (revision {table.revision}, split {table.split!r}) can't be loaded from the hub: {_sentence(failure)} "
            f"Without a connection, give local files by {local}."
        ) from failure
    rows: list[dict[str, object]] = loaded.to_list()
    return rows


def _sentence(failure: Exception) -> str:
    text = first_line(failure)
    return text if text.endswith(".") else f"{text}."
