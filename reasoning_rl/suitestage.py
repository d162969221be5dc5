"""The stage eval on benchmark suites: the policies of a run, or any model, for which nothing is trained or prepared.

    eval/<suite>/<policy>/  samples.parquet  problems.parquet  report.json  report.md     eval/<suite>/  comparison.md  passk.png

A suite that fails takes no other along: what can be computed is, and the stage ends with what failed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from reasoning_rl import __version__, runfolder
from reasoning_rl.config import Config, VerifierConfig
from reasoning_rl.data.suite import Suite, message
from reasoning_rl.data.suites import find_suites
from reasoning_rl.data.template import Template, find_template
from reasoning_rl.data.tokenizer import chat_of, encode_pretrained, load_tokenizer
from reasoning_rl.errors import ConfigError, DataError, EngineError, ReasoningRLError, VerifierError
from reasoning_rl.eval.evaluate import evaluate
from reasoning_rl.eval.report import Report, read_report
from reasoning_rl.evalstage import answers_of, is_current, say_replaced, settings_that_count, show_comparison
from reasoning_rl.files import digest
from reasoning_rl.probestage import Probing
from reasoning_rl.progress import Progress
from reasoning_rl.recipes import model_name
from reasoning_rl.records import Completion, Problem, Prompt
from reasoning_rl.rollout.groups import Judges
from reasoning_rl.stages import base_policy, prepared, revision_of, sayer, weights_of
from reasoning_rl.workplace import connected, judge_of, team_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from reasoning_rl.learner.team import Team


class Taker(NamedTuple):
    """A policy that suites are put to."""

    name: str
    source: str
    """Its folder or hub id."""
    revision: str | None
    own: bool
    """Whether it is of the run, which taught it a template and a length."""
    weights: str
    """Digest of them, or of the name that stands for them on the hub."""


@dataclass(frozen=True)
class Exam:
    """One suite put to one policy."""

    config: Config
    suite: Suite
    taker: Taker
    template: Template
    inputs: Mapping[str, str]
    """What the problems are read from, with its revision or SHA-256."""

    @property
    def folder(self) -> Path:
        return self.config.folder / "eval" / self.suite.name / self.taker.name

    @property
    def max_tokens(self) -> int:
        return self.config.eval.max_tokens or (self.config.sampling.max_tokens if self.taker.own else self.suite.max_tokens)

    @property
    def rewards(self) -> dict[str, VerifierConfig]:
        return {self.suite.verifier: VerifierConfig(options=dict(self.suite.options))}

    @cached_property
    def facts(self) -> dict[str, object]:
        """Where the report comes from, as far as it is known before problems are read; `key` changes whenever its figures could."""
        told: dict[str, object] = {
            "policy": self.taker.source,
            **({"policy_revision": self.taker.revision} if self.taker.revision else {}),
            "source": self.suite.name,
            "template": self.template.name,
            "template_sha256": self.template.sha256,
            "data_inputs": dict(self.inputs),
            "rewards": {name: config.model_dump(mode="json") for name, config in self.rewards.items()},
            "answers": answers_of(self.config, self.taker.source),
        }
        counts = {name: value for name, value in told.items() if name != "policy"}  # its weights do, not its path
        return told | {"key": digest([self.taker.weights, counts, self.max_tokens, settings_that_count(self.config), __version__])}

    @property
    def report(self) -> Report:
        return read_report(self.folder / "report.json")

    @property
    def probing(self) -> Probing:
        return Probing(self.config, self.folder, str(self.facts["key"]), self.taker.own)

    def is_reported(self) -> bool:
        return is_current(self.folder / "report.json", str(self.facts["key"]))

    def is_done(self) -> bool:
        return self.is_reported() and not self.probing.due


class Failures:
    """Of suites, by name: the first failure of each."""

    def __init__(self) -> None:
        self.of: dict[str, ReasoningRLError] = {}

    @contextmanager
    def noted(self, suite: Suite) -> Iterator[None]:
        """What fails for reasons of the suite is kept for later. A model that can't be loaded and a full disk stop all."""
        try:
            yield
        except (DataError, EngineError, VerifierError) as failure:
            self.of.setdefault(suite.name, failure)

    def tell(self) -> None:
        """Raise them as one, of the class of the first."""
        if self.of:
            told = [f"suite {name}: {failure}" for name, failure in self.of.items()]
            raise type(next(iter(self.of.values())))("\n".join(told))


def run_suites(config: Config, *, model: str | None, console: Console) -> None:
    """pass@k on every suite of `eval.suites`, of the run's policies before and after training, or of `model` alone.

    RunError when the run has nothing to evaluate; what failed of a suite is raised when all others are done. Reports that are there
    already for the same weights, problems and settings are kept.
    """
    suites, failures = find_suites(config.eval), Failures()
    if not model:
        runfolder.require_base(config)
    say = sayer(console)
    with runfolder.alone(config), connected(config, say), team_of(config, say) as team:
        policies = {model_name(model): model} if model else runfolder.policies(config, sayer(console))
        if not model:
            prepared(config, console)
            policies["base"] = base_policy(config, team, console)  # made again where the cache was emptied
        exams = _exams(config, suites, [_taker(config, name, source, own=not model) for name, source in policies.items()], failures)
        _sit_all(exams, team, failures, console)
        _show(exams, console)
    failures.tell()


def _taker(config: Config, name: str, source: str, *, own: bool) -> Taker:
    return Taker(name, source, revision_of(config, source), own, digest(weights_of(source) or source))


def _exams(config: Config, suites: Sequence[Suite], takers: Sequence[Taker], failures: Failures) -> list[Exam]:
    """Of every policy and suite, policy by policy; a suite whose problems can't be found has none."""
    exams = []
    for taker in takers:
        tokenizer = load_tokenizer(taker.source, taker.revision)
        for suite in suites:
            with failures.noted(suite):
                exams.append(Exam(config, suite, taker, _template(config, suite, taker, tokenizer), suite.inputs(config)))
                _require_ranking(config, suite)
    return exams


def _require_ranking(config: Config, suite: Suite) -> None:
    known = ["reward", f"score_{suite.verifier}"]
    if config.eval.best_of not in known:
        raise ConfigError(f"eval.best_of: found {config.eval.best_of!r}; accepted on {suite.name}: {' and '.join(known)}")


def _template(config: Config, suite: Suite, taker: Taker, tokenizer: "PreTrainedTokenizerBase") -> Template:
    """ModelError when the template is `chat`, and the tokenizer has no chat format."""
    chat = chat_of(tokenizer)
    if config.eval.template is not None:
        return find_template(config.eval.template, chat, "eval.template")
    return find_template(config.data.template, chat) if taker.own else message(suite, chat)


def _sit_all(exams: Sequence[Exam], team: "Team", failures: Failures, console: Console) -> None:
    """Those whose reports are not there yet, each policy loaded once. Problems are read first: what is missing is known at once."""
    from reasoning_rl.learner.worker import Open

    say = sayer(console)
    problems: dict[str, list[Problem]] = {}
    todo = [exam for exam in exams if not _said_done(exam, console)]
    for name, exam in {exam.suite.name: exam for exam in todo}.items():
        with failures.noted(exam.suite):
            problems[name] = exam.suite.read(exam.config)
    for name, failure in failures.of.items():
        say(f"{name} is left out: {failure}")
    for taker, sat in groupby((exam for exam in todo if exam.suite.name in problems), key=lambda exam: exam.taker):
        for number, exam in enumerate(sat):
            if number == 0:
                team.open(Open(taker.source, exam.config.policy, exam.config.sampling, taker.revision))
            with failures.noted(exam.suite):
                _sit(exam, problems[exam.suite.name], team, console)


def _said_done(exam: Exam, console: Console) -> bool:
    done = exam.is_done()
    if done:
        sayer(console)(f"{exam.folder} is up to date")
    return done


def _sit(exam: Exam, problems: Sequence[Problem], team: "Team", console: Console) -> None:
    config = exam.config
    prompts = _prompts(exam.template, problems[: config.eval.limit], team.tokenizer)
    tokens = tokens_left(exam, prompts, team.context)
    _require_fit(team, prompts, tokens)
    with judge_of(config, exam.rewards) as judge:
        if not exam.is_reported():
            _report(exam, problems, prompts, tokens, team, judge, console)
        exam.probing.run(team, judge, exam.template, [prompt.problem for prompt in prompts], tokens, console)


def tokens_left(exam: Exam, prompts: Sequence[Prompt], context: int) -> int:
    """Of an answer: what the settings say, else what the suite says, or as many as the context of a model from outside leaves."""
    if exam.taker.own or exam.config.eval.max_tokens:
        return exam.max_tokens
    return max(1, min(exam.max_tokens, context - max(len(prompt.token_ids) for prompt in prompts)))


def _report(
    exam: Exam, problems: Sequence[Problem], prompts: Sequence[Prompt], tokens: int, team: "Team", judge: Judges, console: Console
) -> None:
    config = exam.config
    say_replaced(exam.folder, console)
    with Progress(console, len(prompts)) as progress:
        progress.phase(f"{exam.suite.name} {exam.taker.name}")
        facts = exam.facts | _found(exam, problems, prompts, tokens, refused_golds(judge, exam.template, prompts))
        commit = commit_of(exam.taker.source, exam.taker.revision)
        evaluate(
            team, prompts, judge, config.eval, folder=exam.folder, name=exam.taker.name, max_tokens=tokens, seed=config.seed,
            stop=tuple(config.sampling.stop), facts=facts | ({"policy_commit": commit} if commit else {}), on_progress=progress.at,
        )  # fmt: skip
    sayer(console)(f"wrote {exam.folder}")


def commit_of(model: str, revision: str | None) -> str | None:
    """That a model of the hub was read at; None for a folder."""
    from transformers import AutoConfig

    return getattr(AutoConfig.from_pretrained(model, revision=revision or "main"), "_commit_hash", None)


def _prompts(template: Template, problems: Sequence[Problem], tokenizer: "PreTrainedTokenizerBase") -> list[Prompt]:
    """A chat format writes out by itself the tokens that open a sequence."""
    texts = [template.render(problem.question) for problem in problems]
    ids = encode_pretrained(tokenizer, opens=template.chat is None)(texts)
    return [Prompt(problem, text, tuple(row)) for problem, text, row in zip(problems, texts, ids, strict=True)]


def _require_fit(team: "Team", prompts: Sequence[Prompt], max_tokens: int) -> None:
    try:
        team.require_fit(prompts, max_tokens)
    except EngineError as failure:
        raise EngineError(f"{str(failure).partition('; lower')[0]}; lower eval.max_tokens, or leave the suite out") from failure


def refused_golds(judge: Judges, template: Template, prompts: Sequence[Prompt]) -> dict[str, str]:
    """Problems whose gold, given as the answer in the form that is asked for, their own verifier calls wrong, with its reason."""
    golds = [(Completion(template.complete("", prompt.problem.gold), ()), prompt.problem) for prompt in prompts]
    verdicts = zip(prompts, judge.judge(golds), strict=True)
    return {prompt.problem.id: f"{one.judgement.verdict}: {one.judgement.reason}" for prompt, one in verdicts if not one.correct}


def _found(
    exam: Exam, problems: Sequence[Problem], prompts: Sequence[Prompt], tokens: int, refused: Mapping[str, str]
) -> dict[str, object]:
    """What is known when the problems are: how much of the benchmark it is, and which golds are beyond reach."""
    suite, size = exam.suite, exam.suite.size or len(problems)
    notes = [runfolder.note(exam.config)] if exam.taker.own else []
    if len(prompts) != size:
        notes.append(f"No figure of the benchmark: {suite.name} has {size:,} problems, and {len(prompts):,} were asked.")
    if tokens < exam.max_tokens:
        notes.append(f"Answers end at {tokens:,} tokens, which is what the model's context leaves; {suite.name} has {exam.max_tokens:,}.")
    if refused:
        notes.append(f"The verifier refuses the golds of {', '.join(refused)}, which nobody can solve.")
    told = {
        "name": suite.name,
        "rows_read": len(problems),
        "rows_of_benchmark": suite.size,
        "refused_golds": dict(refused),
        "cite": suite.cite,
    }
    note = " ".join(filter(None, notes))
    return {"suite": told} | ({"note": note} if note else {})


def _show(exams: Sequence[Exam], console: Console) -> None:
    """The tables suite by suite, and at the end a line for each report."""
    order = list(dict.fromkeys(exam.suite.name for exam in exams))
    done = sorted((exam for exam in exams if exam.is_done()), key=lambda exam: order.index(exam.suite.name))
    for _, group in groupby(done, key=lambda exam: exam.suite.name):
        _show_suite(list(group), console)
    suites, policies = max((len(name) for name in order), default=0), max((len(exam.taker.name) for exam in done), default=0)
    for exam in done:
        sayer(console)(f"{exam.suite.name:<{suites}}  {exam.taker.name:<{policies}}  {_headline(exam.report)}  {exam.folder}")


def _show_suite(exams: Sequence[Exam], console: Console) -> None:
    sayer(console)(f"\n{exams[0].suite.name}")
    note = str(exams[0].report.facts.get("note", ""))
    show_comparison(exams[0].config, exams[0].folder.parent, [exam.taker.name for exam in exams], note, console)


def _headline(report: Report) -> str:
    """Its first figure, which is pass@k of the smallest k."""
    first = report.metrics[0]
    return f"{first.label} {first.value:.3f} ({first.low:.3f} to {first.high:.3f})"
