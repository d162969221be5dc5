"""Objectives by name, one row per algorithm, each as its paper has it.

A row of your own is `objective.name=path/to/file.py:mine`, where `mine` is a `PolicyGradient` or anything else that answers to `Objective`.
"""

from dataclasses import replace

from reasoning_rl.config import ObjectiveConfig
from reasoning_rl.errors import ConfigError
from reasoning_rl.objectives.advantages import centered, standardized
from reasoning_rl.objectives.objective import Objective
from reasoning_rl.objectives.policy_gradient import Clip, PolicyGradient
from reasoning_rl.objectives.weights import per_budget, per_sequence
from reasoning_rl.registry import Registry

OBJECTIVES: Registry[Objective] = Registry("objective")

# DeepSeekMath, arXiv:2402.03300: β of §4.2; ε is not stated, 0.2 is PPO's
OBJECTIVES.add("grpo", PolicyGradient(standardized, per_sequence, Clip(0.2, 0.2), kl=0.04))
# Dr. GRPO, arXiv:2503.20783, §3: no std, no 1/|o|, no KL
OBJECTIVES.add("dr_grpo", PolicyGradient(centered, per_budget, Clip(0.2, 0.2)))


def build(config: ObjectiveConfig, max_tokens: int) -> Objective:
    """The named row with the recipe's β and ε in place of its own; `max_tokens` is the budget L.

    ConfigError for a name that the table has not, or a setting that the row has not.
    """
    objective = OBJECTIVES.get(config.name, "objective.name")
    if isinstance(objective, PolicyGradient):
        return _adjusted(objective, config, max_tokens)
    if not all(hasattr(objective, part) for part in ("needs", "arrange", "loss")):
        raise ConfigError(
            f"objective.name: {config.name} is of type {type(objective).__name__}; an objective has needs, arrange() and loss()"
        )
    for setting in ("kl", "clip_low", "clip_high"):
        if getattr(config, setting) is not None:
            raise ConfigError(f"objective.{setting}: {config.name} has no such setting, it belongs to policy gradients; leave it out")
    return objective


def _adjusted(objective: PolicyGradient, config: ObjectiveConfig, max_tokens: int) -> PolicyGradient:
    clip = Clip(
        low=objective.clip.low if config.clip_low is None else config.clip_low,
        high=objective.clip.high if config.clip_high is None else config.clip_high,
    )
    return replace(objective, kl=objective.kl if config.kl is None else config.kl, clip=clip, budget=max_tokens)
