"""The stage eval as the command line runs it: pass@k before and after training, on the same problems, under the same randomness.

On the run's held-out problems, that is; for benchmarks see suitestage.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from reasoning_rl import __version__, runfolder
from reasoning_rl.config import Config
from reasoning_rl.data.manifest import load_manifest
from reasoning_rl.data.store import load_prompts
from reasoning_rl.data.template import find_template
from reasoning_rl.data.tokenizer import chat_of
from reasoning_rl.errors import ModelError, RunError
from reasoning_rl.eval.compare import compare, read_evaluation
from reasoning_rl.eval.evaluate import evaluate
from reasoning_rl.eval.report import damaged_tables, read_report
from reasoning_rl.eval.table import comparison_table, detectable_note
from reasoning_rl.files import digest, sha256_of
from reasoning_rl.journal import read_metrics
from reasoning_rl.probestage import Probing
from reasoning_rl.progress import Progress
from reasoning_rl.records import Prompt
from reasoning_rl.rollout.groups import Judges
from reasoning_rl.stages import base_policy, prepared, revision_of, sayer, weights_of
from reasoning_rl.workplace import connected, judge_of, team_of

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from reasoning_rl.learner.team import Team


def run_eval(config: Config, *, model: str | None, console: Console) -> None:
    """pass@k of the policy before and after training, or of `model` alone; then the comparison.

    RunError when the run has nothing to evaluate, or another process is at work in its folder. Reports that are there already for the same
    weights and settings are kept.
    """
    if not model:
        runfolder.require_base(config)
    judge, say = judge_of(config), sayer(console)
    with runfolder.alone(config), connected(config, say), judge, team_of(config, say) as team:
        policies = {_label(model): model} if model else runfolder.policies(config, sayer(console))
        prepared(config, console)
        if not model:
            policies["base"] = base_policy(config, team, console)  # made again where the cache was emptied
        for name, source in policies.items():
            _evaluate(config, team, judge, (name, source), console, note="" if model else runfolder.note(config))
        show_comparison(config, config.folder / "eval", list(policies), "" if model else runfolder.note(config), console)


def evaluated(config: Config) -> bool:
    """Whether the reports of a run's policies are there, for the weights and settings as they are. RunError where the run has none."""
    return all(is_evaluated(config, name, source) for name, source in runfolder.policies(config).items())


def is_evaluated(config: Config, name: str, source: str) -> bool:
    folder, key = config.folder / "eval" / name, str(_facts(config, source)["key"])
    return is_current(folder / "report.json", key) and not Probing(config, folder, key, own=True).due


def _label(model: str) -> str:
    """What the report of a model from outside is called: never like one of the run's own."""
    name = Path(model).resolve().name or "model"
    return f"{name}-model" if name in {"base", "trained"} else name


def _evaluate(config: Config, team: "Team", judge: Judges, policy: tuple[str, str], console: Console, *, note: str) -> None:
    from reasoning_rl.learner.worker import Open

    name, source = policy
    folder, facts = config.folder / "eval" / name, _facts(config, source)
    if is_evaluated(config, name, source):
        sayer(console)(f"{folder} is up to date")
        return
    prompts = load_prompts(config.folder / "data", "eval")
    tokens = config.eval.max_tokens or config.sampling.max_tokens
    team.open(Open(source, config.policy, config.sampling, revision_of(config, source)))
    _require_own_tokens(team.tokenizer, prompts[0], source)
    team.require_fit(prompts, tokens)
    if not is_current(folder / "report.json", str(facts["key"])):
        _report(config, team, judge, prompts, folder, {**({"note": note} if note else {}), **facts}, console)
    template = find_template(config.data.template, chat_of(team.tokenizer))
    problems = [prompt.problem for prompt in prompts[: config.eval.limit]]
    Probing(config, folder, str(facts["key"]), own=True).run(team, judge, template, problems, tokens, console)


def _report(
    config: Config, team: "Team", judge: Judges, prompts: Sequence[Prompt], folder: Path, facts: Mapping[str, object], console: Console
) -> None:
    say_replaced(folder, console)
    with Progress(console, min(len(prompts), config.eval.limit or len(prompts))) as progress:
        progress.phase(folder.name)
        evaluate(
            team, prompts, judge, config.eval, folder=folder, name=folder.name, max_tokens=config.sampling.max_tokens, seed=config.seed,
            stop=tuple(config.sampling.stop), facts=facts, on_progress=progress.at,
        )  # fmt: skip
    sayer(console)(f"wrote {folder}")


def _require_own_tokens(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, source: str) -> None:
    """ModelError when the prompts were made with another tokenizer: the figures would mean nothing."""
    ids = tuple(tokenizer(prompt.text, add_special_tokens=False)["input_ids"])
    if prompt.token_ids[-len(ids) :] != ids:
        raise ModelError(
            f"{source}: the prompts of {prompt.problem.source} were made with another tokenizer than its own; "
            f"set policy.model={source} and a name=… of its own"
        )


def _facts(config: Config, source: str) -> dict[str, object]:
    """Where a report comes from; `key` changes whenever its figures could."""
    manifest = load_manifest(config.folder / "data")
    settings = settings_that_count(config) | config.model_dump(mode="json", include={"rewards"})
    code = {str(path): sha256_of(path) for path in runfolder.own_code(config) if path.is_file()}
    return {
        "policy": source,
        "source": manifest.source,
        "template": manifest.template,
        "template_sha256": manifest.template_sha256,
        "data_sha256": manifest.eval_sha256,
        "data_inputs": dict(manifest.inputs),
        "data_counts": dict(manifest.counts),
        "data_seed": manifest.seed,
        "rewards": settings["rewards"],
        "code": code,
        "answers": answers_of(config, source),
        "key": digest([weights_of(source) or source, manifest.files, settings, code, __version__]),
    }


def settings_that_count(config: Config) -> dict[str, Any]:
    """All that decide a figure, whichever problems are asked, but for the rewards and the policy's weights, by whatever path."""
    idle: Any = {
        "eval": dict.fromkeys(("suites", "paths", "revisions", "template", "probe"), True),
        "policy": dict.fromkeys(("model", "logits_mib", "gradient_checkpointing"), True),
        "sampling": {"batch_rows": True, "vllm": dict.fromkeys(runfolder.VLLM_MEMORY, True)},
    }
    return config.model_dump(mode="json", include={"eval", "seed", "sampling", "policy"}, exclude=idle)


def say_replaced(folder: Path, console: Console) -> None:
    """Of a report that is there but damaged, or of other settings, weights or problems."""
    if (folder / "report.json").is_file():
        sayer(console)(f"{folder}: the report there is damaged, or of other settings, weights or problems, and is made anew")


def answers_of(config: Config, source: str) -> str:
    """Changes whenever the policy does or how it is asked, and not with what is made of the answers afterwards."""
    settings = settings_that_count(config)
    asked = {name: value for name, value in settings["eval"].items() if name not in {"k", "bootstrap", "best_of"}}
    return digest([weights_of(source) or source, settings | {"eval": asked}, __version__])


def is_current(report: Path, key: str) -> bool:
    """Whether the report is there, with its tables whole, for the same weights and settings."""
    try:
        found = read_report(report)
    except RunError:  # absent or damaged: to be written
        return False
    return found.facts.get("key") == key and not damaged_tables(report.parent, found)


def show_comparison(config: Config, folder: Path, names: list[str], note: str, console: Console) -> None:
    """The table of all policies on the screen, the page, and where there are several policies, the comparison's files."""
    from reasoning_rl.eval.page.words import curves
    from reasoning_rl.eval.side_by_side import PAGE, page_of, write_comparison

    say, frame = sayer(console), compare(*(folder / name for name in names), names=names)
    page = page_of(
        frame, {name: read_evaluation(folder / name) for name in names}, title=_title(config, folder, names), note=note,
        course=_course(config, names), settings=config.model_dump(mode="json"),
    )  # fmt: skip
    place = folder if len(names) > 1 else folder / names[0]
    write_comparison(page, place)
    console.print(comparison_table(frame))
    for told in filter(None, (*curves(page), detectable_note(frame), note)):
        say(told)
    say(f"Report: {place / PAGE}, tables for pandas: {folder}/*/*.parquet")


def _title(config: Config, folder: Path, names: list[str]) -> str:
    suite = "" if folder.name == "eval" else f" on {folder.name}"
    return f"{config.name}{suite}" if len(names) > 1 else f"{names[0]}{suite}"


def _course(config: Config, names: list[str]) -> "pd.DataFrame | None":
    """metrics.jsonl, where it is the training of a policy that is shown."""
    known = (config.folder / "metrics.jsonl").is_file()
    return read_metrics(config.folder) if known and "trained" in names else None
