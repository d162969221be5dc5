"""The verifier that the verdicts are compared with, or what is wrong with its name."""

from collections.abc import Sequence
from difflib import get_close_matches

from reasoning_rl.config import JudgeConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.rescoring.request import parsed
from reasoning_rl.rewards.verifier import VERIFIERS, find_verifier
from reasoning_rl.rollout.judge import Judge


def other_judge(against: str, settings: JudgeConfig, columns: Sequence[str]) -> tuple[str, Judge]:
    """The verifier by its name, and a judge of its own, so that neither side loses what the other hangs on.

    `columns`: of the files; what was meant may be one of them. VerifierError lists both kinds of name.
    """
    rewards = parsed([against], "--against")
    (name,) = rewards
    if ".py:" in name:
        find_verifier(name, "--against")
    elif name not in VERIFIERS.names():
        raise VerifierError(_neither(name, columns))
    return name, Judge(rewards, settings)


def _neither(name: str, columns: Sequence[str]) -> str:
    verifiers = VERIFIERS.names()
    near = get_close_matches(name, [*columns, *verifiers], n=1)
    there = f"the columns are {', '.join(columns)}" if columns else "the files have no rows, and so no columns"
    known = f"--against: {name!r} is neither a column nor a verifier; {there}; the verifiers are {', '.join(verifiers)}."
    return f"{known} Did you mean {near[0]!r}?" if near else known
