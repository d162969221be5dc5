"""The stages data and train as the command line runs them: what each needs first, where it writes, what it says. Eval: see evalstage.py."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reasoning_rl import __version__, runfolder
from reasoning_rl.config import Config
from reasoning_rl.data.manifest import Manifest, load_manifest
from reasoning_rl.data.prepare import prepare
from reasoning_rl.data.store import load_prompts
from reasoning_rl.errors import ConfigError
from reasoning_rl.files import digest, sha256_of
from reasoning_rl.journal import Journal, read_metrics
from reasoning_rl.learner.checkpoint import checkpoints, load_state, put_in_place, step_of
from reasoning_rl.progress import Progress
from reasoning_rl.records import Prompt
from reasoning_rl.rewards.reward import check_gold
from reasoning_rl.rollout.judge import Judge
from reasoning_rl.trackers import tracker_libraries

if TYPE_CHECKING:
    from reasoning_rl.learner.crew import Crew
    from reasoning_rl.objectives.objective import Objective
    from reasoning_rl.rollout.gather import Source

Say = Callable[[str], None]


def run_data(config: Config, console: Console) -> Manifest:
    """Prepare the problems of a recipe in the run's folder; nothing is done when they are there already.

    RunError when the folder holds results of other settings, whose problems would be lost.
    """
    runfolder.refuse_other_settings(config)
    return prepare(config.data, config.policy, config.folder / "data", seed=config.seed, check=check_gold, on_progress=sayer(console))


def run_training(config: Config, *, resume: runfolder.Resume, console: Console) -> None:
    """Data and cold start where they are missing, then the loop from the last checkpoint on.

    ConfigError before anything is computed; RunError when the folder belongs to other settings, or `resume` is `must` and there is no run.
    """
    from reasoning_rl.learner.crew import Crew
    from reasoning_rl.objectives import build

    _require_sound_answers(config, build(config.objective, config.sampling.max_tokens))
    tracker_libraries(config.train.trackers)
    _require_libraries(config)
    judge = Judge(config.rewards, config.judge)
    runfolder.begin(config, resume)
    run_data(config, console)
    _require_enough_prompts(config)
    done = checkpoints(config.folder / "checkpoints")
    if done and step_of(done[-1]) >= config.train.steps:
        _draw_rewards(config)
        sayer(console)(f"{config.folder} is trained, all {config.train.steps} steps. Evaluate it, or give the next run a name=… of its own")
        return
    with judge, Crew(config.learner.processes) as crew:
        base = base_policy(config, crew, console)
        if config.train.steps:
            _train(config, crew, judge, base, done[-1] if done else None, console)


def base_policy(config: Config, crew: "Crew", console: Console) -> str:
    """Folder or hub id of the policy that training starts from, cold-started first if the recipe says so."""
    base = _cold_started(config, crew, console) if config.cold_start.enabled else config.policy.model
    assert base is not None, "Config refuses a recipe with neither"
    runfolder.note_base(config, base)
    return base


def _cold_started(config: Config, crew: "Crew", console: Console) -> str:
    """The cold start's policy, made once for all runs that would make the same."""
    from reasoning_rl.learner.worker import Warm

    data, say = config.folder / "data", sayer(console)
    folder = config.runs / "cache" / f"cold-start-{_cold_start_identity(config, crew.size)[:16]}"
    if (folder / "config.json").exists():
        say(f"Cold start: {folder} is there already")
        return str(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    work = Warm(data, temporary, config.policy, config.cold_start, config.seed, config.learner.tokens_per_microbatch)
    say(f"Cold start: {config.cold_start.steps} supervised steps on worked examples")
    try:
        temporary.mkdir(parents=True)
        with Progress(console, config.cold_start.steps) as progress:
            progress.phase("imitate")
            crew.everyone(work, mine=replace(work, on_step=lambda _, loss: progress.step({"nll": loss})))
        put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return str(folder)


def _cold_start_identity(config: Config, processes: int) -> str:
    """Changes whenever the policy that comes out could."""
    idle = {"policy": {"logits_mib", "gradient_checkpointing", "lora"}}  # they change it by rounding at most
    settings = config.model_dump(mode="json", include={"policy", "cold_start", "seed"}, exclude=idle)
    files = load_manifest(config.folder / "data").files
    return digest([files, settings, weights_of(config.policy.model), processes, __version__])


def weights_of(model: str | None) -> dict[str, str]:
    """Digests of the weights in a model folder; nothing for a hub id, for which its revision stands."""
    return {path.name: sha256_of(path) for path in sorted(Path(model).glob("*.safetensors"))} if model else {}


def _train(config: Config, crew: "Crew", judge: Judge, base: str, checkpoint: Path | None, console: Console) -> None:
    from reasoning_rl.learner.worker import Open, Prepare
    from reasoning_rl.train import Loop

    say, folder = sayer(console), config.folder
    prompts, held_out = load_prompts(folder / "data", "train"), load_prompts(folder / "data", "eval")
    opened = base if config.policy.lora else str(checkpoint or base)  # adapters go on from the weights they were made for
    crew.everyone(Open(opened, config.policy, config.sampling, revision_of(config, opened)))
    crew.local.engine.require_fit([*prompts, *held_out], config.sampling.max_tokens)
    learner = Prepare(config.objective, config.learner, config.sampling, config.policy, config.train.steps, base, checkpoint)
    start = int(crew.everyone(learner)[0])
    with (
        Journal(folder, config.train.trackers, config=config.model_dump(mode="json")) as journal,
        Progress(console, config.train.steps, start) as progress,
        _source(config, crew, judge, prompts, checkpoint, say) as source,
    ):
        journal.truncate(start if checkpoint else -1)
        sampled = f"{config.sampling.prompts_per_step} prompts x {config.sampling.group_size} answers each"
        asked = sampled if config.train.rollouts is None else f"answers of {config.train.rollouts}"
        say(f"Training by {config.objective.name}: steps {start + 1} to {config.train.steps}, {asked}")
        Loop(config, crew, judge, journal, progress, source, held_out).run(start)
    _draw_rewards(config)
    say(f"Trained. Checkpoints: {folder / 'checkpoints'}, reward curve: {folder / 'reward.png'}")


@contextmanager
def _source(config: Config, crew: "Crew", judge: Judge, prompts: Sequence[Prompt], checkpoint: Path | None, say: Say) -> "Iterator[Source]":
    """Of the groups to learn from."""
    from reasoning_rl.rollout.ahead import Ahead
    from reasoning_rl.rollout.gather import Asking
    from reasoning_rl.rollout.stored import Stored, stored_files

    if config.train.rollouts is not None:
        by_id = {prompt.problem.id: prompt for prompt in prompts}
        yield Stored(stored_files(config.train.rollouts), by_id, crew.local.policy.tokenizer)
        return
    asking = Asking(prompts, crew, judge, config.sampling, config.seed if config.train.seed is None else config.train.seed)
    if not config.train.off_policy_steps:
        yield asking
        return
    if not crew.apart:
        say(
            "train.off_policy_steps: this engine can't sample while the learner works, so it samples before each update and saves no time; "
            "vLLM on a GPU with sampling.vllm.sleep=false shares the GPU with it"
        )
    state = load_state(checkpoint) if checkpoint else {}
    with Ahead(asking, config.train.steps, apart=crew.apart, state=state) as ahead:
        yield ahead


def _require_sound_answers(config: Config, objective: "Objective") -> None:
    """Where they are not of the policy that learns: that they are there, and that the objective can learn from them."""
    from reasoning_rl.rollout.ahead import refuse_uncorrected
    from reasoning_rl.rollout.stored import refuse_unfit, stored_files

    if config.train.off_policy_steps:
        refuse_uncorrected(objective, config.learner)
    place = config.train.rollouts
    if place is None:
        return
    refuse_unfit(objective, config.learner)
    if stored_files(place)[0].parent.resolve() == (config.folder / "rollouts").resolve():
        raise ConfigError(f"train.rollouts: {place} belongs to this run, which would write over it; give this run a name=… of its own")


def _require_libraries(config: Config) -> None:
    """Those that sampler and learner need for what the recipe asks of them."""
    from reasoning_rl.learner.optimizers import optimizer_library
    from reasoning_rl.policy.adapters import adapter_library
    from reasoning_rl.policy.policy import device_of
    from reasoning_rl.rollout.engine import require_engine

    require_engine(config.sampling.engine)
    optimizer_library(config.learner, device_of(config.policy).type)
    if config.policy.lora is not None:
        adapter_library()


def _require_enough_prompts(config: Config) -> None:
    asked, there = config.sampling.prompts_per_step, load_manifest(config.folder / "data").counts["train"]["kept"]
    if there < asked:
        raise ConfigError(f"sampling.prompts_per_step: {asked}, but there are only {there} training problems")


def _draw_rewards(config: Config) -> None:
    from reasoning_rl.eval.plots import reward_curve

    reward_curve(read_metrics(config.folder), config.folder / "reward.png")


def revision_of(config: Config, source: str) -> str | None:
    """The pinned revision belongs to the model that the recipe names, and to no folder of ours."""
    return config.policy.revision if source == config.policy.model else None


def sayer(console: Console) -> Say:
    """Prints a line as it is, without markup."""
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
