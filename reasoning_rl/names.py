"""Names in a recipe to which other layers give meaning: source, template, verifiers, suites, objective, trackers.

They are looked up before any work begins, and all that are unknown are said at once.
"""

from collections.abc import Callable, Sequence

from reasoning_rl.config import Config
from reasoning_rl.errors import ConfigError, ReasoningRLError

LookUp = Callable[[Config], object]
"""Raises a ReasoningRLError for a name it doesn't know."""


def refuse_unknown(config: Config, look_ups: Sequence[LookUp]) -> None:
    """Raise what the look-ups raise: of the class of the first one, with the messages of all."""
    failures: list[ReasoningRLError] = []
    for look_up in look_ups:
        try:
            look_up(config)
        except ReasoningRLError as failure:
            failures.append(failure)
    if failures:
        raise type(failures[0])("\n".join(map(str, failures))) from failures[0]


def source(config: Config) -> object:
    from reasoning_rl.data.source import SOURCES

    return SOURCES.get(config.data.source, "data.source")


def template(config: Config) -> object:
    from reasoning_rl.data.template import find_template
    from reasoning_rl.data.tokenizer import plain_chat

    return find_template(config.data.template, plain_chat)


def verifiers(config: Config) -> object:
    from reasoning_rl.rewards.reward import Reward

    return Reward(config.rewards)


def suites(config: Config) -> object:
    from reasoning_rl.data.suites import find_suites

    return find_suites(config.eval)


def suites_template(config: Config) -> object:
    from reasoning_rl.data.template import find_template
    from reasoning_rl.data.tokenizer import plain_chat

    return config.eval.template and find_template(config.eval.template, plain_chat, "eval.template")


def objective(config: Config) -> object:
    """Imports torch, unlike the others."""
    from reasoning_rl.objectives import build

    built = build(config.objective, config.sampling.max_tokens)
    if "steps" in built.needs:
        _require_steps(config)
    if config.learner.reference_every and "reference" not in built.needs:
        found = f"found {config.learner.reference_every}, yet {config.objective.name} as it is set has no reference model"
        raise ConfigError(f"learner.reference_every: {found}; raise objective.kl above 0 or leave it out")
    return built


def _require_steps(config: Config) -> None:
    from reasoning_rl.rewards.verifier import find_verifier, scores_steps

    if not any(scores_steps(find_verifier(name, f"rewards.{name}")) for name in config.rewards):
        found = ", ".join(config.rewards)
        raise ConfigError(f"objective.supervision: 'process' needs a verifier that scores steps, such as rewards.steps=0; found {found}")


def trackers(config: Config) -> object:
    from reasoning_rl.trackers import tracker_libraries

    return tracker_libraries(config.train.trackers)


EVERYWHERE: Sequence[LookUp] = (source, template, verifiers, suites, suites_template)
TRAINING: Sequence[LookUp] = (*EVERYWHERE, objective, trackers)
