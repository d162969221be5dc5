"""What a benchmark suite is: problems that are measured on and never trained on, and how a model from outside is asked and judged on them.

A suite is found by name in `suites.py`, by the entry-point group `reasoning_rl.suites` of an installed distribution, or as
`path/to/file.py:name`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from reasoning_rl.config import Config, EvalConfig
from reasoning_rl.data.hub import HubTable, read_hub
from reasoning_rl.data.source import RowError
from reasoning_rl.data.tables import RawRow, read_table, split_file
from reasoning_rl.data.tabular import Fields, fingerprint
from reasoning_rl.data.template import BOXED_REQUEST, ChatTemplate, Template, find_template
from reasoning_rl.errors import DataError
from reasoning_rl.records import Problem

Parse = Callable[[Mapping[str, object]], Fields]
"""A row as a problem. RowError says why it can't be one."""
BOXED_QUESTION = f"{{question}}\n{BOXED_REQUEST}"
"""Both verifiers of answers take a box for the required format."""
UNPINNED = ""
"""In place of the revision of a data set that no one here could confirm."""


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """A benchmark. Whoever needs more than the rows of a table derives from this."""

    name: str
    """Of its folder and settings; problems are called `<name>/<split>/<index>`."""
    size: int | None
    """Problems of the whole benchmark; None where a run decides it."""
    verifier: str = "math"
    """Which alone judges, so that figures of different runs can be compared."""
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Of the verifier."""
    max_tokens: int
    """Of an answer of a model that says nothing else."""
    template: str = BOXED_QUESTION
    """The message, with `{question}`, that such a model is sent: in its chat format where it has one, else as it stands."""
    cite: str = ""
    """Where the benchmark comes from, and whose number of tokens that is."""

    @abstractmethod
    def inputs(self, config: Config) -> Mapping[str, str]:
        """What `read` would read (file, data set on the hub, generator), each with its SHA-256, revision or version. Asks no network.

        DataError when a file is missing, or when nobody has said which revision is meant.
        """

    @abstractmethod
    def read(self, config: Config) -> list[Problem]:
        """All problems, in their order: a benchmark is used whole. DataError names the place of the first that can't be used."""


@dataclass(frozen=True, kw_only=True)
class Table(Suite):
    """A suite whose problems are the rows of a table: of the file that `eval.paths.<name>` names, else of a data set on the hub."""

    hub: HubTable
    parse: Parse

    def inputs(self, config: Config) -> Mapping[str, str]:
        return dict([fingerprint(self._table(config.eval))])

    def read(self, config: Config) -> list[Problem]:
        table = self._table(config.eval)
        rows = read_table(table) if isinstance(table, Path) else read_hub(table, f"eval.paths.{self.name}")
        if table == self.hub and len(rows) != self.size:
            raise DataError(f"{rows[0].where}: found {len(rows)} rows; the benchmark {self.name} has {self.size}")
        return [self._problem(row) for row in rows]

    def _table(self, config: EvalConfig) -> Path | HubTable:
        if (place := config.paths.get(self.name)) is not None:
            return self._file(place)
        table = replace(self.hub, revision=config.revisions.get(self.name, self.hub.revision))
        if table.revision == UNPINNED:
            raise DataError(
                f"eval.revisions.{self.name}: no revision of {table.repository} is pinned; "
                f"give a commit of it, or a local file by eval.paths.{self.name}"
            )
        return table

    def _file(self, place: Path) -> Path:
        """A folder may hold several suites under their names, or this one under the name of its split."""
        setting = f"eval.paths.{self.name}"
        if not place.exists():
            raise DataError(f"{setting}: there is no file or folder {place}")
        if not place.is_dir():
            return place
        own = [place / f"{self.name}{suffix}" for suffix in (".jsonl", ".parquet")]
        return next((path for path in own if path.is_file()), None) or split_file(place, self.hub.split, setting)

    def _problem(self, row: RawRow) -> Problem:
        try:
            fields = self._fields(row)
        except RowError as fault:
            raise DataError(f"{row.where}: {fault}. A benchmark is used whole: {self.name} needs every row") from fault
        return Problem(id=f"{self.name}/{self.hub.split}/{row.index}", source=self.name, split=self.hub.split, **asdict(fields))

    def _fields(self, row: RawRow) -> Fields:
        if row.fault:
            raise RowError(row.fault)
        return self.parse(row.values)


def message(suite: Suite, chat: ChatTemplate | None) -> Template:
    """How a model from outside is asked: the suite's words in the chat format of its tokenizer, or as plain text where it has none."""
    if chat is None:
        return replace(find_template(f"{suite.template}\n"), name=f"{suite.name}, plain")
    return replace(find_template(suite.template), name=f"{suite.name}, chat", chat=chat)
