"""How verifiers are found: a file in the folder, another distribution, a path, a function written for TRL."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import reasoning_rl.rewards
from reasoning_rl.config import VerifierConfig
from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rewards.verifier import VERIFIERS, find_verifier, judges_answer, verifier

PROBLEM = Problem(id="t/0", source="t", split="test", question="2+3?", gold="5", task="gsm8k", level="easy")
BREVITY = '''
from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier


@verifier("{name}")
def brevity(completion: Completion, problem: Problem) -> Score:
    """Score 1 for an empty answer, falling to 1/2 at 512 tokens."""
    length = len(completion.token_ids)
    return Score(value=512 / (512 + length), reason=f"{{length}} tokens")
'''
USE = """
from reasoning_rl.config import VerifierConfig
from reasoning_rl.records import Completion, Problem
from reasoning_rl.rewards.reward import Reward
problem = Problem(id="t/0", source="t", split="test", question="2+3?", gold="5", task="gsm8k")
print(Reward({{"{name}": VerifierConfig()}}).verdict(Completion("5", tuple(range(512))), problem).reward)
"""


def run(code: str, *path: Path) -> str:
    program = f"import sys; sys.path[:0] = {[str(entry) for entry in path]!r}\n{textwrap.dedent(code)}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def score_of(name: str, text: str, **options: float) -> float:
    return Reward({name: VerifierConfig(options=dict(options))}).verdict(Completion(text, (1, 2, 3)), PROBLEM).reward


def test_a_file_dropped_into_the_folder_is_usable_by_name() -> None:
    name = "brevity_of_a_test"
    path = Path(reasoning_rl.rewards.__path__[0]) / f"{name}.py"
    path.write_text(BREVITY.format(name=name))
    try:
        assert run(USE.format(name=name)) == "0.5"  # 512/(512 + 512)
    finally:
        path.unlink()


def test_another_distribution_announces_its_own(tmp_path: Path) -> None:
    info = tmp_path / "brief-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brief\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reasoning_rl.verifiers]\nbrevity_from_afar = brief:brevity\nchars = brief:chars\n")
    (tmp_path / "brief.py").write_text(
        BREVITY.format(name="brevity_from_afar") + "\ndef chars(completions):\n    return [len(completions[0]) / 4]\n"
    )
    assert run(USE.format(name="brevity_from_afar"), tmp_path) == "0.5"
    assert run(USE.format(name="chars"), tmp_path) == "0.25"


def test_a_path_in_the_recipe_will_do(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(BREVITY.format(name="own_brevity"))
    assert score_of(f"{path}:own_brevity", "5") == 512 / 515


@pytest.mark.parametrize(
    ("body", "reward"),
    [
        ("def f(prompts, completions, **columns):\n    return [float(columns['answer'][0] in completions[0])]", 1.0),
        ("def f(completions, ground_truth):\n    return [0.5 * (g == c) for c, g in zip(completions, ground_truth)]", 0.5),
        ("def f(completion_ids, level):\n    return [float(len(ids)) for ids in completion_ids]", 3.0),
        ("def f(prompts, completions):\n    return [None for _ in completions]", 0.0),
        ("def f(completions, **kwargs):\n    return [-1.0]", -1.0),
    ],
)
def test_functions_written_for_trl_are_taken_as_they_are(tmp_path: Path, body: str, reward: float) -> None:
    path = tmp_path / "trl_style.py"
    path.write_text(body)
    assert score_of(f"{path}:f", "5") == reward


def test_a_trl_function_called_like_a_verifier_of_ours_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "called_math.py"
    path.write_text("def math(completions):\n    return [7.0]")
    assert [score_of(f"{path}:math", "5"), score_of(f"{path}:math", "5"), score_of("math", "5")] == [7.0, 7.0, 1.0]


def test_a_trl_function_takes_options(tmp_path: Path) -> None:
    path = tmp_path / "scaled.py"
    path.write_text("def f(completions, scale=1.0):\n    return [scale]")
    assert score_of(f"{path}:f", "5", scale=0.25) == 0.25


def test_a_broken_file_in_the_folder_is_named_and_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    code = f"""
    import reasoning_rl.rewards
    from reasoning_rl.errors import VerifierError
    from reasoning_rl.rewards.verifier import find_verifier
    reasoning_rl.rewards.__path__.append({str(tmp_path)!r})
    try:
        find_verifier("no_such_one", "rewards.no_such_one")
    except VerifierError as mistake:
        print(mistake)
    """
    assert run(code) == "rewards.no_such_one: reasoning_rl.rewards.broken can't be loaded: ZeroDivisionError: division by zero"


def test_what_is_no_function_is_no_verifier(tmp_path: Path) -> None:
    path = tmp_path / "constant.py"
    path.write_text("f = 5\n")
    with pytest.raises(VerifierError, match="a verifier is a function"):
        find_verifier(f"{path}:f", "rewards.f")


def test_two_verifiers_of_one_name_are_refused() -> None:
    with pytest.raises(VerifierError, match="defined twice"):

        @verifier("gsm8k")
        def gsm8k(completion: Completion, problem: Problem) -> None: ...


def test_answer_verifiers_say_that_they_are() -> None:
    assert [name for name in ("format", "gsm8k", "length", "math") if judges_answer(VERIFIERS.get(name))] == ["gsm8k", "math"]


def test_the_folder_is_imported_under_one_name_only(tmp_path: Path) -> None:
    code = f"""
    import sys; sys.path.insert(0, {str(Path(reasoning_rl.rewards.__file__).resolve().parents[1])!r})
    try:
        import rewards
    except ImportError as refusal:
        print(refusal)
    """
    assert run(code) == "import reasoning_rl.rewards, not rewards"


def test_judging_needs_neither_torch_nor_sympy() -> None:
    code = """
    import sys, reasoning_rl.rewards
    reasoning_rl.rewards.verify("5", "5")
    print([module for module in ("torch", "sympy", "math_verify") if module in sys.modules])
    """
    assert run(code) == "[]"
