"""What the samplers of a pool did since somebody last asked, in numbers."""

from statistics import fmean

from reasoning_rl.cluster.sampler import Answered


class Tally:
    """Counts and seconds; for one thread."""

    def __init__(self, now: float) -> None:
        """`now` is in seconds of any clock that only goes forward."""
        self._now = now
        self._clear()

    def _clear(self) -> None:
        self._sampler_s = self._idle_s = 0.0
        self._prompts: list[float] = []
        self._loads: list[float] = []
        self.replaced = self.handed_again = 0

    def pass_time(self, now: float, samplers: int, idle: int) -> None:
        """So many were there since the last time, and of these so many had nothing to do."""
        spent, self._now = now - self._now, now
        self._sampler_s += samplers * spent
        self._idle_s += idle * spent

    def count(self, answered: Answered) -> None:
        """A prompt is done."""
        self._prompts.append(answered.seconds)
        if answered.loading_s:
            self._loads.append(answered.loading_s)

    def taken(self) -> dict[str, float]:
        """All of it; the next time begins here. A mean over nothing is left out."""
        metrics = {"cluster/replaced": float(self.replaced), "cluster/handed_again": float(self.handed_again)}
        if self._sampler_s:
            metrics["cluster/idle"] = self._idle_s / self._sampler_s
        if self._prompts:
            metrics |= {"cluster/seconds/prompt": fmean(self._prompts), "cluster/seconds/prompt_max": max(self._prompts)}
        if self._loads:
            metrics["cluster/seconds/load_weights"] = fmean(self._loads)
        self._clear()
        return metrics
