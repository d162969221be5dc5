"""One verifier in a process of its own, for ../verifiers.py, which starts it: cases and judgements are JSON lines.

    python -P benchmarks/graders/serve.py math-verify

First comes a line with the verifier's version, or why it can't be had. Each is made to take (completion, gold, task).
"""

import gc
import importlib.metadata
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Grade = Callable[[str, str, str], float | None]
Case = dict[str, Any]
Judgement = tuple[bool, float, str]
"""Taken as correct, seconds, and the error that was raised, if any."""

SLOW_S = 5.0
"""A hostile case is given up after this."""
HEADROOM = 2 << 30
"""Bytes of address space that a hostile case may take beyond what the verifier has when idle."""
SYMBOLIC = r"\begin{pmatrix}1&0\\0&1\end{pmatrix}\begin{pmatrix}2&0\\0&2\end{pmatrix}"
WARM_UP = [
    (rf"So \boxed{{\frac{{{n}}}{{7}}}}.", gold)
    for n in range(1, 6)
    for gold in (rf"\frac{{{n}}}{{7}}", r"3\sqrt{2}+x", r"[1,\infty)", SYMBOLIC)
]
WARM_UP += [(rf"So \boxed{{{SYMBOLIC}}}.", r"\begin{pmatrix}2&0\\0&2\end{pmatrix}")]


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    distribution, build = GRADERS[sys.argv[1]]
    try:
        grade = build()
    except (ImportError, AssertionError) as failure:
        print(json.dumps(["", f"{type(failure).__name__}: {failure}"[:120]]), file=replies)
        return
    for completion, gold in WARM_UP:
        judged(grade, completion, gold, "math")
    print(json.dumps([importlib.metadata.version(distribution), ""]), file=replies)
    for line in sys.stdin:
        cases = json.loads(line)
        gc.collect()
        judge = in_a_fork if hostile(cases) else judged
        print(json.dumps([judge(grade, text_of(case["completion"]), case["gold"], case["task"]) for case in cases]), file=replies)


def text_of(completion: Any) -> str:
    return completion if isinstance(completion, str) else "".join(text * times for text, times in completion["parts"])


def hostile(cases: list[Case]) -> bool:
    return any(not isinstance(case["completion"], str) for case in cases)


def judged(grade: Grade, completion: str, gold: str, task: str) -> Judgement:
    start, value, error = time.perf_counter(), None, ""
    try:
        value = grade(completion, gold, task)
    except Exception as failure:  # noqa: BLE001  # whatever it is, it is this verifier's answer
        error = type(failure).__name__
    return bool(value is not None and value > 0.5), time.perf_counter() - start, error


def in_a_fork(grade: Grade, completion: str, gold: str, task: str) -> Judgement:
    """In a child that is killed when it is late."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + HEADROOM,) * 2)
        os.write(writing, json.dumps(judged(grade, completion, gold, task)).encode())
        os._exit(0)
    os.close(writing)
    in_time = select.select([reading], [], [], SLOW_S)[0]
    reply = os.read(reading, 10_000) if in_time else b""
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    return tuple(json.loads(reply)) if reply else (False, SLOW_S, "died" if in_time else "late")


def reasoning_rl() -> Grade:
    from reasoning_rl.rewards import verify

    return lambda completion, gold, task: verify(completion, gold, task).value


def math_verify() -> Grade:
    """As its documentation has it, with a boxed gold, which it reads best."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    configs = (LatexExtractionConfig(), ExprExtractionConfig())
    return lambda completion, gold, _: float(verify(parse(rf"\boxed{{{gold}}}", configs), parse(completion, configs)))


def trl() -> Grade:
    from trl.rewards import accuracy_reward

    return lambda completion, gold, _: accuracy_reward([[{"content": boxed(completion)}]], [rf"\boxed{{{gold}}}"])[0]


def prime_verifiers() -> Grade:
    from verifiers.v1.utils.score import verify_boxed_math_answer

    return lambda completion, gold, _: verify_boxed_math_answer(boxed(completion), gold)


def verl_dapo() -> Grade:
    """Its rule normalises only what follows `Answer:`, so the last box comes to stand there; of a text it reads the last 300 characters."""
    module = alone("verl", "utils/reward_score/math_dapo.py")

    def grade(completion: str, gold: str, _: str) -> float:
        text = boxed(completion)[-300:]
        box = module.last_boxed_only_string(text)
        return float(module.compute_score(f"Answer: {module.remove_boxed(box)}" if box else text, gold)["acc"])

    return grade


def verl_math() -> Grade:
    grade = alone("verl", "utils/reward_score/math_reward.py").compute_score
    return lambda completion, gold, _: grade(boxed(completion), gold)


def lm_eval() -> Grade:
    from lm_eval.tasks.minerva_math.utils import is_equiv, last_boxed_only_string, normalize_final_answer, remove_boxed

    def grade(completion: str, gold: str, _: str) -> float:
        box = last_boxed_only_string(boxed(completion))
        return float(box is not None and is_equiv(normalize_final_answer(remove_boxed(box)), normalize_final_answer(gold)))

    return grade


GRADERS: dict[str, tuple[str, Callable[[], Grade]]] = {
    "reasoning_rl": ("reasoning-rl", reasoning_rl),
    "math-verify": ("math-verify", math_verify),
    "trl": ("trl", trl),
    "verifiers": ("verifiers", prime_verifiers),
    "verl-dapo": ("verl", verl_dapo),
    "verl-math": ("verl", verl_math),
    "lm-eval": ("lm-eval", lm_eval),
}
"""By name: the distribution it comes with and what imports it."""


def alone(package: str, path: str) -> Any:
    """One file of a package without the package, which would import all it has (Ray, for verl)."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, Path(found.submodule_search_locations[0]) / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def boxed(completion: str) -> str:
    """For verifiers that demand a box: one around the text after the last `A:`, or around a short text, where there is none."""
    if r"\boxed" in completion:
        return completion
    answer = completion.rpartition("A:")[2].rpartition("####")[2].strip()
    return rf"{completion} \boxed{{{answer}}}" if len(answer) < 200 else completion


if __name__ == "__main__":
    main()
