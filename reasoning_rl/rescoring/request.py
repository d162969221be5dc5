"""What is asked of the tool, and which verifiers and settings that means."""

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isfunction, signature
from pathlib import Path

from pydantic import ValidationError

from reasoning_rl.config import Config, JudgeConfig, VerifierConfig
from reasoning_rl.errors import ConfigError, VerifierError
from reasoning_rl.recipes import load_config, mistakes
from reasoning_rl.recipes.text import parse
from reasoning_rl.records import Task
from reasoning_rl.registry import did_you_mean, import_file
from reasoning_rl.rescoring.answers import Columns
from reasoning_rl.rewards.verifier import counts_tokens, find_verifier, judges_answer

Rewards = Mapping[str, VerifierConfig]


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command line."""

    places: Sequence[Path]
    """Files, or folders of runs and evaluations."""
    task: Task | None = None
    rewards: Sequence[str] = ()
    """As `name`, `name=weight` or `name={weight: …, options: {…}}`."""
    recipe: str | None = None
    """Whose rewards and judge are taken."""
    against: str | None = None
    """A column of the files, or a verifier written as one of `rewards`."""
    out: Path | None = None
    report: Path | None = None
    examples: int = 5
    """Of each kind of disagreement."""
    workers: int | None = None
    """None for those of the recipe, or without one for one a core."""
    deadline_s: float | None = None
    columns: Columns = field(default_factory=Columns)
    """What those of completions and golds are called."""


def rewards_of(request: Request) -> Rewards:
    """The verifiers by name; none where the task's own is meant. ConfigError lists every mistake."""
    if request.rewards and request.recipe:
        raise ConfigError("verify: give --reward or --recipe, not both")
    return load_config(request.recipe).rewards if request.recipe else parsed(request.rewards, "--reward")


def parsed(specs: Sequence[str], option: str) -> Rewards:
    """What a recipe would make of the same under `rewards:`. ConfigError, or VerifierError for a file without a name behind it."""
    tree: dict[str, object] = {}
    for spec in specs:
        name, equals, text = spec.partition("=")
        _refuse_odd(name, tree, option)
        said = parse(text, f"{option} {spec}") if equals else {}
        tree[name] = said if isinstance(said, dict) else {"weight": said}
    if not tree:
        return {}
    try:
        return Config.model_validate({"rewards": tree}).rewards
    except ValidationError as failure:
        raise ConfigError("\n".join(f"{option}: {line}" for line in mistakes.lines(failure))) from failure


def _refuse_odd(name: str, before: Container[str], option: str) -> None:
    if name in before:
        raise ConfigError(f"{option}: {name} is given twice; one weight and one set of options is accepted")
    if name.endswith(".py"):
        namespace = import_file(Path(name), option, VerifierError)
        own = [key for key, each in namespace.items() if isfunction(each) and each.__module__ == namespace["__name__"] and key[:1] != "_"]
        example = f"as in {name}:{own[0]}" if own else "behind a colon"
        raise VerifierError(f"{option}: {name}: a file, but none of its functions; name one, {example}; {did_you_mean('', own)}")


def _takes_ids(function: Callable[..., object]) -> bool:
    return isfunction(function) and "completion_ids" in signature(function).parameters


def judge_of(request: Request) -> JudgeConfig:
    """The recipe's, or else the default with a worker for each core, but for what is asked for."""
    config = load_config(request.recipe).judge if request.recipe else JudgeConfig(workers=_cores())
    chosen = {"workers": request.workers or config.workers, "deadline_s": request.deadline_s or config.deadline_s}
    return config.model_copy(update=chosen)


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def counted(rewards: Rewards) -> str | None:
    """The verifier whose verdicts are counted: the first that judges answers, else the first; None for the task's own."""
    return next((name for name in rewards if judges(name)), next(iter(rewards), None))


def judges(name: str) -> bool:
    """Whether the value of this verifier says that the answer is right."""
    return judges_answer(find_verifier(name, f"rewards.{name}"))


def counting_tokens(names: Iterable[str]) -> list[str]:
    """Those that can't do without token ids: they say so, or name TRL's parameter for them."""
    found = {name: find_verifier(name, f"rewards.{name}") for name in names}
    return [name for name, function in found.items() if counts_tokens(function) or _takes_ids(function)]
