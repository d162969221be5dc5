"""What was counted, as tables: on a screen, and as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_rl.eval.report import markdown_table
from reasoning_rl.records import Score
from reasoning_rl.rescoring.tally import Agreement, Judged, Tally

if TYPE_CHECKING:
    from rich.console import RenderableType

_LONG = 200
"""Characters of an answer or a reason that an example shows."""


@dataclass(frozen=True, slots=True)
class Names:
    """How the two sides are called."""

    ours: str
    other: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A table with what is said of it before and after."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    words: int = 1
    """Columns of text, on the left; the others are numbers."""
    below: str = ""


def blocks(tally: Tally, names: Names) -> Iterator[Block]:
    """The verdicts; where two sides are compared, how far they agree, and examples where they don't."""
    yield _verdicts(tally, names)
    if tally.values:
        yield _values(tally)
    if tally.agreement:
        yield _agreement(tally.agreement, names)
        for ours in (True, False):
            if tally.agreement.examples.get((ours, not ours)):
                yield _examples(tally.agreement, ours, names)


def markdown(tally: Tally, names: Names) -> str:
    """A page."""
    parts = [f"# {names.ours} judges again"]
    for block in blocks(tally, names):
        parts += [f"## {block.title}", markdown_table(block.header, block.rows, words=block.words) if block.rows else "", block.below]
    return "\n\n".join(part for part in parts if part) + "\n"


def screen(tally: Tally, names: Names) -> Iterator["RenderableType"]:
    """The same for a terminal."""
    from rich.table import Table
    from rich.text import Text

    for block in blocks(tally, names):
        yield Text(block.title, style="bold")
        table = Table()
        for column, name in enumerate(block.header):
            table.add_column(Text(name), justify="left" if column < block.words else "right", overflow="fold")
        for row in block.rows:
            table.add_row(*map(Text, row))
        if block.rows:
            yield table
        if block.below:
            yield Text(f"{block.below}\n")


def _verdicts(tally: Tally, names: Names) -> Block:
    rows = [(verdict, f"{count:,}", _share(count, tally.n)) for verdict, count in tally.verdicts.most_common()]
    said = f"{tally.n:,} answers: {_share(tally.correct, tally.n)} correct, {_share(tally.strict, tally.n)} in the required format"
    return Block(f"Verdicts of {names.ours}", ("verdict", "answers", "share"), rows, below=said)


def _values(tally: Tally) -> Block:
    rows = [(name, f"{total / tally.n:.4f}") for name, total in tally.values.items()]
    return Block("Mean values", ("verifier", "mean"), [*rows, ("reward, weighted", f"{tally.rewards / tally.n:.4f}")])


def _agreement(agreement: Agreement, names: Names) -> Block:
    header = ("", f"{names.other}: right", f"{names.other}: wrong")
    rows = [
        (f"{names.ours}: {'right' if ours else 'wrong'}", *(f"{agreement.cells[ours, theirs]:,}" for theirs in (True, False)))
        for ours in (True, False)
    ]
    return Block(f"{names.ours} and {names.other}", header, rows, below=_in_words(agreement))


def _in_words(agreement: Agreement) -> str:
    kappa = "not defined, as one of all answers is all there is" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    skipped = f"; {agreement.skipped:,} have nothing to compare with" if agreement.skipped else ""
    return (
        f"They agree on {agreement.agreed:,} of {agreement.n:,} ({_share(agreement.agreed, agreement.n)}); Cohen's kappa {kappa}{skipped}"
    )


def _examples(agreement: Agreement, ours: bool, names: Names) -> Block:
    found, total = agreement.examples[ours, not ours], agreement.cells[ours, not ours]
    right, wrong = (names.ours, names.other) if ours else (names.other, names.ours)
    shown = f"the first {len(found)} of {total:,}" if len(found) < total else f"{total:,}"
    header = ("row", "gold", f"{names.ours} says", f"{names.other} says")
    return Block(f"Right to {right}, wrong to {wrong}: {shown}", header, [_example(judged) for judged in found], words=4)


def _example(judged: Judged) -> tuple[str, str, str, str]:
    answer = judged.answer
    assert judged.other is not None, "what is not compared is no example"
    return f"{answer.file}:{answer.row}", _short(answer.problem.gold), _said(judged.score), _said(judged.other)


def _said(score: Score) -> str:
    answer = f"{_short(score.answer)}: " if score.answer is not None else ""
    return f"{answer}{score.verdict if score.verdict != 'scored' else f'{score.value:g}'}, {_short(score.reason)}".removesuffix(", ")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[: _LONG - 1]}…"


def _share(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "none"
