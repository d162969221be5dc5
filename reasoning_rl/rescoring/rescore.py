"""The tool behind `reasoning-rl verify FILE…`: read, judge, count and write, a batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice

from rich.console import Console

from reasoning_rl.config import JudgeConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.files import write_text
from reasoning_rl.progress import Progress
from reasoning_rl.records import Score
from reasoning_rl.rescoring.answers import Answer, Answers, Columns, tables_of
from reasoning_rl.rescoring.report import Names, markdown, screen
from reasoning_rl.rescoring.request import Request, counted, judge_of, parsed, rewards_of
from reasoning_rl.rescoring.tally import Agreement, Judged, Tally
from reasoning_rl.rescoring.verdicts import Against, VerdictsFile, schema
from reasoning_rl.rollout.judge import Judge

BATCH = 1024
"""Answers held at a time."""
OWN = "the task's verifier"


def rescore(request: Request, console: Console, notes: Console) -> None:
    """Judge all answers and print the tables; a failure or Ctrl-C on the way prints those of what was judged until then.

    Raises what reading, judging and writing raise; mistakes of the request before anything is judged.
    """
    rescoring = Rescoring(request)
    try:
        rescoring.run(notes)
    finally:
        rescoring.show(console, notes)
    if request.report:
        write_text(request.report, markdown(rescoring.tally, rescoring.names))


class Rescoring:
    """What it takes, found and checked before the first answer is judged."""

    def __init__(self, request: Request) -> None:
        rewards, settings, tables = rewards_of(request), judge_of(request), tables_of(request.places)
        columns = tables[0].columns() if tables else []
        label = request.against if request.against in columns else None
        self._judge, self._counted = Judge(rewards, settings), counted(rewards)
        self._other = _other(request.against, settings, columns) if request.against and not label else None
        wanted = Columns(request.completion_column, request.gold_column, label, tokens=bool(rewards or self._other))
        self._answers = Answers(tables, wanted, request.task)
        against: Against = "label" if label else "verifier" if self._other else "nothing"
        self._file = VerdictsFile(request.out, schema(columns, list(rewards), against)) if request.out else None
        self.tally = Tally(agreement=Agreement(request.examples) if request.against else None)
        self.names = Names(self._counted or OWN, label or (self._other[0] if self._other else ""))

    def run(self, console: Console) -> None:
        """Judge all answers; how far it is can be seen on the console."""
        total = len(self._answers)
        other = self._other[1] if self._other else nullcontext()
        with self._judge, other, self._file or nullcontext(), Progress(console, total) as progress:
            progress.phase("judge")
            for batch in _batches(self._answers):
                judged = self._judged(batch)
                if self._file:
                    self._file.write(judged)
                for each in judged:
                    self.tally.add(each)
                progress.at(self.tally.n, total)

    def show(self, console: Console, notes: Console) -> None:
        """Print what has been counted, and where verdicts are that a halt has left behind."""
        for part in screen(self.tally, self.names) if self.tally.n else ():
            console.print(part)
        if self._file and self._file.partial:
            notes.print(f"Not all answers were judged; the verdicts so far are in {self._file.partial}", highlight=False, soft_wrap=True)

    def _judged(self, batch: Sequence[Answer]) -> list[Judged]:
        items = [(answer.completion, answer.problem) for answer in batch]
        verdicts = self._judge.judge(items)
        if self._other:
            name, judge = self._other
            others: list[Score | None] = [verdict.scores[name] for verdict in judge.judge(items)]
        else:
            others = [None if answer.label is None else Score(answer.label) for answer in batch]
        scores = [verdict.scores[self._counted] if self._counted else verdict.judgement for verdict in verdicts]
        return [Judged(*each) for each in zip(batch, verdicts, scores, others, strict=True)]


def _other(against: str, settings: JudgeConfig, columns: Sequence[str]) -> tuple[str, Judge]:
    """The verifier to compare with, by its name; a judge of its own, so that neither side loses what the other hangs on."""
    rewards = parsed([against], "--against")
    try:
        return next(iter(rewards)), Judge(rewards, settings)
    except VerifierError as failure:
        raise VerifierError(f"--against: {failure}\nNor is it a column; there are {', '.join(columns)}") from failure


def _batches(answers: Answers) -> Iterator[list[Answer]]:
    coming = iter(answers)
    while batch := list(islice(coming, BATCH)):
        yield batch
