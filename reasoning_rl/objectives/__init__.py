"""Objectives by name, one row per algorithm, each as its paper has it.

A row of your own is `objective.name=path/to/file.py:mine`, where `mine` is one of the classes below with other choices, or an `Objective`.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from math import inf
from typing import Any

from reasoning_rl.config import LearnerConfig, ObjectiveConfig
from reasoning_rl.errors import ConfigError
from reasoning_rl.objectives.advantages import centered, leave_one_out, unchanged
from reasoning_rl.objectives.divergences import k1, k2, k3
from reasoning_rl.objectives.imitation import Imitation
from reasoning_rl.objectives.objective import Objective
from reasoning_rl.objectives.policy_gradient import PolicyGradient
from reasoning_rl.objectives.preference import Preference, mean_margin, reference_margin
from reasoning_rl.objectives.proximal import ProximalPolicy
from reasoning_rl.objectives.ratios import sequence_ratio, sequence_token_ratio, token_ratio
from reasoning_rl.objectives.surrogates import clipped, reweighted, score
from reasoning_rl.objectives.weights import per_answer, per_budget, per_sequence, per_token
from reasoning_rl.registry import Registry

OBJECTIVES: Registry[Objective] = Registry("objective")

# DeepSeekMath, arXiv:2402.03300: β of §4.2; ε is not stated, 0.2 is PPO's
OBJECTIVES.add("grpo", PolicyGradient(kl=0.04))
OBJECTIVES.add("grpo_process", PolicyGradient(kl=0.04, supervision="process"))
# Dr. GRPO, arXiv:2503.20783, §3: no std, no 1/|o|, no KL
OBJECTIVES.add("dr_grpo", PolicyGradient(scale="none", weight=per_budget))
# DAPO, arXiv:2503.14476, eq. 8: clip-higher and token-level loss; sampling.dynamic and the soft overlong reward are settings beside it
OBJECTIVES.add("dapo", PolicyGradient(weight=per_token, clip_high=0.28, mask_truncated=True))
# GSPO, arXiv:2507.18071, eq. 5 and §4.3; ε of §5
OBJECTIVES.add("gspo", PolicyGradient(ratio=sequence_ratio, clip_low=3e-4, clip_high=4e-4))
OBJECTIVES.add("gspo_token", PolicyGradient(ratio=sequence_token_ratio, clip_low=3e-4, clip_high=4e-4))
# CISPO, arXiv:2506.13585, eq. 4: no lower bound; of ε_high the paper says only that it is tuned, 4 is SkyRL's: a weight of at most 5
OBJECTIVES.add("cispo", PolicyGradient(surrogate=reweighted, weight=per_token, clip_low=inf, clip_high=4.0))
# RLOO, arXiv:2402.14740: log π(o) as a whole, KL in the reward (β is tuned there, 0.05 is TRL's). Without a ratio, it is for one update
OBJECTIVES.add("rloo", PolicyGradient(leave_one_out, scale="none", surrogate=score, weight=per_answer, kl=0.05, kl_in="reward"))
# REINFORCE, Williams 1992, without a baseline; for one update too
OBJECTIVES.add("reinforce", PolicyGradient(unchanged, scale="none", surrogate=score, weight=per_answer))
# REINFORCE++, arXiv:2501.03262: KL of each token in the reward, advantages whitened over the batch. Departures: the optimiser's batch,
# which is the paper's global one where learner.minibatches is 1; the mean over tokens; β is OpenRLHF's
OBJECTIVES.add("reinforce_pp", PolicyGradient(unchanged, scale="none", whiten=True, weight=per_token, kl=0.01, kl_in="reward"))
# its -baseline: the group's mean first, and the KL in the loss by k2
OBJECTIVES.add("reinforce_pp_baseline", PolicyGradient(scale="none", whiten=True, weight=per_token, kl=0.01, kl_estimator=k2))
# PPO, arXiv:1707.06347, with GAE, arXiv:1506.02438, as RLHF uses it
OBJECTIVES.add("ppo", ProximalPolicy())
# DPO, arXiv:2305.18290, eq. 7; SimPO, arXiv:2405.14734, eq. 6
OBJECTIVES.add("dpo", Preference(reference_margin, beta=0.1))
OBJECTIVES.add("simpo", Preference(mean_margin, beta=2.0, gap=1.0))
# RAFT, arXiv:2304.06767: imitation of the answers found right
OBJECTIVES.add("raft", Imitation())

CHOICES: Mapping[str, Mapping[str, object]] = {
    "baseline": {"mean": centered, "others": leave_one_out, "none": unchanged},
    "weight": {"sequence": per_sequence, "token": per_token, "budget": per_budget, "answer": per_answer},
    "ratio": {"token": token_ratio, "sequence": sequence_ratio, "sequence_token": sequence_token_ratio},
    "surrogate": {"clipped": clipped, "reweighted": reweighted, "score": score},
    "kl_estimator": {"k1": k1, "k2": k2, "k3": k3},
}
"""Settings whose values name functions."""


def build(config: ObjectiveConfig, max_tokens: int) -> Objective:
    """The named row with the recipe's settings in place of its own; `max_tokens` is the budget L.

    ConfigError for a name that the table has not, or settings that the row has not.
    """
    objective = OBJECTIVES.get(config.name, "objective.name")
    if isinstance(objective, type):
        raise ConfigError(
            f"objective.name: {config.name} names a class; it should name an instance of it, as in `mine = {objective.__name__}()`"
        )
    if not isinstance(objective, Objective):
        raise ConfigError(f"objective.name: {config.name} is of type {type(objective).__name__}; it should be an Objective")
    given = config.model_dump(exclude={"name", "options"}) | config.options
    known: set[str] = {field.name for field in fields(objective)} if is_dataclass(objective) else set()
    if unknown := sorted(given.keys() - known):
        takes = ", ".join(sorted(known - {"budget"})) or "none"
        raise ConfigError("\n".join(f"objective.{name}: {config.name} has no such setting; it takes {takes}" for name in unknown))
    chosen: dict[str, Any] = {name: CHOICES[name][value] if name in CHOICES else value for name, value in given.items()}
    if "budget" in known:
        chosen["budget"] = max_tokens
    built: Objective = replace(objective, **chosen) if chosen else objective  # type: ignore[type-var]  # what has fields is a dataclass
    if idle := sorted(given.keys() & built.idle):
        where = f"in {config.name} with its other settings; leave it out"
        raise ConfigError("\n".join(f"objective.{name}: changes nothing {where}" for name in idle))
    return built


def reckoned_with(objective: Objective, learner: LearnerConfig) -> bool:
    """Whether the loss allows for answers of another policy: by a weight, by its ratio, or because it may be anybody's."""
    weighed = getattr(objective, "correction", "none") != "none"
    by_ratio = learner.old_logprobs == "engine" and getattr(objective, "surrogate", None) is not score
    return weighed or by_ratio or not objective.uses_old_policy
