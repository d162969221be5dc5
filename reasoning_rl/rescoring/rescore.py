"""The tool behind `reasoning-rl verify FILE…`: read, judge, count and write, a batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

from rich.console import Console

from reasoning_rl.errors import ConfigError
from reasoning_rl.files import write_text
from reasoning_rl.progress import Progress
from reasoning_rl.records import Score
from reasoning_rl.rescoring.against import other_judge
from reasoning_rl.rescoring.answers import Answer, Answers, tables_of
from reasoning_rl.rescoring.names import Names, own
from reasoning_rl.rescoring.report import markdown, screen
from reasoning_rl.rescoring.request import Request, counted, counting_tokens, judge_of, judges, rewards_of
from reasoning_rl.rescoring.tally import Agreement, Judged, Tally
from reasoning_rl.rescoring.verdicts import Against, VerdictsFile, refuse_unwritable, schema
from reasoning_rl.rollout.judge import Judge

BATCH = 1024
"""Answers held at a time."""


def rescore(request: Request, console: Console, notes: Console) -> None:
    """Judge all answers and print the tables; a failure or Ctrl-C on the way prints those of what was judged until then.

    Raises what reading, judging and writing raise; mistakes of the request, broken rows and places that can't be written before anything
    is judged.
    """
    rescoring = Rescoring(request, notes)
    try:
        rescoring.run(notes)
    finally:
        rescoring.show(console, notes)
    if request.report:
        write_text(request.report, markdown(rescoring.tally, rescoring.names))


class Rescoring:
    """What it takes, found and checked before the first answer is judged."""

    def __init__(self, request: Request, notes: Console) -> None:
        rewards, settings, tables = rewards_of(request), judge_of(request), tables_of(request.places)
        columns = next(filter(None, (each.columns() for each in tables)), [])  # an empty file of JSONL has none
        label = request.against if request.against in columns else None
        self._judge, self._counted = Judge(rewards, settings), counted(rewards)
        self._other = other_judge(request.against, settings, columns) if request.against and not label else None
        other = [self._other[0]] if self._other else []
        counting = counting_tokens([*rewards, *other])
        wanted = replace(request.columns, label=label, tokens=bool(rewards or other), counting=counting)
        self._answers = Answers(tables, wanted, request.task)
        files = [str(each.path) for each in tables]
        _refuse_places(request, files)
        with notes.status("Reading"):
            survey = self._answers.survey()
        self._total = survey.answers
        against: Against = "label" if label else "verifier" if other else "nothing"
        self._file = VerdictsFile(request.out, schema(columns, list(rewards), against)) if request.out else None
        self.tally = Tally(agreement=Agreement(request.examples) if request.against else None)
        judging = self._counted is None or judges(self._counted)
        self.names = Names(self._counted or own(survey.tasks), label or "".join(other), judging, files)

    def run(self, console: Console) -> None:
        """Judge all answers; how far it is can be seen on the console."""
        other = self._other[1] if self._other else nullcontext()
        with self._judge, other, self._file or nullcontext(), Progress(console, self._total) as progress:
            progress.phase("judge")
            for batch in _batches(self._answers):
                judged = self._judged(batch)
                if self._file:
                    self._file.write(judged)
                for each in judged:
                    self.tally.add(each)
                progress.at(self.tally.n, self._total)

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


def _refuse_places(request: Request, files: Sequence[str]) -> None:
    """Places to write to that can't be written, or would take an answer's file. StorageError, ConfigError."""
    for option, place in (("--out", request.out), ("--report", request.report)):
        if place and place.resolve() in {Path(file).resolve() for file in files}:
            raise ConfigError(f"{option}: {place} is one of the files that are judged; name another")
        if place:
            refuse_unwritable(place)


def _batches(answers: Answers) -> Iterator[list[Answer]]:
    coming = iter(answers)
    while batch := list(islice(coming, BATCH)):
        yield batch
