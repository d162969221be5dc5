"""Where the work of a run is done: in processes of this machine, or in those of a cluster. Ray is imported for a cluster alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from reasoning_rl.config import Config, VerifierConfig
from reasoning_rl.rollout.judge import Judge

if TYPE_CHECKING:
    from reasoning_rl.cluster.judging import ClusterJudge
    from reasoning_rl.learner.team import Team

    AnyJudge = Judge | ClusterJudge


def require_cluster(config: Config) -> None:
    """EngineError where one is asked for and can't be had."""
    if config.cluster.address is not None:
        from reasoning_rl.cluster.ray_session import require_cluster as required

        required(config.cluster)


def connected(config: Config, say: Callable[[str], None]) -> AbstractContextManager[None]:
    """To the cluster, if one is asked for."""
    if config.cluster.address is None:
        return nullcontext()
    from reasoning_rl.cluster.ray_session import connected as joined

    return joined(config.cluster, say)


def judge_of(config: Config, rewards: Mapping[str, VerifierConfig] | None = None) -> "AnyJudge":
    """By the recipe's rewards, or others."""
    asked = config.rewards if rewards is None else rewards
    if config.cluster.address is None:
        return Judge(asked, config.judge)
    from reasoning_rl.cluster.judging import ClusterJudge

    return ClusterJudge(asked, config.judge)


@contextmanager
def team_of(config: Config, say: Callable[[str], None]) -> "Iterator[Team]":
    """Those who sample and learn."""
    if config.cluster.address is None:
        from reasoning_rl.learner.crew import Crew

        with Crew(config.learner.processes) as crew:
            yield crew
        return
    from reasoning_rl.cluster.team import ClusterTeam

    with ClusterTeam(config, say) as team:
        yield team
