"""The benchmark suites, each one entry of the table below, which is all there is to edit for a new one.

Revisions, splits, columns and numbers of rows were confirmed in public code that uses them, and not fetched from here. The hub gives these
commits, and their rows are counted, or an error; `eval.revisions.<suite>` takes another.

    suite       verifier                    problems
    gsm8k       gsm8k                       grade-school word problems
    math500     math                        competition problems of seven subjects and five levels
    aime24      math                        both papers of 2024; the answer is a whole number from 0 to 999
    amc23       math                        problems of AMC 12 of 2023, restated so that the answer is one number
    minerva     math, 1e-4 of the value     undergraduate science; golds are rounded, as in Qwen2.5-Math's grader
    olympiad    math                        OlympiadBench's open-ended English problems without pictures; several answers in any order
    svamp       gsm8k                       elementary word problems made to mislead
    arithmetic  gsm8k                       of the built-in generator, under a seed that no run can have
    seen        gsm8k                       training problems of a run on `arithmetic` (retold.py)
    perturbed   gsm8k                       their twins with other names and numbers (retold.py)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from reasoning_rl.config import ArithmeticConfig, Config, DataConfig, EvalConfig
from reasoning_rl.data import arithmetic, gsm8k, hendrycks
from reasoning_rl.data.gold import gsm8k_number
from reasoning_rl.data.hub import HubTable
from reasoning_rl.data.source import RowError
from reasoning_rl.data.suite import Suite, Table
from reasoning_rl.data.tables import shown
from reasoning_rl.data.tabular import Fields, label_field, text_field
from reasoning_rl.errors import ConfigError
from reasoning_rl.recipes import folder_name
from reasoning_rl.records import Problem
from reasoning_rl.registry import Registry, did_you_mean

Values = Mapping[str, object]

LARGEST_AIME = 999
_DOLLAR = re.compile(r"(?<!\\)\$")
"""That opens or closes a formula."""
_CLOSED = (".", "?", "!", ":", ",", ";")


def parse_aime(values: Values) -> Fields:
    """Columns `problem` and `answer`, capitals allowed; `025` is 25."""
    answer = text_field(values, _spelt(values, "answer", "Answer"), numbers=True)
    if not answer.isdecimal() or int(answer) > LARGEST_AIME:
        raise RowError(f"gold {shown(answer)}; a whole number from 0 to {LARGEST_AIME} is accepted")
    solution = _text(values, _spelt(values, "solution", "Solution"))
    return Fields(text_field(values, _spelt(values, "problem", "Problem")), str(int(answer)), "math", solution)


def parse_amc(values: Values) -> Fields:
    """Columns `question` (or `problem`) and `answer`; `27.0` is 27."""
    return Fields(text_field(values, _spelt(values, "question", "problem")), _number(values, "answer"), "math")


def parse_minerva(values: Values) -> Fields:
    """Columns `question` and `answer`, an expression."""
    return Fields(text_field(values, "question"), text_field(values, "answer", numbers=True), "math", _text(values, "solution"))


def parse_olympiad(values: Values) -> Fields:
    """Columns `question` and `final_answer`, a list of one text, which may hold several answers between commas."""
    answer = _DOLLAR.sub("", _joined(values, "final_answer", ", ")).strip()
    if not answer:
        raise RowError("column 'final_answer' is empty; at least one answer is accepted")
    solution = _joined(values, "solution", "\n") if isinstance(values.get("solution"), list) else _text(values, "solution")
    return Fields(text_field(values, "question"), answer, "math", solution, subject=label_field(values, "subfield"))


def parse_svamp(values: Values) -> Fields:
    """Columns `Body`, `Question` and `Answer`, a number; `Equation` is the worked solution, `Type` the subject."""
    body, question = text_field(values, "Body"), text_field(values, "Question")
    told = body if body.endswith(_CLOSED) else f"{body}."
    return Fields(f"{told} {question}", _number(values, "Answer"), "gsm8k", _text(values, "Equation"), subject=label_field(values, "Type"))


def _spelt(values: Values, *columns: str) -> str:
    """The first of these spellings that the row has; else the first, which is then said to be missing."""
    return next((column for column in columns if values.get(column) is not None), columns[0])


def _text(values: Values, column: str) -> str:
    """Empty where there is none: files that went through pandas hold NaN there."""
    value = values.get(column)
    return value.strip() if isinstance(value, str) else ""


def _number(values: Values, column: str) -> str:
    """A gold that is one number, without a decimal point where it is whole."""
    written = text_field(values, column, numbers=True)
    number = gsm8k_number(written)
    if number is None:
        raise RowError(f"column {column!r}: gold {shown(written)} is not one number, as 27 or 27.5")
    whole, _, rest = number.partition(".")
    return number if rest.strip("0") or not whole else whole


def _joined(values: Values, column: str, joint: str) -> str:
    """A text, or the texts of a list."""
    value = values.get(column)
    if isinstance(value, list):
        return joint.join(text_field({column: one}, column) for one in value)
    return text_field(values, column)


@dataclass(frozen=True, kw_only=True)
class Generated(Suite):
    """Problems of the built-in generator with its own default settings, whatever those of a run are."""

    def inputs(self, config: Config) -> Mapping[str, str]:  # noqa: ARG002  # nothing is read
        return {arithmetic.NAME: f"generator {arithmetic.VERSION}, seed {SEED}"}

    def read(self, config: Config) -> list[Problem]:  # noqa: ARG002  # see above
        settings = ArithmeticConfig(train_problems=1, demonstrations=0, eval_problems=self.size or 1)
        rows = arithmetic.SOURCE.read(DataConfig(arithmetic=settings), SEED).eval
        return [replace(row.problem, id=f"{self.name}/suite/{index}", split="suite") for index, row in enumerate(rows)]


SEED = -1
"""Runs have seeds of 0 and more."""

SUITES: Registry[Suite] = Registry("suite", entry_point_group="reasoning_rl.suites")
for _suite in (
    Table(
        name="gsm8k",
        hub=HubTable(gsm8k.REPOSITORY, gsm8k.REVISION, "test", ("main",)),
        size=1319,
        parse=lambda values: gsm8k.parse(values, DataConfig()),
        verifier="gsm8k",
        max_tokens=1024,
        cite="Cobbe et al. 2021, arXiv:2110.14168",
    ),
    Table(
        name="math500",
        hub=HubTable(hendrycks.MATH500_REPOSITORY, hendrycks.MATH500_REVISION, "test"),
        size=500,
        parse=lambda values: hendrycks.parse(values, DataConfig()),
        max_tokens=2048,
        cite="Lightman et al. 2023, arXiv:2305.20050, of Hendrycks et al. 2021, arXiv:2103.03874",
    ),
    Table(
        name="aime24",
        hub=HubTable("HuggingFaceH4/aime_2024", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a", "train"),
        size=30,
        parse=parse_aime,
        max_tokens=8192,
        cite="American Invitational Mathematics Examination 2024, I and II",
    ),
    Table(
        name="amc23",
        hub=HubTable("math-ai/amc23", "80815d37005feb82cd7f8fbc6901d5d3eff43057", "test"),
        size=40,
        parse=parse_amc,
        max_tokens=4096,
        cite="American Mathematics Competitions 2023, AMC 12",
    ),
    Table(
        name="minerva",
        hub=HubTable("math-ai/minervamath", "ee46ddc498933b1977577953250ca5c66be64f96", "test"),
        size=272,
        parse=parse_minerva,
        options={"tolerance": 1e-4},
        max_tokens=2048,
        cite="Lewkowycz et al. 2022, arXiv:2206.14858, OCWCourses",
    ),
    Table(
        name="olympiad",
        hub=HubTable("math-ai/olympiadbench", "4faaf1e6ec17d11a4218a9bf4c049ecaf954dd84", "test"),
        size=674,
        parse=parse_olympiad,
        max_tokens=4096,
        cite="He et al. 2024, arXiv:2402.14008, OE_TO_maths_en_COMP",
    ),
    Table(
        name="svamp",
        hub=HubTable("ChilleD/SVAMP", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef", "test"),
        size=300,
        parse=parse_svamp,
        verifier="gsm8k",
        max_tokens=1024,
        cite="Patel et al. 2021, arXiv:2103.07191",
    ),
    Generated(name="arithmetic", size=500, verifier="gsm8k", max_tokens=1024, cite="the built-in generator (docs/data.md)"),
):
    SUITES.add(_suite.name, _suite)
SUITES.add_lazily("seen", "reasoning_rl.data.retold:SEEN")
SUITES.add_lazily("perturbed", "reasoning_rl.data.retold:PERTURBED")


def find_suites(config: EvalConfig) -> list[Suite]:
    """The suites that are asked for, in their order. ConfigError for an unknown one, one that stands twice, or a setting of none."""
    found = [_find(name) for name in config.suites]
    names = [suite.name for suite in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"eval.suites: {twice[0]!r} stands twice; a suite has one folder")
    for setting, given in (("paths", config.paths), ("revisions", config.revisions)):
        for name in given:
            if name not in names:
                _known(f"eval.{setting}.{name}", name)
    return found


def _find(name: str) -> Suite:
    suite = SUITES.get(name, f"eval.suites: {name}")
    if not isinstance(suite, Suite):
        raise ConfigError(f"eval.suites: {name} is a {type(suite).__name__}; a reasoning_rl.data.suite.Suite is accepted")
    if folder_name(suite.name) != suite.name or suite.name in {"base", "trained"}:
        raise ConfigError(f"eval.suites: {name} is called {suite.name!r}; a name for a folder beside `base` and `trained` is accepted")
    return suite


def _known(setting: str, name: str) -> None:
    if name not in SUITES.names():
        raise ConfigError(f"{setting}: no such suite; {did_you_mean(name, SUITES.names())}")
