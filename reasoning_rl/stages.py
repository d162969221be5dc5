"""The stages as the command line runs them: what each needs first, where it writes, what it says. Folders: see runfolder.py."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reasoning_rl import __version__, runfolder
from reasoning_rl.config import Config
from reasoning_rl.data.manifest import Manifest, load_manifest
from reasoning_rl.data.prepare import prepare
from reasoning_rl.data.store import load_prompts
from reasoning_rl.errors import ConfigError, RunError
from reasoning_rl.files import digest, sha256_of, write_text
from reasoning_rl.journal import Journal, read_metrics
from reasoning_rl.learner.checkpoint import checkpoints, put_in_place, step_of
from reasoning_rl.progress import Progress
from reasoning_rl.rewards.reward import check_gold
from reasoning_rl.rollout.judge import Judge
from reasoning_rl.trackers import tracker_libraries

if TYPE_CHECKING:
    from reasoning_rl.learner.crew import Crew

Say = Callable[[str], None]


def run_data(config: Config, console: Console) -> Manifest:
    """Prepare the problems of a recipe in the run's folder; nothing is done when they are there already."""
    return prepare(config.data, config.policy, config.folder / "data", seed=config.seed, check=check_gold, on_progress=_sayer(console))


def run_training(config: Config, *, resume: runfolder.Resume, console: Console) -> None:
    """Data and cold start where they are missing, then the loop from the last checkpoint on.

    ConfigError before anything is computed; RunError when the folder belongs to other settings, or `resume` is `must` and there is no run.
    """
    from reasoning_rl.learner.crew import Crew
    from reasoning_rl.objectives import build

    build(config.objective, config.sampling.max_tokens)
    tracker_libraries(config.train.trackers)
    judge = Judge(config.rewards, config.judge)
    runfolder.begin(config, resume)
    run_data(config, console)
    done = checkpoints(config.folder / "checkpoints")
    if done and step_of(done[-1]) >= config.train.steps:
        _sayer(console)(
            f"{config.folder} is trained, all {config.train.steps} steps. Evaluate it, or give the next run a name=… of its own"
        )
        return
    with judge, Crew(config.learner.processes) as crew:
        base = base_policy(config, crew, console)
        if config.train.steps:
            _train(config, crew, judge, base, done[-1] if done else None, console)


def base_policy(config: Config, crew: "Crew", console: Console) -> str:
    """Folder or hub id of the policy that training starts from, cold-started first if the recipe says so."""
    base = _cold_started(config, crew, console) if config.cold_start.enabled else config.policy.model
    if base is None:
        raise ConfigError("policy.model: null, and cold_start.enabled: false; name a model or enable the cold start")
    runfolder.note_base(config, base)
    return base


def _cold_started(config: Config, crew: "Crew", console: Console) -> str:
    """The cold start's policy, made once for all runs that would make the same."""
    from reasoning_rl.learner.worker import Warm

    data = config.folder / "data"
    settings = config.model_dump(mode="json", include={"policy", "cold_start", "seed"})
    identity = digest([load_manifest(data).files, settings, crew.size, __version__])
    folder = config.runs / "cache" / f"cold-start-{identity[:16]}"
    if (folder / "config.json").exists():
        _sayer(console)(f"Cold start: {folder} is there already")
        return str(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    work = Warm(data, temporary, config.policy, config.cold_start, config.seed)
    try:
        with Progress(console, config.cold_start.steps) as progress:
            progress.say(f"Cold start: {config.cold_start.steps} supervised steps on worked examples")
            progress.phase("imitate")
            crew.everyone(work, mine=replace(work, on_step=lambda _, loss: progress.step({"nll": loss})))
        put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return str(folder)


def _train(config: Config, crew: "Crew", judge: Judge, base: str, checkpoint: Path | None, console: Console) -> None:
    from reasoning_rl.eval.plots import reward_curve
    from reasoning_rl.learner.worker import Open, Prepare
    from reasoning_rl.train import Loop

    say, folder = _sayer(console), config.folder
    prompts, held_out = load_prompts(folder / "data", "train"), load_prompts(folder / "data", "eval")
    if len(prompts) < config.sampling.prompts_per_step:
        raise ConfigError(
            f"sampling.prompts_per_step: {config.sampling.prompts_per_step}, but there are only {len(prompts)} training problems"
        )
    crew.everyone(Open(str(checkpoint or base), config.policy, config.sampling, None if checkpoint else _revision(config, base)))
    learner = Prepare(config.objective, config.learner, config.sampling, config.policy, config.train.steps, base, checkpoint)
    start = int(crew.everyone(learner)[0])
    with (
        Journal(folder, config.train.trackers, config=config.model_dump(mode="json")) as journal,
        Progress(console, config.train.steps, start) as progress,
    ):
        journal.truncate(start if checkpoint else -1)
        asked = f"{config.sampling.prompts_per_step} prompts x {config.sampling.group_size} answers each"
        say(f"Training by {config.objective.name}: steps {start + 1} to {config.train.steps}, {asked}")
        Loop(config, crew, judge, journal, progress, prompts, held_out).run(start)
    reward_curve(read_metrics(folder), folder / "reward.png")
    say(f"Trained. Checkpoints: {folder / 'checkpoints'}, reward curve: {folder / 'reward.png'}")


def run_eval(config: Config, *, model: str | None, console: Console) -> None:
    """pass@k of the policy before and after training on the same problems, or of `model` alone; then the comparison.

    RunError when the run has nothing to evaluate. Reports that are there already for the same weights and settings are kept.
    """
    from reasoning_rl.learner.crew import Crew

    policies = {Path(model).name: model} if model else runfolder.policies(config)
    if model:
        run_data(config, console)
    with Judge(config.rewards, config.judge) as judge, Crew(config.learner.processes) as crew:
        for name, source in policies.items():
            _evaluate(config, crew, judge, (name, source), console)
    _compare(config, list(policies), console)


def _evaluate(config: Config, crew: "Crew", judge: Judge, policy: tuple[str, str], console: Console) -> None:
    from reasoning_rl.eval.evaluate import evaluate
    from reasoning_rl.learner.worker import Open

    (name, source), say = policy, _sayer(console)
    folder = config.folder / "eval" / name
    facts = _facts(config, source)
    if _is_current(folder / "report.json", str(facts["key"])):
        say(f"{folder} is up to date")
        return
    crew.everyone(Open(source, config.policy, config.sampling, _revision(config, source)))
    prompts = load_prompts(config.folder / "data", "eval")
    with Progress(console, min(len(prompts), config.eval.limit or len(prompts))) as progress:
        progress.phase(name)
        evaluate(
            crew, prompts, judge, config.eval, folder=folder, name=name, max_tokens=config.sampling.max_tokens, seed=config.seed,
            stop=tuple(config.sampling.stop), facts=facts, on_progress=progress.at,
        )  # fmt: skip
    say(f"wrote {folder}")


def _facts(config: Config, source: str) -> dict[str, object]:
    """Where a report comes from; `key` changes whenever its figures could."""
    manifest = load_manifest(config.folder / "data")
    weights = {path.name: sha256_of(path) for path in sorted(Path(source).glob("*.safetensors"))}
    settings = config.model_dump(mode="json", include={"eval", "rewards", "seed", "sampling"})
    return {
        **({"note": runfolder.note(config)} if runfolder.note(config) else {}),
        "policy": source,
        "source": manifest.source,
        "template": manifest.template,
        "template_sha256": manifest.template_sha256,
        "data_sha256": manifest.files["eval.parquet"],
        "rewards": settings["rewards"],
        "key": digest([weights or source, manifest.files, settings, __version__]),
    }


def _is_current(report: Path, key: str) -> bool:
    from reasoning_rl.eval.report import read_report

    try:
        return read_report(report).facts.get("key") == key
    except RunError:  # absent or damaged: to be written
        return False


def _compare(config: Config, names: list[str], console: Console) -> None:
    """The table of all policies on the screen, in comparison.md, and as a picture."""
    from reasoning_rl.eval.compare import compare, comparison_markdown, comparison_table
    from reasoning_rl.eval.plots import passk_plot
    from reasoning_rl.eval.report import read_report

    folder, note, say = config.folder / "eval", runfolder.note(config), _sayer(console)
    frame = compare(*(folder / name for name in names))
    write_text(folder / "comparison.md", "\n\n".join(filter(None, (note, comparison_markdown(frame)))) + "\n")
    passk_plot([read_report(folder / name / "report.json") for name in names], folder / "passk.png")
    console.print(comparison_table(frame))
    if note:
        say(note)
    say(f"Reports: {folder}/*/report.md, comparison: {folder / 'comparison.md'}, plot: {folder / 'passk.png'}")


def _revision(config: Config, source: str) -> str | None:
    """The pinned revision belongs to the model that the recipe names, and to no folder of ours."""
    return config.policy.revision if source == config.policy.model else None


def _sayer(console: Console) -> Say:
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
