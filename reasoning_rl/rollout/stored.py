"""Groups of another run, learned from in place of answers of the policy's own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_rl.config import LearnerConfig
from reasoning_rl.errors import ConfigError, RunError, first_line
from reasoning_rl.journal import rollout_steps
from reasoning_rl.objectives.objective import Objective
from reasoning_rl.records import Completion, Group, Prompt, Score, Verdict
from reasoning_rl.rollout.clock import Announce, Clock
from reasoning_rl.rollout.gather import Gathered, Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_COLUMNS = (
    "group", "problem_id", "prompt", "completion", "token_ids", "finish_reason", "policy_version",
    "reward", "correct", "strict", "verdict", "reason", "answer", "gold",
)  # fmt: skip


@dataclass(frozen=True)
class Stored(Source):
    """Step i takes the i-th of the files, from the first again after the last. Answers, verdicts and rewards are those of then."""

    files: Sequence[Path]
    prompts: Mapping[str, Prompt]
    """Of this run's training problems, by id."""
    tokenizer: "PreTrainedTokenizerBase"

    def gather(self, step: int, announce: Announce) -> Gathered:
        """See Source. RunError for a file that is damaged, or whose problems, prompts or tokens are not this run's."""
        path, clock = self.files[step % len(self.files)], Clock(announce)
        with clock.phase("read"):
            groups = [self._group(list(rows), path) for _, rows in groupby(_rows(path), key=itemgetter("group"))]
        return Gathered(groups, seconds=clock.seconds)

    def _group(self, rows: Sequence[Mapping[str, Any]], path: Path) -> Group:
        prompt, completions = self._prompt(rows[0], path), tuple(map(_completion, rows))
        self._refuse_other_tokens(completions[0], path)
        return Group(prompt, completions, tuple(map(_verdict, rows)))

    def _prompt(self, row: Mapping[str, Any], path: Path) -> Prompt:
        prompt = self.prompts.get(row["problem_id"])
        if prompt is None:
            raise RunError(f"{path}: problem {row['problem_id']!r} is none of this run's training problems; {_SAME}")
        if prompt.text != row["prompt"]:
            raise RunError(f"{path}: problem {row['problem_id']!r} was put in other words, {row['prompt'][-60:]!r} at the end; {_SAME}")
        return prompt

    def _refuse_other_tokens(self, completion: Completion, path: Path) -> None:
        """One answer of each group will do: another tokenizer gives itself away at once."""
        spelled = str(self.tokenizer.decode(list(completion.token_ids), skip_special_tokens=False))
        if not spelled.startswith(completion.text):
            raise RunError(f"{path}: the tokens of {completion.text[:60]!r} spell {spelled[:60]!r} here: another tokenizer; {_SAME}")


_SAME = "train.rollouts needs a run with the same data and policy.model"


def stored_files(place: Path) -> list[Path]:
    """Of a run's folder, or its folder `rollouts`, in the order of the steps. RunError when there are none."""
    found = rollout_steps(place) or (rollout_steps(place.parent) if place.name == "rollouts" else {})
    if not found:
        raise RunError(f"train.rollouts: {place} has no rollouts/step-*.parquet; the folder of a run that has trained is accepted")
    return list(found.values())


def refuse_unfit(objective: Objective, learner: LearnerConfig) -> None:
    """ConfigError where the objective can't learn from stored answers as they are."""
    if objective.uses_old_policy and learner.old_logprobs == "learner":
        raise ConfigError(
            "train.rollouts: another policy sampled these answers, so that learner.old_logprobs 'learner' would not be π_old; with this "
            "objective it should be 'engine', as stored. Preferences and imitation (dpo, simpo, raft) need none"
        )
    if "steps" in objective.needs:
        raise ConfigError("train.rollouts: stored answers have no rewards of steps; objective.supervision should be 'outcome'")
    if getattr(objective, "combine", None) == "normalise_then_sum":
        raise ConfigError(
            "train.rollouts: stored rewards don't say what they are made of; objective.combine should be 'sum_then_normalise'"
        )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as failure:
        raise RunError(f"{path}: damaged: {first_line(failure)}") from failure
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise RunError(f"{path}: no column {', '.join(missing)}; rollouts as docs/files.md has them are accepted")
    rows: list[dict[str, Any]] = table.to_pylist()
    return iter(rows)


def _completion(row: Mapping[str, Any]) -> Completion:
    ids, logprobs = tuple(row["token_ids"]), tuple(row.get("logprobs") or ())
    return Completion(row["completion"], ids, logprobs, row["finish_reason"], row["policy_version"])


def _verdict(row: Mapping[str, Any]) -> Verdict:
    values = {column.removeprefix("score_"): value for column, value in row.items() if column.startswith("score_") and value is not None}
    scores = {name: Score(value, reason=row.get(f"reason_{name}") or "") for name, value in values.items()}
    answer = Score(float(row["correct"]), row["verdict"], row["reason"], row["answer"], row["gold"])
    return Verdict(row["reward"], scores, row["correct"], row["strict"], answer)
