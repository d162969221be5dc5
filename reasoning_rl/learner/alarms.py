"""When the course of a column of metrics.jsonl is alarming, and what to say of it.

Each rule looks at means over a window of steps, so that it is told from chance, but for that of verifiers: one step of them in trouble is
enough. What counts as alarming is ours, set so that the `cpu` recipe, whose entropy falls to 22 % of its first window, is silent.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat

_CHANCE = 3.0
"""Standard deviations of a step's mean reward: a fall within them is nothing to speak of, above all where rewards lie around 0."""


@dataclass(frozen=True)
class Window:
    """Steps in a row."""

    mean: float
    spread: float
    """The standard deviation of its steps."""


@dataclass(frozen=True)
class Windows:
    first: Window
    best: Window
    last: Window


@dataclass
class Course:
    """What a rule has to know of a column; its size does not grow with the run."""

    length: int
    """Of a window, in steps that have a value."""
    value: float | None = None
    """Of the last step, None where it has none."""
    windows: Windows | None = None
    """As soon as there is one."""
    _recent: deque[float] = field(default_factory=deque)

    def add(self, value: float | None) -> None:
        """One more step."""
        self.value = value
        if value is None:
            return
        self._recent.append(value)
        if len(self._recent) > self.length:
            self._recent.popleft()
        if len(self._recent) == self.length:
            self._look_back()

    def _look_back(self) -> None:
        mean = sum(self._recent) / self.length
        last = Window(mean, math.dist(self._recent, repeat(mean, self.length)) / math.sqrt(self.length))
        seen = self.windows or Windows(last, last, last)
        self.windows = Windows(seen.first, max(seen.best, last, key=lambda window: window.mean), last)


@dataclass(frozen=True)
class Alarm:
    """A rule and its words. Both are given the limit that the recipe sets, under `guards.<setting>`."""

    column: str
    setting: str
    rings: Callable[[Course, float], bool]
    says: Callable[[Course, float], str]


def storm(course: Course, limit: float) -> bool:
    """More of the step's answers than this share."""
    return course.value is not None and course.value > limit


def fallen(course: Course, share: float) -> bool:
    """From its best by more than 1 − share of the best, whatever its sign, and by more than chance does."""
    if course.windows is None:
        return False
    best = course.windows.best
    fall = best.mean - course.windows.last.mean
    return fall > (1 - share) * abs(best.mean) and fall > _CHANCE * best.spread


def faded(course: Course, share: float) -> bool:
    """Below this share of what it was at first."""
    return course.windows is not None and course.windows.last.mean < share * course.windows.first.mean


def overflowing(course: Course, limit: float) -> bool:
    """Above the limit, with the rest less than half of what it was at first, and by more than chance does.

    So neither longer answers alone ring it, nor a policy that begins with most answers cut off and learns to end them.
    """
    if course.windows is None:
        return False
    first, last = course.windows.first, course.windows.last.mean
    return last > limit and 1 - last < (1 - first.mean) / 2 and last - first.mean > _CHANCE * first.spread


def _failing(course: Course, limit: float) -> str:
    return (
        f"verifiers failed on {course.value:.1%} of the answers, which is above {limit:.1%}. The columns reason_* of this step's rollouts "
        "say which, and why; `reasoning-rl show RUN --worst 5` prints some. Where it is time or memory, judge.deadline_s and "
        "judge.memory_mib give more"
    )


def _less_reward(course: Course, share: float) -> str:
    assert course.windows is not None  # it rings
    last, best = course.windows.last.mean, course.windows.best.mean
    return (
        f"the mean reward is {last:.3g} over {course.length} steps, after {best:.3g} at its best: a fall by more "
        f"than {1 - share:.0%}. Read the answers; look at grad_norm, policy_kl, clip_ratio/* and sampling/mismatch_kl before it. "
        "A lower learner.learning_rate, or objective.kl above 0, holds the policy closer"
    )


def _less_entropy(course: Course, share: float) -> str:
    assert course.windows is not None  # it rings
    first, last = course.windows.first.mean, course.windows.last.mean
    return (
        f"the policy's entropy is {last:.2g} nats over {course.length} steps, below {share:.1%} of the {first:.2g} "
        "at first: its answers differ little, and there is little left to learn from them. Look at frac_reward_zero_std and eval/*; "
        "objective.entropy, a higher objective.clip_high or a lower learner.learning_rate keep it up"
    )


def _cut_off(course: Course, limit: float) -> str:
    assert course.windows is not None  # it rings
    first, last = course.windows.first.mean, course.windows.last.mean
    return (
        f"{last:.1%} of the answers are cut off at sampling.max_tokens over {course.length} steps, which is above {limit:.1%}; "
        f"at first it was {first:.1%}. Read them: do they work, or repeat themselves? A higher sampling.max_tokens lets "
        "those that work end; `length` or `repetition` among rewards, or objective.weight=budget, keeps length from paying"
    )


ALARMS = {
    "guards/verifier_storm": Alarm("verifier_failures", "verifier_failures", storm, _failing),
    "guards/reward_collapse": Alarm("reward", "reward_collapse", fallen, _less_reward),
    "guards/entropy_collapse": Alarm("entropy", "entropy_collapse", faded, _less_entropy),
    "guards/length_blow_up": Alarm("completions/clipped_ratio", "length_blow_up", overflowing, _cut_off),
}
"""By the column that they write."""
