"""Sample answers to held-out problems, judge them, and write what was found.

Every policy is asked under the same stream of randomness, problem by problem, so that two policies differ by what they learned
and not by their luck.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import reasoning_rl
from reasoning_rl.config import EvalConfig
from reasoning_rl.errors import ConfigError, DataError, RunError
from reasoning_rl.eval.curves import passk_plot, points_of
from reasoning_rl.eval.metrics import label, measures, reported, slices, votes_at
from reasoning_rl.eval.report import FILE, TABLES, Report, damaged_tables, read_report
from reasoning_rl.eval.samples import Parts, Row, by_problem, problem_row, sample_rows, write_problems
from reasoning_rl.files import digest, discard, sha256_of, write_text, write_whole
from reasoning_rl.records import Group, Prompt
from reasoning_rl.registry import did_you_mean
from reasoning_rl.rollout.engine import Engine, Sampling
from reasoning_rl.rollout.groups import Judges, judged

if TYPE_CHECKING:
    import pandas as pd

STREAM = "eval"
DECIDE = ("answers", "rewards", "code", "problems_sha256", "prompts_sha256", "sampling", "seed", "stream", "reasoning_rl")
"""Facts on which stored answers depend: `answers` stands for the weights and what computes with them, `code` for verifiers by path."""
ANSWERS_PER_CHUNK = 1024
"""Asked for at one time: enough to keep an engine busy, few enough that an evaluation of minutes shows its progress."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How each problem is asked."""

    sampled: Sampling
    greedy: Sampling | None


def evaluate(
    engine: Engine,
    prompts: Sequence[Prompt],
    judge: Judges,
    config: EvalConfig,
    *,
    folder: Path,
    name: str,
    max_tokens: int,
    seed: int,
    stop: tuple[str, ...] = (),
    facts: Mapping[str, object] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    created: str | None = None,
) -> Report:
    """Ask every problem `config.samples` times, and once greedily if told; write the files to `folder` and return the report.

    `config.max_tokens` wins over `max_tokens`. `facts` are quoted in the report (a `note` opens it); `on_progress` hears the number of
    problems done and of all; `created` (ISO 8601) replaces the present time. The files appear when all is done, report.json last. Answers
    are stored on the way: a call under the same circumstances goes on with those that an earlier one left missing, and one with other `k`,
    `bootstrap` or `best_of` asks for none at all. `facts["answers"]` is what the caller knows of those circumstances, such as the weights.
    DataError when there is no problem or an id stands twice, ConfigError when `best_of` ranks by what answers have not, StorageError when a
    file can't be written, and what engine and judge raise.
    """
    chosen = _chosen(prompts, config.limit)
    plan = _plan(config, config.max_tokens or max_tokens, seed, stop)
    known = {**(facts or {}), **_provenance(chosen, plan)}
    _drop_damaged(folder)
    parts, chunks = Parts(folder, _identity(known)), _chunks(chosen, plan)
    tally = _Tally(config.best_of)
    for chunk, rows in _answers(engine, judge, chunks, plan, parts):
        _require_ranking(config.best_of, rows[0])
        tally.add(chunk, rows)
        if on_progress:
            on_progress(len(tally.problems), len(chosen))
    table = _table(tally.problems, config.k)
    bare = Report(name, created or _now(), (), (), *tally.outcomes(), {**known, "best_of": config.best_of})
    return _put_in_place(folder, parts, len(chunks), table, _summary(table, config, seed, bare))


def _drop_damaged(folder: Path) -> None:
    """Answers that are not as the report beside them has it: they are asked for again."""
    with suppress(RunError):  # no report, which knows
        if TABLES[0] in damaged_tables(folder, read_report(folder / FILE)):
            discard(folder / TABLES[0])


def _answers(
    engine: Engine, judge: Judges, chunks: Sequence[Sequence[Prompt]], plan: Plan, parts: Parts
) -> Iterator[tuple[Sequence[Prompt], list[Row]]]:
    """Of each piece, from where it is stored, or asked for and stored."""
    for number, chunk in enumerate(chunks):
        rows = parts.rows(number, [prompt.problem for prompt in chunk])
        if rows is None:
            rows = _asked(engine, judge, chunk, plan)
            parts.write(number, rows)
        yield chunk, rows


def _require_ranking(column: str, row: Row) -> None:
    known = ["reward", *(name for name in row if name.startswith("score_"))]
    if column not in known:
        raise ConfigError(f"eval.best_of: answers have no column {column!r}; {did_you_mean(column, known)}")


@dataclass(slots=True)
class _Tally:
    """What is kept of the answers: a row for each problem, and how often they ended in which way."""

    best_of: str
    problems: list[Row] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    cut_off: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: Sequence[Prompt], rows: Sequence[Row]) -> None:
        of = by_problem(rows)
        self.problems += [problem_row(prompt.problem, of[prompt.problem.id], self.best_of) for prompt in chunk]
        sampled = [row for row in rows if row["kind"] == "sampled"]
        self.verdicts.update(row["verdict"] for row in sampled)
        self.cut_off.update(row["verdict"] for row in sampled if row["finish_reason"] == "length")

    def outcomes(self) -> tuple[dict[str, int], dict[str, int]]:
        """The most frequent first."""
        return dict(self.verdicts.most_common()), dict(self.cut_off.most_common())


def quick(engine: Engine, prompts: Sequence[Prompt], judge: Judges, sampling: Sampling) -> dict[str, float]:
    """pass@1, mean tokens and truncated share of a slice, under metric names; no files. Meant for the middle of a training run."""
    groups = _answered(engine, judge, prompts, sampling)
    verdicts = [verdict for group in groups for verdict in group.verdicts]
    completions = [completion for group in groups for completion in group.completions]
    if not completions:
        raise DataError("evaluation: there is no problem to ask")
    count = len(completions)
    return {
        "eval/pass@1": sum(verdict.correct for verdict in verdicts) / count,
        "eval/reward": sum(verdict.reward for verdict in verdicts) / count,
        "eval/completions/mean_length": sum(len(completion.token_ids) for completion in completions) / count,
        "eval/completions/clipped_ratio": sum(completion.finish_reason == "length" for completion in completions) / count,
    }


def _answered(engine: Engine, judge: Judges, prompts: Sequence[Prompt], sampling: Sampling) -> list[Group]:
    """`sampling.n` answers of each prompt with their verdicts."""
    return judged(prompts, engine.generate(prompts, sampling), judge)


def _chunks(prompts: Sequence[Prompt], plan: Plan) -> list[Sequence[Prompt]]:
    size = max(1, ANSWERS_PER_CHUNK // plan.sampled.n)
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]


def _asked(engine: Engine, judge: Judges, chunk: Sequence[Prompt], plan: Plan) -> list[Row]:
    """Of each problem the sampled answers, then the greedy one."""
    sampled = [sample_rows(group, "sampled") for group in _answered(engine, judge, chunk, plan.sampled)]
    greedy = [sample_rows(group, "greedy") for group in _answered(engine, judge, chunk, plan.greedy)] if plan.greedy else [[]] * len(chunk)
    return [row for both in zip(sampled, greedy, strict=True) for rows in both for row in rows]


def _chosen(prompts: Sequence[Prompt], limit: int | None) -> Sequence[Prompt]:
    chosen = prompts[:limit]
    if not chosen:
        raise DataError("evaluation: there is no problem to ask; the held-out split is empty")
    twice = [problem for problem, count in Counter(prompt.problem.id for prompt in chosen).items() if count > 1]
    if twice:
        raise DataError(f"evaluation: problem {twice[0]!r} stands more than once ({len(twice)} such ids); ids must be unique")
    return chosen


def _plan(config: EvalConfig, max_tokens: int, seed: int, stop: tuple[str, ...]) -> Plan:
    sampled = Sampling(config.samples, max_tokens, config.temperature, config.top_p, stop=stop, seed=seed, stream=STREAM)
    return Plan(sampled, Sampling(1, max_tokens, temperature=0, stop=stop, seed=seed, stream=STREAM) if config.greedy else None)


def _table(problems: Sequence[Row], ks: Sequence[int]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame(list(problems)).astype({"greedy_correct": "boolean", "steps": "Int64"})
    voted = {label(metric, k): votes_at(table, k)[0] for metric, k in reported(table, ks) if metric == "maj@k" and k}
    return table.assign(**voted)


def _summary(table: "pd.DataFrame", config: EvalConfig, seed: int, bare: Report) -> Report:
    metrics = measures(table, reported(table, config.k), resamples=config.bootstrap, seed=seed)
    return replace(bare, metrics=tuple(metrics), slices=tuple(slices(table, resamples=config.bootstrap, seed=seed)))


def _provenance(prompts: Sequence[Prompt], plan: Plan) -> dict[str, object]:
    """What a later comparison checks, independent of the order of the problems."""
    ordered = sorted(prompts, key=lambda prompt: prompt.problem.id)
    sampled = plan.sampled
    return {
        "problems": len(prompts),
        "problems_sha256": digest([(prompt.problem.id, prompt.problem.question, prompt.problem.gold) for prompt in ordered]),
        "prompts_sha256": digest([(prompt.problem.id, prompt.text) for prompt in ordered]),
        "sampling": {
            "samples": sampled.n,
            "temperature": sampled.temperature,
            "top_p": sampled.top_p,
            "max_tokens": sampled.max_tokens,
            "stop": list(sampled.stop),
            "greedy": plan.greedy is not None,
        },
        "seed": sampled.seed,
        "stream": sampled.stream,
        "python": platform.python_version(),
        "reasoning_rl": reasoning_rl.__version__,
    }


def _identity(known: Mapping[str, object]) -> str:
    """Changes whenever the answers could. A caller who tells what decides them may tell all else in other words."""
    return digest({key: known.get(key) for key in DECIDE} if "answers" in known else {**known, "key": None})


def _put_in_place(folder: Path, parts: Parts, pieces: int, table: "pd.DataFrame", bare: Report) -> Report:
    """An earlier report goes first and the new one comes last: what an interruption leaves between is no report.

    It holds the digests of the tables beside it.
    """
    (folder / FILE).unlink(missing_ok=True)
    parts.join(pieces)
    parts.remove()
    write_whole(folder / TABLES[1], lambda temporary: write_problems(table, temporary))
    report = replace(bare, facts={**bare.facts, "files": {name: sha256_of(folder / name) for name in TABLES}})
    passk_plot({report.name: points_of(report)}, folder / "passk.png")
    write_text(folder / "report.md", report.to_markdown())
    write_text(folder / FILE, report.to_json())
    return report


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
