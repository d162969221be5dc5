"""From loaded rows to the problems worth keeping: limits, repeats, contamination, golds that fail their own verifier."""

from collections.abc import Callable, Sequence
from itertools import chain

from reasoning_rl.config import DataConfig
from reasoning_rl.data.contamination import contaminated
from reasoning_rl.data.duplicates import exact_duplicates, near_duplicates
from reasoning_rl.data.sift import Finding, Findings, Sieve
from reasoning_rl.data.source import Loaded, Row
from reasoning_rl.errors import DataError
from reasoning_rl.records import Problem

Check = Callable[[Problem], str | None]
"""Why a gold fails its own verifier; None when it passes."""
Say = Callable[[str], None]


def clean(loaded: Loaded, config: DataConfig, check: Check | None, say: Say) -> tuple[Sieve, Sieve]:
    """The sieves of the training and the held-out problems. DataError when one comes out empty."""
    _check_ids(loaded)
    train, held_out = Sieve("train", loaded.train, loaded.broken), Sieve("eval", loaded.eval, loaded.broken)
    say(f"read {train.read:,} training and {held_out.read:,} held-out rows")
    for sieve, limit in ((train, config.train_limit), (held_out, config.eval_limit)):
        sieve.sift("limit", _beyond(sieve.rows, limit))
        sieve.sift("duplicate", exact_duplicates(sieve.rows))
    train.sift("near_duplicate", near_duplicates(train.rows, config.near_duplicate))
    train.sift("contamination", contaminated(train.rows, loaded.eval, config.decontaminate_ngram))
    say("looked for repeats and for held-out problems among the training problems")
    if check is not None:
        for sieve in (train, held_out):
            sieve.sift("gold", _failing(sieve.rows, check))
        say("gave every gold to its own verifier")
    return require_rows(train), require_rows(held_out)


def require_rows(sieve: Sieve) -> Sieve:
    """DataError when nothing is left, with what became of the rows and an example."""
    if not sieve.rows:
        last = sieve.rejections[-1] if sieve.rejections else None
        example = f"; for example {last.where}: {last.reason}" if last else ""
        raise DataError(f"data.{sieve.role}_split: none of {sieve.read} rows is left; set aside: {sieve.counts()['set_aside']}{example}")
    return sieve


def _beyond(rows: Sequence[Row], limit: int | None) -> Findings:
    """Limits come first, so that the same problems are meant whatever template and filters say."""
    return {} if limit is None else {row.problem.id: Finding(f"beyond the limit of {limit}") for row in rows[limit:]}


def _failing(rows: Sequence[Row], check: Check) -> Findings:
    reasons = ((row.problem, check(row.problem)) for row in rows)
    return {
        problem.id: Finding(f"gold {problem.gold!r} fails its own verifier: {reason}") for problem, reason in reasons if reason is not None
    }


def _check_ids(loaded: Loaded) -> None:
    """A source from elsewhere may err; a finding must never hit two rows."""
    seen: set[str] = set()
    for row in chain(loaded.train, loaded.eval):
        if row.problem.id in seen:
            raise DataError(f"{row.where}: the source gives the id {row.problem.id!r} twice; ids are unique over both splits")
        seen.add(row.problem.id)
