"""What a contamination probe found: figures with their intervals, as JSON and as a page."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_rl.eval.report import markdown_table
from reasoning_rl.eval.statistics import Values, rate_interval

if TYPE_CHECKING:
    import pandas as pd

FILE = "contamination.json"
MEANINGS: Mapping[str, str] = {
    "completed": "questions that the policy completes word for word from their first words",
    "rouge_l": "mean ROUGE-L of what it writes against the rest of the question",
    "solved_from_part": "problems that it solves from the first words of the question",
    "repeated": "questions that are training questions, up to case and spacing",
    "overlap": "mean of the largest share of a question's word n-grams that one training question holds",
    "flagged": "questions completed word for word, repeated, or with an n-gram of a training question",
    "pass@1 flagged": "share of right answers to the flagged questions",
    "pass@1 unflagged": "share of right answers to the other questions",
}
"""In the order of the report."""

READING = """\
A policy that never met a question completes next to none word for word. In arXiv:2507.10532, from 60 % of the words, Qwen2.5-Math-7B
completes 55 % of MATH-500 and none of a benchmark younger than itself, Llama-3.1-8B 4 % and none. Short, formulaic questions, like those of
the built-in generator, are completed by chance, and solved honestly from a part that holds all their numbers: there only the difference to
questions of the same kind that nobody can have met says something, such as `perturbed` against `seen`. A pass@1 that is higher where
questions are flagged is a hint and no proof: easy questions are also those met most often."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over problems with its 95 % interval."""

    name: str
    """One of MEANINGS."""
    value: float
    low: float
    high: float
    n: int
    """Problems behind it."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The figures of one policy on one set of problems."""

    name: str
    problems: int
    share: float
    """Of the words of each question that were shown."""
    ngram: int | None
    """Words of an n-gram, 0 for whole questions; None where no training problems were given."""
    figures: tuple[Figure, ...]
    facts: Mapping[str, object]
    """What the caller knew; a `key` tells whether it would come out the same again."""

    def find(self, name: str) -> Figure | None:
        """The figure of this name, if it is there."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """A section with the table, what its rows mean and how to read them."""
        rows = [(figure.name, f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}", str(figure.n)) for figure in self.figures]
        meanings = "\n".join(f"* **{figure.name}**: {MEANINGS[figure.name]}" for figure in self.figures)
        shown = f"The first {100 * self.share:.0f} % of the words of each of {self.problems} questions were shown to {self.name}"
        whole = f"of {self.ngram} words" if self.ngram else "whole questions"
        sought = "no training questions were compared" if self.ngram is None else f"n-grams are {whole}"
        table = markdown_table(("figure", "value", "95 % interval", "problems"), rows)
        return f"## Contamination\n\n{shown}; {sought}.\n\n{table}\n\n{meanings}\n\n{READING}\n"


def read_probe(folder: Path) -> ProbeReport | None:
    """The report of the probe in a folder; None where there is none, or it is damaged: it can be made again."""
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return ProbeReport(**{**told, "figures": tuple(Figure(**figure) for figure in told["figures"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_probed(folder: Path, key: str) -> bool:
    """Whether a probe with this `key` among its facts lies in the folder, whole."""
    report = read_probe(folder)
    return report is not None and report.facts.get("key") == key


def figures(table: "pd.DataFrame", evaluated: "pd.DataFrame | None") -> tuple[Figure, ...]:
    """Of contamination.parquet, and of problems.parquet where it is given. What is not known of any problem is left out."""
    columns = [name for name in MEANINGS if name in table and table[name].notna().all()]
    found = [_figure(name, table[name].to_numpy(dtype="float64")) for name in columns]
    return (*found, *(_solved(table, evaluated) if evaluated is not None else ()))


def _solved(table: "pd.DataFrame", evaluated: "pd.DataFrame") -> list[Figure]:
    both = table[["problem_id", "flagged"]].merge(evaluated[["problem_id", "p"]], on="problem_id")
    groups = {"pass@1 flagged": both[both["flagged"]], "pass@1 unflagged": both[~both["flagged"]]}
    return [_figure(name, group["p"].to_numpy(dtype="float64")) for name, group in groups.items() if len(group)]


def _figure(name: str, values: Values) -> Figure:
    interval = rate_interval(values)
    return Figure(name, interval.value, interval.low, interval.high, values.size)
