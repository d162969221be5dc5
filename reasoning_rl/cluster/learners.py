"""The learners of a cluster, seen from the driver: ranks that Ray places, and that do each piece of work together."""

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from reasoning_rl.cluster.deaths import cause
from reasoning_rl.cluster.rank import Rank
from reasoning_rl.cluster.ray_session import room
from reasoning_rl.config import ClusterConfig
from reasoning_rl.errors import EngineDied, EngineError
from reasoning_rl.learner.failures import Failed, UnforeseenError
from reasoning_rl.learner.worker import Worker

_LAST_WORDS_S = 2.0
"""That ranks which broke off a collective are given to say why."""
_LOOK_S = 0.5
"""Between two looks at a cold start's progress."""
_SILENT_S = 10.0
"""That room is waited for without a word."""


class Learners:
    """All of them, or none: a rank that is gone takes the others' work with it."""

    def __init__(self, config: ClusterConfig, *, gpus: bool, say: Callable[[str], None] = lambda _: None) -> None:
        """EngineError where there is no room for them within `cluster.wait_s`; `say` hears of the waiting."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self.size, self._config = config.learners, config
        needs = {"CPU": float(config.cpus_per_learner), **({"GPU": 1.0} if gpus else {})}
        self._place = _placed(config, needs, say)
        kind = ray.remote(num_cpus=needs["CPU"], num_gpus=needs.get("GPU", 0), max_concurrency=2)(Rank)
        self._ranks = [
            kind.options(scheduling_strategy=PlacementGroupSchedulingStrategy(self._place, placement_group_bundle_index=rank)).remote(
                rank, self.size
            )
            for rank in range(self.size)
        ]

    def meet(self) -> None:
        """They find one another. EngineError or EngineDied where one can't."""
        import ray

        gather = self._config.gather if self._config.shard else None
        try:
            address = self._ranks[0].address.remote().future().result()
        except ray.exceptions.RayError as failure:
            raise EngineDied(f"learner rank 0 died at its start: {cause(failure)}") from failure
        join = [rank.join.remote(Path.cwd(), address, gather, self._config.cpus_per_learner) for rank in self._ranks]
        self._results(join, "start")

    def everyone(self, work: Callable[[Worker], Any], while_waiting: Callable[[], None] = lambda: None) -> list[Any]:
        """Let every rank do the same; results by rank. An error of any rank is raised here, EngineDied if one is gone."""
        import ray

        sent = ray.put(work)  # once, and not once for each rank
        return self._results([rank.do.remote(sent) for rank in self._ranks], type(work).__name__.lower(), while_waiting)

    def progress(self) -> tuple[int, float] | None:
        """Of the first rank's cold start; None too where that has died, which whoever waits for its work is told."""
        import ray

        try:
            heard: tuple[int, float] | None = self._ranks[0].progress.remote().future().result()
        except ray.exceptions.RayError:
            return None
        return heard

    def nodes(self) -> list[tuple[str, list[str]]]:
        """Of each rank, its node and the GPUs it has there."""
        return [(str(node), list(gpus)) for node, gpus in self.everyone(WhereAmI())]

    def _results(self, refs: list[Any], asked: str, while_waiting: Callable[[], None] = lambda: None) -> list[Any]:
        """By rank, as soon as all are there, or one has failed.

        Waits as Python does, here as elsewhere: in Ray's own waiting, a SIGTERM would end as another exception than ours.
        """
        waiting, results = {ref.future(): rank for rank, ref in enumerate(refs)}, dict[int, Any]()
        while waiting:
            for future in wait(waiting, _LOOK_S, FIRST_COMPLETED).done:
                rank = waiting.pop(future)
                results[rank] = _result(future, rank, asked)
            if any(isinstance(result, Exception) for result in results.values()):
                raise self._worst(results, waiting, asked)
            while_waiting()
        return [results[rank] for rank in range(self.size)]

    def _worst(self, results: Mapping[int, Any], waiting: "Mapping[Future[Any], int]", asked: str) -> Exception:
        """What to tell of: deaths first, and broken collectives of others last, which have a reason that somebody knows."""
        late = wait(waiting, _LAST_WORDS_S).done
        said = [*results.values(), *(_result(future, waiting[future], asked) for future in late)]
        errors = [one for one in said if isinstance(one, Exception)]
        return min(errors, key=lambda error: (not isinstance(error, EngineDied), isinstance(error, UnforeseenError)))

    def close(self) -> None:
        """At once: what they hold is in the last checkpoint, or nobody wants it."""
        import ray
        from ray.util import remove_placement_group

        for rank in self._ranks:
            ray.kill(rank)
        self._ranks = []
        remove_placement_group(self._place)


class WhereAmI:
    """The node of a rank, and its GPUs there."""

    def __call__(self, worker: Worker) -> tuple[str, list[str]]:  # noqa: ARG002  # work is given the worker it is done by
        import ray

        context = ray.get_runtime_context()
        return context.get_node_id(), [str(number) for number in context.get_accelerator_ids().get("GPU", [])]


def _placed(config: ClusterConfig, needs: Mapping[str, float], say: Callable[[str], None]) -> Any:
    """Room for every rank, side by side as far as nodes are large enough."""
    from ray.util import placement_group, remove_placement_group

    place = placement_group([dict(needs)] * config.learners, strategy="PACK")
    try:
        _wait_for(place.ready().future(), config, lambda: say(f"Waiting, up to {config.wait_s:g} s: {_lacking(config, needs)}"))
    except BaseException as failure:  # Ctrl-C too: the room would be kept for nobody
        remove_placement_group(place)
        if isinstance(failure, TimeoutError):
            raise EngineError(f"cluster.learners: {_lacking(config, needs)}; cluster.wait_s ({config.wait_s:g} s) is over") from failure
        raise
    return place


def _wait_for(placed: "Future[Any]", config: ClusterConfig, tell: Callable[[], None]) -> None:
    """Up to `cluster.wait_s`; not for long without a word."""
    soon = min(_SILENT_S, config.wait_s)
    try:
        placed.result(soon)
    except TimeoutError:
        tell()
        placed.result(config.wait_s - soon)


def _lacking(config: ClusterConfig, needs: Mapping[str, float]) -> str:
    wanted = " and ".join(f"{count:g} {name}" for name, count in needs.items())
    return f"there is no room for {config.learners} learners of {wanted} each; the nodes have {room()}"


def _result(future: "Future[Any]", rank: int, asked: str) -> Any:
    """Or the error, as an object."""
    import ray

    try:
        result = future.result()
    except ray.exceptions.RayError as failure:
        return EngineDied(f"learner rank {rank} died during {asked}: {cause(failure)}")
    return result.told(f"learner rank {rank}") if isinstance(result, Failed) else result
