"""The stages data and train as the command line runs them: what each needs first, where it writes, what it says. Eval: see evalstage.py."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reasoning_rl import __version__, runfolder
from reasoning_rl.checksums import damage, write_sums
from reasoning_rl.claim import Claim, holder, waited_for
from reasoning_rl.config import Config
from reasoning_rl.data.manifest import Manifest, load_manifest
from reasoning_rl.data.prepare import prepare
from reasoning_rl.data.store import load_prompts
from reasoning_rl.errors import ConfigError, EngineDied, RunError, TrainingError
from reasoning_rl.files import digest, discard, sha256_of, whole_folder, writing
from reasoning_rl.journal import Journal, metrics_rows, read_metrics, require_rows
from reasoning_rl.learner.checkpoint import checkpoints, load_state, newest_whole, set_aside, step_of
from reasoning_rl.learner.memory import free_memory
from reasoning_rl.learner.retention import Retention
from reasoning_rl.progress import Progress
from reasoning_rl.records import Prompt
from reasoning_rl.rewards.reward import check_gold
from reasoning_rl.trackers import tracker_libraries
from reasoning_rl.workplace import connected, judge_of, require_cluster, team_of

if TYPE_CHECKING:
    import pandas as pd

    from reasoning_rl.learner.team import Team
    from reasoning_rl.objectives.objective import Objective
    from reasoning_rl.rollout.gather import Source
    from reasoning_rl.workplace import AnyJudge

Say = Callable[[str], None]


def run_data(config: Config, console: Console) -> Manifest:
    """Prepare the problems of a recipe in the run's folder; nothing is done when they are there already.

    RunError when the folder holds results of other settings, whose problems would be lost, or another process is at work there.
    """
    with runfolder.alone(config):
        return prepared(config, console)


def prepared(config: Config, console: Console) -> Manifest:
    """See run_data. For a stage that has the run's folder to itself already."""
    runfolder.refuse_other_settings(config)
    return prepare(
        config.data, config.policy, config.folder / "data", seed=config.seed, check=check_gold, on_progress=sayer(console),
        begun=runfolder.has_results(config),
    )  # fmt: skip


def run_training(config: Config, *, resume: runfolder.Resume, console: Console) -> None:
    """Data and cold start where they are missing, then the loop from the last checkpoint on.

    ConfigError before anything is computed; RunError when the folder belongs to other settings or another process, or `resume` is `must`
    and there is no run; TrainingError when no step had anything to learn from.
    """
    from reasoning_rl.objectives import build

    _require_sound_answers(config, build(config.objective, config.sampling.max_tokens))
    tracker_libraries(config.train.trackers)
    _require_libraries(config)
    judge = judge_of(config)
    with runfolder.alone(config) as claim:
        runfolder.begin(config, resume)
        prepared(config, console)
        _require_enough_prompts(config)
        done = runfolder.has_base(config) and config.train.steps > 0 and is_trained(config)
        if done:
            Retention(config.folder / "checkpoints", config.train, metrics_rows(config.folder)).prune()  # a kill may have come before it
        else:
            with connected(config, sayer(console)), judge:
                _until_trained(config, claim, judge, console)
        _end_well(config, done, sayer(console))


def is_trained(config: Config) -> bool:
    """Whether there is a whole checkpoint of the last step; with no steps, there is nothing to train."""
    if not config.train.steps:
        return True
    there = checkpoints(config.folder / "checkpoints")
    return any(step_of(checkpoint) >= config.train.steps and damage(checkpoint) is None for checkpoint in there)


def _until_trained(config: Config, claim: Claim, judge: "AnyJudge", console: Console) -> None:
    """Cold start and loop; anew from the last checkpoint when a process or the engine has died, `train.restarts` times at most."""
    restarts = config.train.restarts
    for died in range(restarts + 1):
        try:
            _start(config, claim, judge, console)
        except EngineDied as failure:
            if died == restarts:
                raise
            sayer(console)(f"{failure}. Starting anew from the last checkpoint ({died + 1} of {restarts} times, train.restarts)")
        else:
            return
        free_memory()  # of the models that were lost: the new ones may not fit beside them


def _start(config: Config, claim: Claim, judge: "AnyJudge", console: Console) -> None:
    with team_of(config, sayer(console)) as team:
        base = base_policy(config, team, console)
        if not is_trained(config):
            _train(config, claim, team, judge, base, console)


def base_policy(config: Config, team: "Team", console: Console) -> str:
    """Folder or hub id of the policy that training starts from, cold-started first if the recipe says so.

    A run that has begun keeps its own: another version would make another. RunError when the model of its folder was replaced meanwhile.
    """
    noted = runfolder.base_of(config) if checkpoints(config.folder / "checkpoints") else None
    if not config.cold_start.enabled:
        base = config.policy.model
    elif noted and damage(Path(noted)) is None:
        base = noted
    else:
        base = _cold_started(config, team, console)
    assert base is not None, "Config refuses a recipe with neither"
    runfolder.note_base(config, base, digest(weights_of(base)))
    return base


def _cold_started(config: Config, team: "Team", console: Console) -> str:
    """The cold start's policy, made once for all runs that would make the same; who comes second waits."""
    folder = config.runs / "cache" / f"cold-start-{_cold_start_identity(config, team.size)[:16]}"
    say = sayer(console)
    with waited_for(folder.with_name(f".{folder.name}.lock"), lambda: say(f"Cold start: another run is making {folder}; waiting for it")):
        for left in folder.parent.glob(f".*{folder.name}.*.tmp"):
            discard(left)
        if (found := damage(folder)) is None:
            say(f"Cold start: {folder} is there already")
            return str(folder)
        if folder.exists():
            say(f"{folder} is damaged: {found}. It is made again")
        _cold_start(config, folder, team, console)
    return str(folder)


def _cold_start(config: Config, folder: Path, team: "Team", console: Console) -> None:
    from reasoning_rl.learner.worker import Warm

    sayer(console)(f"Cold start: {config.cold_start.steps} supervised steps on worked examples")
    with writing(folder), whole_folder(folder) as temporary, Progress(console, config.cold_start.steps) as progress:
        tokens = config.learner.tokens_per_microbatch
        work = Warm(config.folder / "data", temporary, config.policy, config.cold_start, config.seed, tokens)
        progress.phase("imitate")
        team.warm(work, on_step=lambda _, loss: progress.step({"nll": loss}))
        write_sums(temporary)


def _cold_start_identity(config: Config, processes: int) -> str:
    """Changes whenever the policy that comes out could."""
    idle = {"policy": {"logits_mib", "gradient_checkpointing", "lora"}}  # they change it by rounding at most
    settings = config.model_dump(mode="json", include={"policy", "cold_start", "seed"}, exclude=idle)
    files = load_manifest(config.folder / "data").files
    return digest([files, settings, weights_of(config.policy.model), processes, __version__])


def weights_of(model: str | None) -> dict[str, str]:
    """Digests of the weights in a model folder; nothing for a hub id, for which its revision stands."""
    return {path.name: sha256_of(path) for path in sorted(Path(model).glob("*.safetensors"))} if model else {}


def _train(config: Config, claim: Claim, team: "Team", judge: "AnyJudge", base: str, console: Console) -> None:
    from reasoning_rl.train import Loop

    say, folder = sayer(console), config.folder
    checkpoint = newest_whole(folder / "checkpoints", say)
    prompts, held_out = load_prompts(folder / "data", "train"), load_prompts(folder / "data", "eval")
    start = _opened(config, team, base, checkpoint, [*prompts, *held_out])
    set_aside(folder / "checkpoints", after=start)
    if checkpoint:
        runfolder.go_on(config, start, say)
    with (
        Journal(folder, config.train.trackers, config=config.model_dump(mode="json")) as journal,
        Progress(console, config.train.steps, start) as progress,
        _source(config, team, judge, prompts, checkpoint, say) as source,
    ):
        sampled = f"{config.sampling.prompts_per_step} prompts x {config.sampling.group_size} answers each"
        asked = sampled if config.train.rollouts is None else f"answers of {config.train.rollouts}"
        say(f"Training by {config.objective.name}: steps {start + 1} to {config.train.steps}, {asked}")
        Loop(config, claim, team, judge, journal, progress, source, held_out).run(start)


def _opened(config: Config, team: "Team", base: str, checkpoint: Path | None, prompts: Sequence[Prompt]) -> int:
    """Load the policy and prepare the learner; the steps that these have done."""
    from reasoning_rl.learner.worker import Open, Prepare

    opened = base if config.policy.lora else str(checkpoint or base)  # adapters go on from the weights they were made for
    team.open(Open(opened, config.policy, config.sampling, revision_of(config, opened)))
    team.require_fit(prompts, config.sampling.max_tokens)
    learner = Prepare(config.objective, config.learner, config.sampling, config.policy, config.train.steps, base, checkpoint)
    return team.prepare(learner)


@contextmanager
def _source(
    config: Config, team: "Team", judge: "AnyJudge", prompts: Sequence[Prompt], checkpoint: Path | None, say: Say
) -> "Iterator[Source]":
    """Of the groups to learn from."""
    from reasoning_rl.rollout.ahead import Ahead
    from reasoning_rl.rollout.gather import Asking
    from reasoning_rl.rollout.stored import Stored, stored_files

    if config.train.rollouts is not None:
        by_id = {prompt.problem.id: prompt for prompt in prompts}
        yield Stored(stored_files(config.train.rollouts), by_id, team.tokenizer)
        return
    asking = Asking(prompts, team, judge, config.sampling, config.seed if config.train.seed is None else config.train.seed)
    if not config.train.off_policy_steps:
        yield asking
        return
    if not team.apart:
        say(
            "train.off_policy_steps: this engine can't sample while the learner works, so it samples before each update and saves no time; "
            "vLLM on a GPU with sampling.vllm.sleep=false shares the GPU with it, and samplers of a cluster have their own"
        )
    state = load_state(checkpoint) if checkpoint else {}
    with Ahead(asking, config.train.steps, config.train.off_policy_steps, apart=team.apart, state=state) as ahead:
        yield ahead


def _require_sound_answers(config: Config, objective: "Objective") -> None:
    """Where they are not of the policy that learns: that they are there, and that the objective can learn from them."""
    from reasoning_rl.rollout.ahead import refuse_uncorrected
    from reasoning_rl.rollout.stored import refuse_unfit, stored_files

    if config.train.off_policy_steps:
        refuse_uncorrected(objective, config.learner, config.train.off_policy_steps)
    place = config.train.rollouts
    if place is None:
        return
    refuse_unfit(objective, config.learner)
    if user := holder(place):
        raise RunError(
            f"train.rollouts: {place} is being written by {user}, and what is learned would depend on how far it is; wait for it"
        )
    if stored_files(place)[0].parent.resolve() == (config.folder / "rollouts").resolve():
        raise ConfigError(f"train.rollouts: {place} belongs to this run, which would write over it; give this run a name=… of its own")


def _require_libraries(config: Config) -> None:
    """Those that sampler and learner need for what the recipe asks of them."""
    from reasoning_rl.learner.optimizers import optimizer_library
    from reasoning_rl.policy.adapters import adapter_library
    from reasoning_rl.policy.policy import device_of
    from reasoning_rl.rollout.engine import require_engine

    require_engine(config.sampling.engine)
    require_cluster(config)
    optimizer_library(config.learner, None if config.cluster.address else device_of(config.policy).type)  # a driver needs no GPU
    if config.policy.lora is not None:
        adapter_library()


def _require_enough_prompts(config: Config) -> None:
    asked, there = config.sampling.prompts_per_step, load_manifest(config.folder / "data").counts["train"]["kept"]
    if there < asked:
        raise ConfigError(f"sampling.prompts_per_step: {asked}, but there are only {there} training problems")


def _end_well(config: Config, done: bool, say: Say) -> None:
    """Draw the rewards, and say what is there; `done`: it was there before. With no steps there is nothing to draw.

    RunError when training has not come to its end, TrainingError when no step had an effect.
    """
    if not config.train.steps:
        return
    if not is_trained(config):
        raise RunError(
            f"{config.folder}: training ended before step {config.train.steps}; the same command goes on from its last checkpoint"
        )
    require_rows(config.folder, config.train.steps)
    metrics = read_metrics(config.folder)
    _draw_rewards(config, metrics)
    _require_effect(config, metrics)
    for name in (column for column in map(str, metrics) if column.startswith("guards/") and column != "guards/token_budget"):
        if count := int((metrics[name] > 0).sum()):
            say(f"Alarm {name}: in {count} of {config.train.steps} steps (docs/faq.md)")
    if done:
        say(f"{config.folder} is trained, all {config.train.steps} steps. Evaluate it, or give the next run a name=… of its own")
    else:
        say(f"Trained. Checkpoints: {config.folder / 'checkpoints'}, reward curve: {config.folder / 'reward.png'}")


def _require_effect(config: Config, metrics: "pd.DataFrame") -> None:
    if not metrics["learner/tokens"].sum():
        raise TrainingError(
            f"{config.folder}: no step of {config.train.steps} has changed the policy. Where groups/learned in metrics.jsonl is 0, rewards "
            "are equal within each group: try easier problems, a longer cold start or a larger sampling.group_size (docs/faq.md). Where "
            "guards/skipped_updates is above 0, numbers were not finite: see faults/"
        )


def _draw_rewards(config: Config, metrics: "pd.DataFrame") -> None:
    from reasoning_rl.eval.plots import reward_curve

    reward_curve(metrics, config.folder / "reward.png")


def revision_of(config: Config, source: str) -> str | None:
    """The pinned revision belongs to the model that the recipe names, and to no folder of ours."""
    return config.policy.revision if source == config.policy.model else None


def sayer(console: Console) -> Say:
    """Prints a line as it is, without markup."""
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
