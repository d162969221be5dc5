"""The stage eval as the command line runs it: pass@k before and after training, on the same problems, under the same randomness."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from reasoning_rl import __version__, runfolder
from reasoning_rl.config import Config
from reasoning_rl.data.manifest import load_manifest
from reasoning_rl.data.store import load_prompts
from reasoning_rl.errors import ModelError, RunError
from reasoning_rl.eval.compare import compare, comparison_markdown, comparison_table
from reasoning_rl.eval.evaluate import evaluate
from reasoning_rl.eval.report import read_report
from reasoning_rl.files import digest, write_text
from reasoning_rl.progress import Progress
from reasoning_rl.records import Prompt
from reasoning_rl.rollout.judge import Judge
from reasoning_rl.stages import base_policy, revision_of, run_data, sayer, weights_of

if TYPE_CHECKING:
    from reasoning_rl.learner.crew import Crew
    from reasoning_rl.policy.policy import Policy


def run_eval(config: Config, *, model: str | None, console: Console) -> None:
    """pass@k of the policy before and after training, or of `model` alone; then the comparison.

    RunError when the run has nothing to evaluate. Reports that are there already for the same weights and settings are kept.
    """
    from reasoning_rl.learner.crew import Crew

    policies = {_label(model): model} if model else runfolder.policies(config)
    run_data(config, console)
    with Judge(config.rewards, config.judge) as judge, Crew(config.learner.processes) as crew:
        if not model:
            policies["base"] = base_policy(config, crew, console)  # made again where the cache was emptied
        for name, source in policies.items():
            _evaluate(config, crew, judge, (name, source), console)
    _compare(config, list(policies), console)


def evaluated(config: Config) -> bool:
    """Whether the reports of a run's policies are there, for the weights and settings as they are. RunError where the run has none."""
    return all(is_evaluated(config, name, source) for name, source in runfolder.policies(config).items())


def is_evaluated(config: Config, name: str, source: str) -> bool:
    return _is_current(config.folder / "eval" / name / "report.json", str(_facts(config, source)["key"]))


def _label(model: str) -> str:
    """What the report of a model from outside is called: never like one of the run's own."""
    name = Path(model).resolve().name or "model"
    return f"{name}-model" if name in {"base", "trained"} else name


def _evaluate(config: Config, crew: "Crew", judge: Judge, policy: tuple[str, str], console: Console) -> None:
    from reasoning_rl.learner.worker import Open

    (name, source), say = policy, sayer(console)
    folder = config.folder / "eval" / name
    facts = _facts(config, source)
    if _is_current(folder / "report.json", str(facts["key"])):
        say(f"{folder} is up to date")
        return
    prompts = load_prompts(config.folder / "data", "eval")
    tokens = config.eval.max_tokens or config.sampling.max_tokens
    crew.everyone(Open(source, config.policy, config.sampling, revision_of(config, source)))
    _require_own_tokens(crew.local.policy, prompts[0], source)
    crew.local.engine.require_fit(prompts, tokens)
    with Progress(console, min(len(prompts), config.eval.limit or len(prompts))) as progress:
        progress.phase(name)
        evaluate(
            crew, prompts, judge, config.eval, folder=folder, name=name, max_tokens=tokens, seed=config.seed,
            stop=tuple(config.sampling.stop), facts=facts, on_progress=progress.at,
        )  # fmt: skip
    say(f"wrote {folder}")


def _require_own_tokens(policy: "Policy", prompt: Prompt, source: str) -> None:
    """ModelError when the prompts were made with another tokenizer: the figures would mean nothing."""
    ids = tuple(policy.tokenizer(prompt.text, add_special_tokens=False)["input_ids"])
    if prompt.token_ids[-len(ids) :] != ids:
        raise ModelError(
            f"{source}: the prompts of {prompt.problem.source} were made with another tokenizer than its own; "
            f"set policy.model={source} and a name=… of its own"
        )


def _facts(config: Config, source: str) -> dict[str, object]:
    """Where a report comes from; `key` changes whenever its figures could."""
    manifest, note = load_manifest(config.folder / "data"), runfolder.note(config)
    idle: Any = {
        "policy": {"logits_mib": True, "gradient_checkpointing": True},
        "sampling": {"batch_rows": True, "vllm": dict.fromkeys(runfolder.VLLM_MEMORY, True)},
    }
    settings = config.model_dump(mode="json", include={"eval", "rewards", "seed", "sampling", "policy"}, exclude=idle)
    return {
        **({"note": note} if note else {}),
        "policy": source,
        "source": manifest.source,
        "template": manifest.template,
        "template_sha256": manifest.template_sha256,
        "data_sha256": manifest.eval_sha256,
        "data_inputs": dict(manifest.inputs),
        "data_counts": dict(manifest.counts),
        "data_seed": manifest.seed,
        "rewards": settings["rewards"],
        "key": digest([weights_of(source) or source, manifest.files, settings, __version__]),
    }


def _is_current(report: Path, key: str) -> bool:
    try:
        return read_report(report).facts.get("key") == key
    except RunError:  # absent or damaged: to be written
        return False


def _compare(config: Config, names: list[str], console: Console) -> None:
    """The table of all policies on the screen; where there are several, in comparison.md and as a picture too."""
    from reasoning_rl.eval.plots import passk_plot

    folder, note, say = config.folder / "eval", runfolder.note(config), sayer(console)
    frame = compare(*(folder / name for name in names))
    console.print(comparison_table(frame))
    if note:
        say(note)
    if len(names) == 1:
        say(f"Report: {folder / names[0] / 'report.md'}")
        return
    write_text(folder / "comparison.md", "\n\n".join(filter(None, (note, comparison_markdown(frame)))) + "\n")
    passk_plot([read_report(folder / name / "report.json") for name in names], folder / "passk.png")
    say(f"Reports: {folder}/*/report.md, comparison: {folder / 'comparison.md'}, plot: {folder / 'passk.png'}")
