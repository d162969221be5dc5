"""Sample answers to held-out problems, judge them, and write what was found.

Every policy is asked under the same stream of randomness, problem by problem, so that two policies differ by what they learned
and not by their luck.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import reasoning_rl
from reasoning_rl.config import EvalConfig
from reasoning_rl.errors import DataError
from reasoning_rl.eval.metrics import measure, reported, slices
from reasoning_rl.eval.plots import passk_plot
from reasoning_rl.eval.report import FILE, Report
from reasoning_rl.eval.samples import Row, SamplesFile, problem_row, sample_rows
from reasoning_rl.files import digest, write_text, write_whole
from reasoning_rl.records import Group, Prompt
from reasoning_rl.rollout.engine import Engine, Sampling
from reasoning_rl.rollout.groups import Judges, judged

if TYPE_CHECKING:
    import pandas as pd

STREAM = "eval"
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
    problems done and of all; `created` (ISO 8601) replaces the present time. The files appear when all is done, report.json last.
    DataError when there is no problem or an id stands twice, StorageError when a file can't be written, and what engine and judge raise.
    """
    chosen = _chosen(prompts, config.limit)
    plan = _plan(config, config.max_tokens or max_tokens, seed, stop)
    problems: list[Row] = []
    verdicts: Counter[str] = Counter()
    with SamplesFile(folder / "samples.parquet") as file:
        for answered in _asked(engine, judge, chosen, plan):
            file.write([row for sampled, greedy in answered for row in _rows(sampled, greedy)])
            problems += [problem_row(sampled, greedy) for sampled, greedy in answered]
            verdicts.update(verdict.judgement.verdict for sampled, _ in answered for verdict in sampled.verdicts)
            if on_progress:
                on_progress(len(problems), len(chosen))
    table = _table(problems)
    known = {**(facts or {}), **_provenance(chosen, plan)}
    report = _summary(table, config, seed, Report(name, created or _now(), (), (), dict(verdicts.most_common()), known))
    _write(folder, table, report)
    return report


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


def _asked(engine: Engine, judge: Judges, prompts: Sequence[Prompt], plan: Plan) -> Iterator[list[tuple[Group, Group | None]]]:
    """Chunk by chunk, the sampled answers of each problem and the greedy one."""
    size = max(1, ANSWERS_PER_CHUNK // plan.sampled.n)
    for start in range(0, len(prompts), size):
        chunk = prompts[start : start + size]
        sampled = _answered(engine, judge, chunk, plan.sampled)
        greedy = _answered(engine, judge, chunk, plan.greedy) if plan.greedy else [None] * len(chunk)
        yield list(zip(sampled, greedy, strict=True))


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


def _rows(sampled: Group, greedy: Group | None) -> list[Row]:
    return sample_rows(sampled, "sampled") + (sample_rows(greedy, "greedy") if greedy else [])


def _table(problems: Sequence[Row]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(problems)).astype({"greedy_correct": "boolean"})


def _summary(table: "pd.DataFrame", config: EvalConfig, seed: int, bare: Report) -> Report:
    metrics = tuple(measure(table, metric, k, resamples=config.bootstrap, seed=seed) for metric, k in reported(table, config.k))
    return replace(bare, metrics=metrics, slices=tuple(slices(table, resamples=config.bootstrap, seed=seed)))


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


def _write(folder: Path, table: "pd.DataFrame", report: Report) -> None:
    write_whole(folder / "problems.parquet", lambda temporary: table.to_parquet(temporary, index=False))
    passk_plot([report], folder / "passk.png")
    write_text(folder / "report.md", report.to_markdown())
    write_text(folder / FILE, report.to_json())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
