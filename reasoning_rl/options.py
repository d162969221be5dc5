"""Options of the command line with their help, as types: what a command takes can then be read off its first lines."""

import json
import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option

from reasoning_rl.errors import ConfigError


class TaskName(StrEnum):
    """The convention of a gold answer."""

    gsm8k = "gsm8k"
    math = "math"


Recipe = Annotated[str, Option("--recipe", "-r", help="A recipe of the package, or the path of a YAML file.")]
Overrides = Annotated[
    list[str] | None, Argument(help="Settings that win over the recipe's, like sampling.temperature=0.7", show_default=False)
]
PrintConfig = Annotated[bool, Option("--print-config", help="Print the resolved settings, checked, and do nothing else.")]
Runs = Annotated[Path, Option(help="The folder that holds the runs.")]

EvalRecipe = Annotated[
    str | None,
    Option("--recipe", "-r", help="As elsewhere; by default `cpu`, or `suites` where a --model is asked suites.", show_default=False),
]
Model = Annotated[str | None, Option("--model", help="A model folder or hub id, in place of the policies of the run.")]
SuiteNames = Annotated[
    list[str] | None, Option("--suite", help="Benchmarks in place of the run's held-out problems: gsm8k, or gsm8k,math500; repeatable.")
]
Samples = Annotated[int | None, Option("--samples", min=1, help="Answers a problem; pass@k is then given for the powers of two up to it.")]
Limit = Annotated[int | None, Option("--limit", min=1, help="Ask the first so many problems alone.")]

AnswerFiles = Annotated[
    list[Path] | None, Argument(help="JSONL or parquet with completions and golds; a run's folder; an evaluation's.", show_default=False)
]
OneCompletion = Annotated[str | None, Option("--completion", help="One text to judge, in place of files.")]
OneGold = Annotated[str | None, Option("--gold", help="Its right answer.")]
GoldTask = Annotated[TaskName | None, Option("--task", help="The convention of the golds; by default the row's, the run's, or math.")]
Rewards = Annotated[
    list[str] | None, Option("--reward", help="A verifier, as name, name=weight or name={options: …}; by default the task's own.")
]
RewardsOf = Annotated[str | None, Option("--recipe", "-r", help="Judge by the rewards of this recipe.")]
AgainstOne = Annotated[list[str] | None, Option("--against", help="Compare with this column, or with this verifier; once.")]
Examples = Annotated[int, Option(min=0, help="How many of each kind of disagreement.")]
Out = Annotated[Path | None, Option(help="Write the verdicts to this parquet file.")]
Report = Annotated[Path | None, Option(help="Write the tables to this Markdown file.")]
CompletionColumn = Annotated[str, Option(help="What the column of completions is called.")]
GoldColumn = Annotated[str, Option(help="What the column of right answers is called.")]
Workers = Annotated[int | None, Option(min=1, help="Processes that judge; by default the recipe's, or one for each core.")]
Deadline = Annotated[float | None, Option(min=0.01, help="Seconds for one completion; by default the judge's.")]

ComparedRuns = Annotated[
    list[str],
    Argument(
        help="Run folders, report folders or report.json files; the first is the base. NAME=A,B,C: one run's name and training seeds."
    ),
]
ComparedSuite = Annotated[str, Option("--suite", help="Of run folders, the reports on this benchmark.")]
AllowDifferent = Annotated[bool, Option(help="Compare even where problems, template or sampling differ.")]
PrintMarkdown = Annotated[bool, Option("--markdown", help="Print all metrics as Markdown.")]
ComparedOut = Annotated[Path, Option("--out", help="For comparison.md, comparison.csv and the pictures.")]

ObjectiveNames = Annotated[
    str | None,
    Option("--objectives", help="Like grpo,ppo: arms of the file or the package; else each is an objective.name", show_default="all"),
]
ArmsFile = Annotated[
    Path | None,
    Option("--arms", help="YAML that maps names to settings which win over all others; by default the package's list for the recipe."),
]
Seeds = Annotated[str, Option(help="Of training, train.seed; all share data and cold start.")]
ComparisonFolder = Annotated[Path, Option("--out", help="For the runs and the report. What is done there is not done again.")]
ReportOnly = Annotated[bool, Option("--report-only", help="Make the report of --out again from the runs that are done.")]


CheckedRuns = Annotated[
    list[str] | None, Argument(help="Names or folders of runs, to check these in place of the machine.", show_default=False)
]
CleanedRuns = Annotated[
    list[str] | None, Argument(help="Names or folders of runs; by default all in --runs, and the cold starts there.", show_default=False)
]
AlsoGoing = Annotated[
    list[str] | None,
    Option("--also", help="checkpoints: all but the newest whole one of a run and its best by train.keep_best; rollouts: all; repeatable."),
]
Yes = Annotated[bool, Option("--yes", "-y", help="Remove what is listed.")]


def listed(names: str | None) -> list[str]:
    """The names between commas.

    >>> listed("grpo, ppo"), listed(None)
    (['grpo', 'ppo'], [])
    """
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def evaluation(
    recipe: str | None, overrides: Sequence[str], model: str | None, suites: Sequence[str], samples: int | None, limit: int | None
) -> tuple[str, list[str]]:
    """The recipe and the overrides that the options of `eval` stand for; overrides written by hand come last, and so win.

    >>> evaluation("cpu", ["eval.k=[1]"], None, ["gsm8k,svamp"], 12, None)
    ('cpu', ['eval.suites=["gsm8k", "svamp"]', 'eval.samples=12', 'eval.k=[1, 2, 4, 8]', 'eval.k=[1]'])
    """
    asked = [name for option in suites for name in listed(option)]
    settings = [f"eval.suites={json.dumps(asked)}"] if asked else []
    if samples:
        settings += [f"eval.samples={samples}", f"eval.k={[2**power for power in range(samples.bit_length())]}"]
    settings += [f"eval.limit={limit}"] if limit else []
    settings += overrides
    alone = model if any(setting.startswith("eval.suites=") for setting in settings) else None
    recipe = recipe or ("suites" if alone else "cpu")
    if recipe == "suites" and model is None:
        raise ConfigError("recipe 'suites': it evaluates a model from outside; give --model, a folder or hub id, and --suite")
    return recipe, [*(_of_its_own(alone) if alone and recipe == "suites" else []), *settings]


def _of_its_own(model: str) -> list[str]:
    """A model from outside is a run by itself."""
    from reasoning_rl.recipes import model_name

    return [f"name={json.dumps(model_name(model))}", f"policy.model={json.dumps(model)}"]


def also_going(asked: Sequence[str]) -> list[str]:
    """What `clean --also` names. ConfigError for what it does not know."""
    from reasoning_rl.registry import did_you_mean
    from reasoning_rl.tidy import ALSO

    wished = [name for option in asked for name in listed(option)]
    for name in wished:
        if name not in ALSO:
            raise ConfigError(f"--also: found {name!r}; {did_you_mean(name, list(ALSO))}")
    return list(dict.fromkeys(wished))


def clean_command(named: Sequence[str], also: Sequence[str], runs: Path) -> str:
    """What removes what such a call lists.

    >>> clean_command(["my run"], ["rollouts"], Path("runs"))
    "reasoning-rl clean 'my run' --runs runs --also rollouts --yes"
    """
    return shlex.join(
        ["reasoning-rl", "clean", *named, "--runs", str(runs), *(word for name in also for word in ("--also", name)), "--yes"]
    )


def runs_named(arguments: Sequence[str]) -> list[tuple[str, list[Path]]]:
    """The runs of a comparison: the name each is given, empty where it is given none, and the reports of its seeds.

    >>> runs_named(["runs/a", "grpo=runs/s0,runs/s1"])
    [('', [PosixPath('runs/a')]), ('grpo', [PosixPath('runs/s0'), PosixPath('runs/s1')])]
    """
    return [_named(argument) for argument in arguments]


def _named(argument: str) -> tuple[str, list[Path]]:
    """What exists by this very name is that, commas and all."""
    name, equals, seeds = argument.partition("=")
    if Path(argument).exists() or not equals:
        name, seeds = "", argument
    return name, [Path(seeds)] if seeds and Path(seeds).exists() else [Path(path) for path in listed(seeds)]


def given(context: Context) -> set[str]:
    """What stands on the command line: options with their dashes, arguments in capitals."""
    sources = {each: each.name and context.get_parameter_source(each.name) for each in context.command.params}
    by_hand = [each for each, source in sources.items() if getattr(source, "name", "") == "COMMANDLINE"]
    return {each.opts[0] if each.param_type_name == "option" else each.opts[0].upper() for each in by_hand}


def one_at_most(option: str, found: Sequence[str]) -> str | None:
    """The value of an option that is collected, so that a second one is not lost without a word. ConfigError for a second."""
    if len(found) > 1:
        raise ConfigError(f"{option}: found {', '.join(found)}; one is accepted")
    return found[0] if found else None
