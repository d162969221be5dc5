"""What was counted, as tables: on a screen, and as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_rl.eval.report import markdown_table
from reasoning_rl.records import Score
from reasoning_rl.rescoring.names import OWN, Names, shortened
from reasoning_rl.rescoring.tally import FAILURES, Agreement, Count, Judged, Tally

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_LONG = 200
"""Characters of an answer or a reason that an example shows."""
_PLAIN = {"correct", "wrong", "scored"}
"""Verdicts that need no reason beside them."""


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
    yield _verdicts(f"Verdicts of {names.ours}", tally.counted, names, below=_summary(tally.counted, names))
    if tally.verifiers:
        yield _values(tally, names)
    if tally.agreement:
        if set(tally.agreement.other.verdicts) - {"scored"}:
            yield _verdicts(f"Verdicts of {names.other}", tally.agreement.other, names)
        yield _agreement(tally.agreement, names)
        for ours in (True, False):
            if tally.agreement.examples.get((ours, not ours)):
                yield _examples(tally.agreement, ours, names)


def markdown(tally: Tally, names: Names) -> str:
    """A page."""
    parts = [f"# {_title(names)}"]
    for block in blocks(tally, names):
        parts += [f"## {block.title}", markdown_table(block.header, block.rows, words=block.words) if block.rows else "", block.below]
    return "\n\n".join(part for part in parts if part) + "\n"


def screen(tally: Tally, names: Names) -> Iterator["RenderableType"]:
    """The same for a terminal."""
    from rich.text import Text

    yield Text(f"{_title(names)}\n", style="bold")
    for block in blocks(tally, names):
        yield Text(block.title, style="bold")
        if block.rows:
            yield _on_screen(block)
        yield Text(f"{block.below}\n" if block.below else "")


def _on_screen(block: Block) -> "Table":
    """No word of a header is broken, and no number; long words of text are."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column, name in enumerate(block.header):
        is_text = column < block.words
        unbroken = name.split() + [row[column] for row in block.rows if not is_text]
        width = max(map(len, unbroken), default=0)
        table.add_column(Text(name), justify="left" if is_text else "right", overflow="fold", min_width=width)
    for row in block.rows:
        table.add_row(*map(Text, row))
    return table


def _title(names: Names) -> str:
    return f"Judged again: {names.places}"


def _verdicts(title: str, count: Count, names: Names, below: str = "") -> Block:
    """With the first reason of each kind, where there are verdicts beside correct and wrong."""
    plain = set(count.verdicts) <= _PLAIN
    rows = [
        (verdict, *(() if plain else (_first(count, verdict, names),)), f"{n:,}", _share(n, count.n))
        for verdict, n in count.verdicts.most_common()
    ]
    header = ("verdict", *(() if plain else ("first reason",)), "answers", "share")
    return Block(title, header, rows, words=len(header) - 2, below=below)


def _first(count: Count, verdict: str, names: Names) -> str:
    if verdict in _PLAIN or verdict not in count.first:
        return ""
    answer, reason = count.first[verdict]
    return f"{'row ' if len(names.files) == 1 else ''}{names.row(answer)}: {_short(reason)}"


def _summary(count: Count, names: Names) -> str:
    right = f"{count.n:,} answers: {_share(count.right, count.n)} {'correct' if names.judges else 'with a value above 1/2'}"
    strict = f", {_share(count.strict, count.n)} in the required format" if count.formats and names.judges else ""
    own = ". Each was judged by its own task's verifier, gsm8k or math" if names.ours == OWN and count.n else ""
    return right + strict + own


def _values(tally: Tally, names: Names) -> Block:
    """With the failures, which count 0."""
    called = zip(shortened(list(tally.verifiers)), tally.verifiers.values(), strict=True)
    if not any(count.failed for count in tally.verifiers.values()):
        rows = [(name, f"{count.value / tally.n:.4f}") for name, count in called]
        return Block("Mean values", ("verifier", "mean"), [*rows, ("reward, weighted", f"{tally.rewards / tally.n:.4f}")])
    told = [(name, _first_failure(count, names), f"{count.value / tally.n:.4f}", f"{count.failed:,}") for name, count in called]
    reward = ("reward, weighted", "", f"{tally.rewards / tally.n:.4f}", "")
    return Block("Mean values", ("verifier", "first failure", "mean", "failed"), [*told, reward], words=2, below="A failure counts 0.")


def _first_failure(count: Count, names: Names) -> str:
    return next((f"{verdict}, {_first(count, verdict, names)}" for verdict in FAILURES if verdict in count.first), "")


def _agreement(agreement: Agreement, names: Names) -> Block:
    mine, theirs = names.cells()
    header = ("", f"{theirs}: right", f"{theirs}: wrong")
    rows = [
        (f"{mine}: {'right' if ours else 'wrong'}", *(f"{agreement.cells[ours, other]:,}" for other in (True, False)))
        for ours in (True, False)
    ]
    return Block(f"{mine} and {names.other}", header, rows, below=_in_words(agreement, theirs))


def _in_words(agreement: Agreement, other: str) -> str:
    kappa = "not defined, as one of all answers is all there is" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    skipped = f"; {agreement.skipped:,} have nothing to compare with" if agreement.skipped else ""
    failed = f"; {other} failed on {agreement.other.failed:,}, which count as wrong" if agreement.other.failed else ""
    agreed = f"They agree on {agreement.agreed:,} of {agreement.n:,} ({_share(agreement.agreed, agreement.n)})"
    return f"{agreed}; Cohen's kappa {kappa}{skipped}{failed}"


def _examples(agreement: Agreement, ours: bool, names: Names) -> Block:
    found, total = agreement.examples[ours, not ours], agreement.cells[ours, not ours]
    mine, theirs = names.cells()
    right, wrong = (mine, theirs) if ours else (theirs, mine)
    shown = f"the first {len(found)} of {total:,}" if len(found) < total else f"{total:,}"
    header = ("row", "gold", f"{mine} says", f"{theirs} says")
    return Block(f"Right to {right}, wrong to {wrong}: {shown}", header, [_example(judged, names) for judged in found], words=4)


def _example(judged: Judged, names: Names) -> tuple[str, str, str, str]:
    assert judged.other is not None, "what is not compared is no example"
    return names.row(judged.answer), _short(judged.answer.problem.gold), _said(judged.score), _said(judged.other)


def _said(score: Score) -> str:
    answer = f"{_short(score.answer)}: " if score.answer is not None else ""
    return f"{answer}{score.verdict if score.verdict != 'scored' else f'{score.value:g}'}, {_short(score.reason)}".removesuffix(", ")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[: _LONG - 1]}…"


def _share(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "none"
