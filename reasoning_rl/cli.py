"""The command line: the only place that prints help or ends the process. Whatever is heavy is imported inside the command that needs it."""

import functools
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from reasoning_rl import __version__, options
from reasoning_rl.errors import ConfigError, EngineError, ReasoningRLError, StorageError, is_out_of_memory
from reasoning_rl.options import Overrides, PrintConfig, Recipe, Runs
from reasoning_rl.signals import Terminated, unwinding

if TYPE_CHECKING:
    from rich.console import Console

    from reasoning_rl.config import Config
    from reasoning_rl.records import Task
    from reasoning_rl.rescoring.request import Request

INTERRUPTED, TERMINATED = 130, 143
_NOT_A_TERMINAL_WIDTH = 120
_OUT_OF_MEMORY = (
    "Error: out of memory: lower learner.tokens_per_microbatch, policy.logits_mib, sampling.batch_rows "
    "or sampling.vllm.memory, which change nothing else; learner.halve_when_out_of_memory=true finds the first by itself (docs/faq.md)"
)
_debugging: ContextVar[bool] = ContextVar("debugging", default=False)

app = typer.Typer(
    name="reasoning-rl",
    help="Math-reasoning RL with verifiable rewards: data → train → eval.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Let errors through with their traceback.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)] = False,  # noqa: ARG001
) -> None:
    _debugging.set(debug)


def main() -> None:
    """Entry point of the console script."""
    app()


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command whose errors end it with one message and their own exit code."""

    @functools.wraps(function)
    def reported(*arguments: object, **options: object) -> None:
        with unwinding():
            try:
                function(*arguments, **options)
            except (Exception, KeyboardInterrupt, Terminated) as failure:  # the border: every error becomes a message and an exit code
                if _debugging.get() or isinstance(failure, (typer.Exit, BrokenPipeError)):  # typer ends in silence where nobody reads on
                    raise
                _end(failure)

    return app.command()(reported)


def _end(failure: BaseException) -> NoReturn:
    message, code = _farewell(failure)
    typer.echo(message, err=True)
    raise typer.Exit(code) from None


def _farewell(failure: BaseException) -> tuple[str, int]:
    """What to say of a failure, and the exit code."""
    match failure:
        case ReasoningRLError():
            return f"Error: {failure}", failure.exit_code
        case KeyboardInterrupt() | Terminated():
            return _way_on(sys.argv), INTERRUPTED if isinstance(failure, KeyboardInterrupt) else TERMINATED
        case Exception() if is_out_of_memory(failure):
            found = str(failure).partition("\n")[0]
            return f"{_OUT_OF_MEMORY}\n  {found}".rstrip(), EngineError.exit_code
        case OSError(strerror=str(reason)):
            return f"Error: {failure.filename or type(failure).__name__}: {reason}", StorageError.exit_code
        case _:
            trace = "".join(traceback.format_exception(failure))
            return f"{trace}\nThis is a mistake of reasoning-rl, not yours. Please report it with the lines above (see CONTRIBUTING.md).", 1


def _way_on(called: Sequence[str]) -> str:
    """How to go on with what was stopped: the command as it was given, less `--fresh`, which would delete what there is to go on from."""
    program = [called[0]] if Path(called[0]).name == "reasoning-rl" else ["python", "-m", "reasoning_rl"]
    kept = [argument for argument in called[1:] if argument != "--fresh"]
    same = "the same command" if len(kept) == len(called) - 1 else "without --fresh, the same command"
    return f"Stopped. Finished files are whole; {same} goes on from there:\n  {shlex.join([*program, *kept])}"


@_command
def data(recipe: Recipe = "cpu", overrides: Overrides = None, print_config: PrintConfig = False) -> None:
    """Prepare problems: load, clean, deduplicate, decontaminate, and put them into the prompt template."""
    config = _config(recipe, overrides, print_config)
    from reasoning_rl.stages import run_data

    manifest = run_data(config, _console())
    for split in ("train", "eval"):
        counts = manifest.counts[split]
        typer.echo(f"{split}: {counts['kept']:,} problems of {counts['read']:,} read; {_in_words(counts['set_aside'])} set aside")
    typer.echo(f"Data ready: {config.folder / 'data'}")


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {stage}" for stage, count in counts.items() if count) or "none"


@_command
def train(
    recipe: Recipe = "cpu",
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    resume: Annotated[
        bool | None, typer.Option("--resume/--fresh", help="Insist on going on, or on starting anew. By default a run goes on.")
    ] = None,
) -> None:
    """Train the policy: cold start where the recipe has one, then sample → judge → learn."""
    config = _config(recipe, overrides, print_config, trains=True)
    from reasoning_rl.stages import run_training

    run_training(config, resume=_resume_mode(resume), console=_console())


def _resume_mode(resume: bool | None) -> Literal["auto", "must", "never"]:
    return "auto" if resume is None else "must" if resume else "never"


@_command
def eval(  # noqa: A001  # the stage is called so
    recipe: options.EvalRecipe = None,
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    model: options.Model = None,
    suite: options.SuiteNames = None,
    samples: options.Samples = None,
    limit: options.Limit = None,
) -> None:
    """Measure pass@k with intervals, before and after training, on the same problems: held-out ones of the run, or those of benchmarks."""
    named, settings = options.evaluation(recipe, overrides or [], model, suite or [], samples, limit)
    config = _config(named, settings, print_config)
    if config.eval.suites:
        from reasoning_rl.suitestage import run_suites as run_stage
    else:
        from reasoning_rl.evalstage import run_eval as run_stage
    run_stage(config, model=model, console=_console())


@_command
def compare(
    reports: options.ComparedRuns,
    suite: options.ComparedSuite = "",
    allow_different: options.AllowDifferent = False,
    markdown: options.PrintMarkdown = False,
    out: options.ComparedOut = Path("runs/comparison"),
) -> None:
    """Put reports side by side, with differences paired by problem; in a table, and in files."""
    from reasoning_rl.eval.page.words import curves
    from reasoning_rl.eval.side_by_side import PAGE, side_by_side, write_comparison
    from reasoning_rl.eval.table import comparison_markdown, comparison_table, detectable_note

    names, runs = zip(*options.runs_named(reports))
    frame, page = side_by_side(runs, names, suite=suite, allow_different=allow_different)
    write_comparison(page, out)
    if markdown:
        typer.echo(comparison_markdown(frame))
    else:
        _console().print(comparison_table(frame))
        for told in filter(None, (*curves(page), detectable_note(frame), page.note)):
            typer.echo(told)
    typer.echo(f"wrote {out / PAGE}, and the tables and pictures beside it", err=True)


@_command
def compare_objectives(
    context: typer.Context,
    recipe: Recipe = "cpu",
    overrides: Overrides = None,
    objectives: options.ObjectiveNames = None,
    arms: options.ArmsFile = None,
    seeds: options.Seeds = "0,1,2",
    out: options.ComparisonFolder = Path("runs/objectives"),
    report_only: options.ReportOnly = False,
) -> None:
    """Train and evaluate objectives on one recipe, each with several seeds, and report gains, costs and paired differences."""
    from reasoning_rl.comparison.arms import Plan, chosen_arms, parsed_seeds, saved_plan
    from reasoning_rl.comparison.compare import compare_arms

    if report_only:
        _refuse_beside_report_only(options.given(context) - {"--report-only", "--out"})
        plan = saved_plan(out)
    else:
        chosen = chosen_arms(recipe, options.listed(objectives), arms)
        plan = Plan(out, recipe, tuple(overrides or []), chosen, parsed_seeds(seeds))
    compare_arms(plan, _console(), report_only=report_only)


def _refuse_beside_report_only(more: set[str]) -> None:
    if more:
        found = ", ".join(sorted(more))
        raise ConfigError(f"--report-only: found {found} too; it goes with --out alone, whose comparison.json says what is compared")


@_command
def show(
    run: Annotated[str, typer.Argument(help="Name or folder of a run.")],
    step: Annotated[int | None, typer.Option(help="The last stored one by default.")] = None,
    worst: Annotated[int | None, typer.Option(min=1, help="How many of the lowest reward; 5 if nothing is asked for.")] = None,
    best: Annotated[int | None, typer.Option(min=1, help="How many of the highest reward.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Print completions of a training step with their scores and the reasons."""
    from reasoning_rl import display

    chosen, rollouts = display.stored_rollouts(display.run_folder(run, runs), step)
    console = _console()
    console.print(f"step {chosen}: {len(rollouts)} completions, mean reward {rollouts['reward'].mean():.3f}", highlight=False)
    for completion in display.completions(display.extremes(rollouts, worst, best)):
        console.print(completion)


@_command
def verify(
    context: typer.Context,
    files: options.AnswerFiles = None,
    completion: options.OneCompletion = None,
    gold: options.OneGold = None,
    task: options.GoldTask = None,
    reward: options.Rewards = None,
    recipe: options.RewardsOf = None,
    against: options.AgainstOne = None,
    examples: options.Examples = 5,
    out: options.Out = None,
    report: options.Report = None,
    completion_column: options.CompletionColumn = "completion",
    gold_column: options.GoldColumn = "gold",
    workers: options.Workers = None,
    deadline: options.Deadline = None,
) -> None:
    """Judge one completion, or all of many files again: how they fall, and how far they agree with labels or another verifier."""
    named: Task | None = task.value if task else None
    if not files or completion is not None or gold is not None:
        _verify_one(completion, gold, named, more=options.given(context) - {"--completion", "--gold", "--task"})
        return
    from reasoning_rl.rescoring.answers import Columns
    from reasoning_rl.rescoring.request import Request

    other, columns = options.one_at_most("--against", against or []), Columns(completion_column, gold_column)
    _verify_files(
        Request(
            files, named, reward or [], recipe, other, out, report, examples=examples, workers=workers, deadline_s=deadline, columns=columns
        )
    )


def _verify_one(completion: str | None, gold: str | None, task: "Task | None", more: set[str]) -> None:
    """Print a JSON line. `more`: what was given beside these."""
    if completion is None or gold is None or more:
        found = f"; found {', '.join(sorted(more))} too" if more else ""
        raise ConfigError(f"verify: give either a file, or both --completion and --gold, which go with no option but --task{found}")
    from reasoning_rl.rewards import verify as judge

    typer.echo(json.dumps(asdict(judge(completion, gold, task or "math")), ensure_ascii=False))


def _verify_files(request: "Request") -> None:
    """Ctrl-C ends it in its own words: the same command would begin anew."""
    from rich.console import Console

    from reasoning_rl.rescoring.rescore import rescore

    try:
        rescore(request, _console(), Console(stderr=True))
    except (KeyboardInterrupt, Terminated) as stop:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(INTERRUPTED if isinstance(stop, KeyboardInterrupt) else TERMINATED) from None


@_command
def doctor(checked: options.CheckedRuns = None, runs: Runs = Path("runs")) -> None:
    """Say what this machine has, and what each recipe would still need; of a run, which of its parts are whole and which are damaged."""
    if checked:
        _check_up([_folder(run, runs) for run in checked])
        return
    from reasoning_rl.doctor import inspect, judging, machine_table, recipe_table

    machine = inspect(runs)
    _console().print(machine_table(machine, judging()))
    _console().print(recipe_table(machine))


def _folder(run: str, runs: Path) -> Path:
    from reasoning_rl.display import run_folder

    return run_folder(run, runs)


def _check_up(folders: Sequence[Path]) -> None:
    """One table a run; then what to do for all that is damaged."""
    from reasoning_rl.checkup.checkup import look, refuse_damaged, table

    found = {}
    for folder in folders:
        found[folder] = look(folder)
        _console().print(table(folder, found[folder]))
    refuse_damaged(found)


@_command
def clean(named: options.CleanedRuns = None, also: options.AlsoGoing = None, yes: options.Yes = False, runs: Runs = Path("runs")) -> None:
    """List what can go: leftovers of interrupted writes, cold starts of no run. Only with --yes is it removed."""
    from reasoning_rl.tidy import listing, plan, remove

    wished = options.also_going(also or [])
    found = plan(runs, [_folder(run, runs) for run in named or []], wished)
    for told in found.left:
        typer.echo(told)
    if not found.items:
        typer.echo("Nothing to clean")
        return
    _console().print(listing(found, going=yes))
    if yes or _agreed(options.clean_command(named or [], wished, runs)):
        typer.echo(f"Freed {remove(found, typer.echo):,} bytes")
    else:
        typer.echo("Nothing was removed")


def _agreed(command: str) -> bool:
    """Asked on a terminal; elsewhere the answer is no, and the command to type is said."""
    if _on_a_terminal():
        try:
            return typer.confirm("Remove all of this?")
        except typer.Abort:  # Ctrl-C, or no more input
            typer.echo()
            return False
    typer.echo(f"To remove all of this:\n  {command}")
    return False


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _config(recipe: str, overrides: list[str] | None, print_config: bool, trains: bool = False) -> "Config":
    """The checked config; printed, it ends the command."""
    from reasoning_rl import names
    from reasoning_rl.recipes import dump_config, load_config

    config = load_config(recipe, overrides or [])
    names.refuse_unknown(config, names.TRAINING if trains else names.EVERYWHERE)
    if print_config:
        typer.echo(dump_config(config), nl=False)
        raise typer.Exit
    return config


def _console() -> "Console":
    """Standard output; wide enough for tables where it is a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_NOT_A_TERMINAL_WIDTH)
