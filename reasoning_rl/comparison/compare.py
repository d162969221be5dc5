"""From a plan to its report."""

from rich.console import Console

from reasoning_rl.claim import claimed
from reasoning_rl.comparison.arms import Plan
from reasoning_rl.comparison.figures import standings
from reasoning_rl.comparison.report import PASS_AT_1, write_report
from reasoning_rl.comparison.runs import carry_out
from reasoning_rl.errors import RunError
from reasoning_rl.stages import sayer


def compare_arms(plan: Plan, console: Console, *, report_only: bool = False) -> None:
    """Do what is not done yet, unless `report_only`, then write the report.

    ConfigError before any run begins, and RunError where another process is at work in the folder; RunError at the end where some runs
    failed, which the report says too.
    """
    say = sayer(console)
    plan.check()
    if not report_only:
        with claimed(plan.out):
            plan.save()
            carry_out(plan, say)
    found = standings(plan)
    report = write_report(plan, found)
    for standing in found:
        contrast = standing.contrasts.get(PASS_AT_1)
        if contrast:
            gain = contrast.gain
            say(f"{standing.arm.name}: pass@1 {contrast.after.value:.3f}, gained {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
    say(f"Report: {report}")
    failed = [f"{standing.arm.name} with seed {seed}" for standing in found for seed in standing.failures]
    if failed:
        raise RunError(f"not done: {', '.join(failed)}; {report} says why, and the same command does them again")
