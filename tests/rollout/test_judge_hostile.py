"""Fifty of a thousand items are hostile, by their text or by what they make a verifier do; the others are judged as if alone."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_rl.config import JudgeConfig, VerifierConfig
from reasoning_rl.records import Completion, Problem, Score, Verdict
from reasoning_rl.rewards.reward import Reward
from reasoning_rl.rollout.judge import Judge

MEMORY_MIB = 512
TASTE = '''
import os, resource, signal, subprocess, sys, threading, time
from pathlib import Path
from reasoning_rl.records import Score

KEPT = []


def hang():
    while True:
        pass


def sleep():
    time.sleep(3600)


def swallow():
    """Can't be interrupted from within."""
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass


def hoard():
    while True:
        KEPT.append(bytearray(32 << 20))


def recurse():
    return recurse()


def scribble():
    """Prints, and leaves the usual places."""
    os.write(1, b"[]" * 5000)
    print({"verdict": "correct"}, file=sys.stdout, flush=True)
    os.chdir("/")


def linger():
    """Leaves a thread that never ends."""
    threading.Thread(target=time.sleep, args=(3600,)).start()


def taste(completion, problem):
    """A verifier that does what it is told behind the word `do`."""
    told, _, name = completion.text.partition("do ")
    deeds = {
        "hang": hang, "sleep": sleep, "swallow": swallow, "hoard": hoard, "recurse": recurse, "scribble": scribble, "linger": linger,
        "leave": lambda: os._exit(0), "quit": lambda: sys.exit("enough"), "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "allocate": lambda: bytearray(1 << 40), "raise": lambda: 1 // 0,
    }
    if not told and name in deeds:
        deeds[name]()
    if not told and name == "measure":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return Score(1.0, reason=str(resource.getrlimit(resource.RLIMIT_AS)[0] - pages * resource.getpagesize()))
    return Score(1.0, reason="fine")
'''  # fmt: skip
DEEDS = {
    "hang": "timeout", "sleep": "timeout", "swallow": "timeout", "hoard": "too_large", "allocate": "too_large", "recurse": "error",
    "raise": "error", "leave": "error", "quit": "error", "kill": "error", "crash": "error",
    "scribble": "scored", "linger": "scored", "interrupt": "scored",
}  # fmt: skip
"""What a verifier is made to do, and what it gets for it."""
TEXTS = [
    r"\boxed{9^{9^{9^{9}}}}",
    r"\boxed{9**9**9**9}",
    r"\boxed{" + "2^{" * 300 + "2" + "}" * 300 + "}",
    r"\boxed{((9!)!)!}",
    r"\boxed{170!!!!!!!!!!!!}",
    r"\boxed{" + "9" * 1_000_000 + "}",
    r"\boxed{" + "(" * 500_000 + ")" * 500_000 + "}",
    r"\boxed{" + r"\frac{1}{" * 60_000 + "2" + "}" * 60_000 + "}",
    r"\boxed{" * 100_000,
    "x" * 1_000_000,
    r"\boxed{" + "1," * 500_000 + "1}",
    r"\boxed{__import__('os').system('touch canary')}",
    r"\boxed{open('canary', 'w')}",
    r"\boxed{\input{/etc/passwd}\write18{touch canary}}",
    r"\boxed{\sum_{k=1}^{10^{12}} k^{k}}",
    "\x00\ud800\u202e" * 10_000,
    r"\boxed{\sqrt{" * 5_000 + "4" + "}}" * 5_000,
    r"\boxed{10^{10^{10}} - 10^{10^{10}} + 6}",
]
HOSTILE = 50
INNOCENT = [
    "I add 2 and 3.\n#### 5", r"So \boxed{\frac{10}{2}}.", "The answer is 4.", "No idea.", r"\boxed{x = 5}", "<answer>5.0</answer>",
    r"\boxed{5} or \boxed{6}", "It is 2 and 3, so 5 apples.", r"$\sqrt{25}$", r"\boxed{7}",
]  # fmt: skip


def thousand() -> list[tuple[Completion, Problem]]:
    """950 innocent items with a hostile one after every nineteen of them."""
    wicked = [*(f"do {deed}" for deed in DEEDS), *TEXTS]
    texts = [wicked[n // 20 % len(wicked)] if n % 20 == 19 else f"{INNOCENT[n % len(INNOCENT)]}" for n in range(1000)]
    return [(Completion(text, (n,)), Problem(f"t/{n}", "t", "test", "2+3?", "5", task="math")) for n, text in enumerate(texts)]


def timeless(verdict: Verdict) -> Verdict:
    scores = {name: replace(score, seconds=0.0) for name, score in verdict.scores.items()}
    return replace(verdict, scores=scores, answer=verdict.answer and replace(verdict.answer, seconds=0.0))


def workers_of_this_process() -> Iterator[str]:
    """States of its children that judge, dead or alive."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = stat.with_name("cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        if int(parent) == os.getpid() and (state == "Z" or b"judge_worker" in command):
            yield state


@pytest.fixture(name="rewards")
def _rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, VerifierConfig]:
    """Two verifiers; the process stands in an empty folder."""
    for name in ("code", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "code" / "taste.py").write_text(TASTE)
    monkeypatch.chdir(tmp_path / "here")
    return {"math": VerifierConfig(), f"{tmp_path}/code/taste.py:taste": VerifierConfig(weight=0.5)}


@pytest.mark.slow
def test_fifty_hostile_items_leave_the_others_memory_and_the_disk_alone(rewards: dict[str, VerifierConfig]) -> None:
    items, found = thousand(), list[Verdict]()
    zombies = list(workers_of_this_process())
    with Judge(rewards, JudgeConfig(workers=2, deadline_s=2, memory_mib=MEMORY_MIB)) as judge:
        thread = threading.Thread(target=lambda: found.extend(judge.judge(items)))
        thread.start()
        thread.join()
    alone = Reward(rewards)
    innocent = [n for n in range(1000) if n % 20 != 19]
    assert [timeless(found[n]) for n in innocent] == [timeless(alone.verdict(*items[n])) for n in innocent]
    assert len(found) - len(innocent) == HOSTILE
    assert not any(found[n].correct for n in range(1000) if n % 20 == 19 and items[n][0].text in TEXTS)
    assert list(Path().iterdir()) == []
    assert list(workers_of_this_process()) == zombies


@pytest.mark.parametrize("deed", DEEDS)
def test_each_deed_has_its_outcome_and_the_next_item_none_of_it(deed: str, rewards: dict[str, VerifierConfig]) -> None:
    texts = ["5", f"do {deed}", "5"]
    deadline_s = 1 if DEEDS[deed] == "timeout" else 60  # the others need not be quick
    with Judge(rewards, JudgeConfig(deadline_s=deadline_s, memory_mib=MEMORY_MIB)) as judge:
        verdicts = judge.judge([(Completion(text, ()), Problem("t/0", "t", "test", "2+3?", "5")) for text in texts])
    outcomes = [list(verdict.scores.values())[1].verdict for verdict in verdicts]
    assert outcomes == ["scored", DEEDS[deed], "scored"]
    assert [verdict.reward for verdict in verdicts[::2]] == [1.5, 1.5]


def test_a_worker_cannot_take_more_memory_than_the_judge_allows(rewards: dict[str, VerifierConfig]) -> None:
    with Judge(rewards, JudgeConfig(memory_mib=MEMORY_MIB)) as judge:
        (verdict,) = judge.judge([(Completion("do measure", ()), Problem("t/0", "t", "test", "2+3?", "5"))])
    left = int(list(verdict.scores.values())[1].reason)
    assert 0 < left <= MEMORY_MIB << 20


def test_lost_items_say_so_of_each_verifier(rewards: dict[str, VerifierConfig]) -> None:
    with Judge(rewards, JudgeConfig(memory_mib=MEMORY_MIB)) as judge:
        (verdict,) = judge.judge([(Completion("do kill", ()), Problem("t/0", "t", "test", "2+3?", "5"))])
    assert set(verdict.scores.values()) == {Score(0.0, "error", "the worker was ended by SIGKILL while judging it")}
