r"""Coverage-guided fuzzing of `verify` with atheris (libFuzzer); needs the extra `fuzz`. Options with one dash are libFuzzer's.

    python tests/fuzz/fuzz_verify.py fuzz-corpus -max_total_time=180 -timeout=10

It ends at the first input on which `verify` raises, takes longer than -timeout, creates a file, or returns what is no judgement, and
prints that input as Python literals. libFuzzer keeps it in `crash-…` or `timeout-…`: with that file as the only argument it is printed
and judged again.

An input's last bytes choose the task and where the answer stands; the rest is completion and gold, apart by `\x1f`. Half the mutations
are of tokens and braces rather than of bytes. The symbolic stage works in a process of its own: what it does there gives no coverage,
but its guards and its replies are on this side. `--no-symbols` leaves that process out.
"""

import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any, get_args
from unittest.mock import patch

from fuzz_texts import DICTIONARY, TOKENS, answer, damaged, pairs

APART = "\x1f"
SHAPES = ("{}", r"\boxed{{{}}}", "<answer>{}</answer>", "#### {}", "The answer is {}.")
TASKS = ("math", "gsm8k")
SEEDS = 2000
LONGEST = 4096


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["reasoning_rl"]):
        from reasoning_rl.rewards.equality import equivalence
    if "--no-symbols" in sys.argv:
        patch.object(equivalence, "decide_symbolically", new=lambda *_: ("unparsable", "left out")).start()
    options, folders = _arguments()
    home = Path(tempfile.mkdtemp(prefix="fuzz-verify-"))
    again = bool(folders) and folders[0].is_file()
    if folders and not again:
        _plant(folders[0])
    os.chdir(home)

    def one(data: bytes) -> None:
        completion, gold, task = _read(atheris.FuzzedDataProvider(data))
        if again:
            print(f"verify({completion!r}, {gold!r}, {task!r})", file=sys.stderr)
        try:
            _judge(completion, gold, task)
        except BaseException:
            print(f"verify({completion!r}, {gold!r}, {task!r})", file=sys.stderr)
            raise
        left = list(home.iterdir())
        assert not left, f"verify({completion!r}, {gold!r}, {task!r}) created {left}"

    atheris.Setup([sys.argv[0], *options, *map(str, folders)], one, custom_mutator=_mutator(atheris))
    atheris.Fuzz()


def _arguments() -> tuple[list[str], list[Path]]:
    """libFuzzer's options and the corpus folders or inputs; findings go to the folder that this was started in."""
    options = [argument for argument in sys.argv[1:] if argument.startswith("-") and not argument.startswith("--")]
    defaults = {"-max_len": LONGEST, "-dict": DICTIONARY, "-artifact_prefix": f"{Path.cwd()}/", "-rss_limit_mb": 2048}
    given = {option.partition("=")[0] for option in options}
    options += [f"{name}={value}" for name, value in defaults.items() if name not in given]
    return options, [Path(argument).absolute() for argument in sys.argv[1:] if not argument.startswith("-")]


def _plant(folder: Path) -> None:
    """Fill a new corpus folder with generated texts."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    for index, (completion, gold, _) in enumerate(pairs(0, SEEDS)):
        (folder / f"generated-{index}").write_bytes(f"{completion}{APART}{gold}".encode() + bytes([index % 2, 0]))


def _read(provider: Any) -> tuple[str, str, str]:
    """FuzzedDataProvider takes integers from the end, so that the text before them stays as it is."""
    shape = SHAPES[provider.ConsumeIntInRange(0, len(SHAPES) - 1)]
    task = TASKS[provider.ConsumeIntInRange(0, len(TASKS) - 1)]
    text = provider.ConsumeBytes(provider.remaining_bytes()).decode("utf-8", "replace")
    inside, _, gold = text.partition(APART)
    return shape.format(inside), gold or inside, task


def _judge(completion: str, gold: str, task: str) -> None:
    from reasoning_rl.records import Outcome
    from reasoning_rl.rewards import verify
    from reasoning_rl.rewards.equality.bounded import fit_for_symbols
    from reasoning_rl.rewards.equality.tidy import tidy

    score = verify(completion, gold, task)
    assert score.verdict in set(get_args(Outcome)) - {"error"}, score
    assert score.value == float(score.verdict == "correct"), score
    assert score.strict in {0.0, score.value}, score
    fit_for_symbols(tidy(gold[:LONGEST]), tidy((score.answer or "")[:LONGEST]))  # must not raise


def _mutator(atheris: Any) -> Any:
    """Every second mutation is one of the generator's accidents or a fresh answer; the others are libFuzzer's own."""

    def mutated(data: bytes, longest: int, seed: int) -> bytes:
        rng = Random(seed)
        if rng.random() < 0.5 or len(data) < 3:
            result: bytes = atheris.Mutate(data, longest)  # there only once it fuzzes
            return result
        text, end = data[:-2].decode("utf-8", "replace"), data[-2:]
        before, _, gold = text.partition(APART)
        change = rng.randrange(4)
        before = damaged(rng, before, rng.choice([1, 2, 4])) if change < 2 else answer(rng) if change == 2 else before
        gold = rng.choice([gold, before, damaged(rng, gold, 1), answer(rng), rng.choice(TOKENS)]) if change else gold
        return f"{before}{APART}{gold}".encode("utf-8", "replace")[: longest - 2] + end

    return mutated


if __name__ == "__main__":
    main()
