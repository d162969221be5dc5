"""Whether the questions of an evaluation were known beforehand: from the training questions, or by heart to the policy.

Partial-prompt completion (arXiv:2507.10532): the policy reads the first words of a question and goes on greedily. They stand there as plain
text in no template, since a chat format would ask for an answer where the question's own continuation is wanted. Then they are put to it as
a question, in its template, and the answer is judged: who solves a problem without its end has probably met it before.
Departures: a share is counted in words, and exact is what agrees up to case and spacing as far as the question goes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reasoning_rl.data.overlap import Overlap, overlaps
from reasoning_rl.data.template import Template
from reasoning_rl.data.tokenizer import Encode, encode_pretrained
from reasoning_rl.data.words import normalised, tokens
from reasoning_rl.errors import ConfigError, DataError
from reasoning_rl.eval.probe_report import FILE, ProbeReport, figures
from reasoning_rl.eval.rouge import rouge_l
from reasoning_rl.files import write_text, write_whole
from reasoning_rl.records import Problem, Prompt
from reasoning_rl.rollout.engine import Engine, Sampling
from reasoning_rl.rollout.groups import Judges, judged

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

SHARE = 0.6
"""Of a question's words that are shown: the first of the shares in arXiv:2507.10532."""
STREAM = "probe"
SPARE_TOKENS = 8
"""Beyond those of the rest: the policy may spell it in more of them."""
PROBLEMS_AT_ONCE = 512
_WORD = re.compile(r"\s*\S+")

Row = dict[str, object]
_UNKNOWN: Row = dict.fromkeys(("overlap", "longest_run", "nearest", "repeated"))


class Part(NamedTuple):
    """A problem whose question is shown as far as `text`."""

    problem: Problem
    text: str
    rest: str


@dataclass(frozen=True)
class Asker:
    """Puts parts of questions to a policy."""

    engine: Engine
    judge: Judges
    template: Template
    tokenizer: "PreTrainedTokenizerBase"
    max_tokens: int
    """Of an answer."""
    stop: tuple[str, ...]
    """Of an answer; a continuation goes on to its last token."""
    seed: int

    def continued(self, parts: Sequence[Part]) -> list[str]:
        """What the policy writes after each part, somewhat longer than the longest rest."""
        longest = max(map(len, self._encode(opens=False)([part.rest for part in parts])))
        prompts = self._prompts(parts, [part.text for part in parts], opens=True)
        answers = self.engine.generate(prompts, self._greedy(longest + SPARE_TOKENS))
        return [row[0].text for row in answers]

    def solved(self, parts: Sequence[Part]) -> list[bool]:
        """Whether its answer to each part, put as a question, is the whole problem's."""
        texts = [self.template.render(part.text) for part in parts]
        prompts = self._prompts(parts, texts, opens=self.template.chat is None)  # a chat format opens the sequence by itself
        groups = judged(prompts, self.engine.generate(prompts, self._greedy(self.max_tokens, self.stop)), self.judge)
        return [group.verdicts[0].correct for group in groups]

    def _prompts(self, parts: Sequence[Part], texts: Sequence[str], *, opens: bool) -> list[Prompt]:
        ids = self._encode(opens=opens)(texts)
        return [Prompt(part.problem, text, tuple(row)) for part, text, row in zip(parts, texts, ids, strict=True)]

    def _encode(self, *, opens: bool) -> Encode:
        return encode_pretrained(self.tokenizer, opens=opens)

    def _greedy(self, max_tokens: int, stop: tuple[str, ...] = ()) -> Sampling:
        return Sampling(1, max_tokens, temperature=0, stop=stop, seed=self.seed, stream=STREAM)


def probe(
    asker: Asker,
    problems: Sequence[Problem],
    *,
    folder: Path,
    name: str,
    share: float = SHARE,
    train: Sequence[Problem] | None = None,
    ngram: int = 13,
    evaluated: "pd.DataFrame | None" = None,
    facts: Mapping[str, object] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ProbeReport:
    """Write contamination.parquet, .json and .md to `folder`, and return what the last two say; the .json appears last.

    `train` holds the training problems, in which n-grams of `ngram` words are looked for (0: whole questions); None leaves that part out.
    `evaluated`, the problems.parquet of the same policy, adds pass@1 of the problems that were known and of the others.
    ConfigError for a share that shows nothing or all, DataError for no problem or one of a single letter, StorageError when a file can't be
    written, and what engine and judge raise.
    """
    if not 0 < share < 1:
        raise ConfigError(f"probe: a share of {share} of the words is to be shown; accepted: a number between 0 and 1")
    if not problems:
        raise DataError("probe: there is no problem to ask")
    table = _table(problems, _completed(asker, [parted(problem, share) for problem in problems], on_progress), train, ngram)
    size = None if train is None else ngram
    report = ProbeReport(name, len(problems), share, size, figures(table, evaluated), facts or {})
    write_whole(folder / "contamination.parquet", lambda temporary: table.to_parquet(temporary, index=False))
    write_text(folder / "contamination.md", report.to_markdown())
    write_text(folder / FILE, report.to_json())
    return report


def parted(problem: Problem, share: float) -> Part:
    """The question after `share` of its words, one at least on both sides. DataError for a question of one letter.

    A single word is parted by letters.

    >>> parted(Problem("p", "s", "test", "Tom has 5 apples and eats 2.", "3"), 0.6)[1:]
    ('Tom has 5 apples', ' and eats 2.')
    """
    question = problem.question.strip()
    pieces = _WORD.findall(question)
    if len(pieces) < 2:
        pieces = list(question)
    if len(pieces) < 2:
        raise DataError(f"problem {problem.id}: the question {question!r} can't be parted; two letters or more are accepted")
    shown = min(max(1, round(share * len(pieces))), len(pieces) - 1)
    return Part(problem, "".join(pieces[:shown]), "".join(pieces[shown:]))


def continues(completion: str, rest: str) -> bool:
    r"""Whether a completion begins with the rest of a question, up to case and spacing.

    >>> continues("and EATS 2.\nThen", " and eats 2."), continues("and eats 20.", " and eats 2")
    (True, False)
    """
    said, due = normalised(completion), normalised(rest)
    return said.startswith(due) and not said[len(due) :][:1].isalnum()


def likeness(completion: str, rest: str) -> float:
    """ROUGE-L over words, numbers and operators; of the completion as many as the rest has: nobody told the policy where to end."""
    due = tokens(rest)
    return rouge_l(tokens(completion)[: len(due)], due)


def _completed(asker: Asker, parts: Sequence[Part], on_progress: Callable[[int, int], None] | None) -> dict[str, Row]:
    """What the policy made of each part, by problem. Asked in order of length, since the longest rest sets the length of a piece."""
    ordered = sorted(parts, key=lambda part: len(part.rest))
    rows: dict[str, Row] = {}
    for start in range(0, len(ordered), PROBLEMS_AT_ONCE):
        piece = ordered[start : start + PROBLEMS_AT_ONCE]
        for part, text, solved in zip(piece, asker.continued(piece), asker.solved(piece), strict=True):
            rows[part.problem.id] = _row(part, text, solved)
        if on_progress:
            on_progress(start + len(piece), len(ordered))
    return rows


def _row(part: Part, completion: str, solved: bool) -> Row:
    return {
        "completed": continues(completion, part.rest),
        "rouge_l": likeness(completion, part.rest),
        "solved_from_part": solved,
        "part": part.text,
        "rest": part.rest,
        "completion": completion,
    }


def _table(problems: Sequence[Problem], rows: Mapping[str, Row], train: Sequence[Problem] | None, ngram: int) -> "pd.DataFrame":
    """contamination.parquet, in the order of the problems."""
    import pandas as pd

    known = [_overlap_row(one) for one in overlaps(train, problems, ngram)] if train is not None else [_UNKNOWN] * len(problems)
    listed = [{"problem_id": problem.id, **overlap, **rows[problem.id]} for problem, overlap in zip(problems, known, strict=True)]
    table = pd.DataFrame(listed).astype({"overlap": "Float64", "longest_run": "Int32", "nearest": "string", "repeated": "boolean"})
    table["flagged"] = table["completed"] | table["repeated"].fillna(False) | (table["overlap"].fillna(0) > 0)
    return table


def _overlap_row(one: Overlap) -> Row:
    return {"overlap": one.share, "longest_run": one.longest_run, "nearest": one.nearest, "repeated": one.repeated}
