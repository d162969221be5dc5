"""What a step takes on machines that are not at hand: sizes, data sheets, and the share of these that is reached.

    in turn     T = sampling + judging that is left + learning + weights + driver
    beside      T = max(sampling and judging, learning) + weights + driver            off-policy, weights from GPU to GPU: one version
    ahead       T = max(sampling and judging + fetching, learning + publishing + driver)     off-policy, weights through the object store

Sampling goes by forward passes: each reads the weights and the keys of the answers that are not finished. The last answers hold up their
engine alone where it may keep older weights (`ahead`), and everybody elsewhere. Learning is arithmetic beside what FSDP2 sends for it.
Left out: attention's own arithmetic (under 3 % of a 7B's at 1,000 tokens; it grows with their square), evaluations, checkpoints,
restarts, and everybody else on the network.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Mode = Literal["in turn", "beside", "ahead"]
Floats = npt.NDArray[np.float64]

BF16, FP32 = 2, 4
"""Bytes."""
OPTIMISER_BYTES = 28
"""That AdamW reads and writes for a weight in float32: weight, gradient and both moments, and all but the gradient again."""
LEARNER_BYTES = 16
"""Of a weight, its gradient and its moments."""


@dataclass(frozen=True)
class Machine:
    """Of a GPU and its node, as the data sheets have it: NVIDIA's H100 SXM with 80 GB, eight to a node, 400 Gbit/s for each."""

    flop_s: float = 989e12
    """Dense, in bfloat16."""
    memory_bytes: float = 80e9
    memory_bytes_s: float = 3.35e12
    inside_bytes_s: float = 450e9
    """To other GPUs of the node, one way."""
    between_bytes_s: float = 50e9
    """To other nodes, one way."""
    host_bytes_s: float = 64e9
    """To the memory of the host, one way: PCIe 5.0 x16."""
    gpus_per_node: int = 8


@dataclass(frozen=True)
class Reached:
    """Shares of the data sheet, and times. None was measured on a GPU; those that have a line in docs/scaling.md were on a CPU."""

    mfu: float = 0.40
    """Learning and reading prompts."""
    memory: float = 0.60
    link: float = 0.70
    hidden: float = 0.80
    """Of the learner's arithmetic, the share that sending can hide behind."""
    pass_s: float = 2e-3
    """Of a forward pass of the engine: scheduling, drawing, launching."""
    hop_s: float = 1e-5
    """Of a collective, from one rank to the next."""
    judge_s: float = 9e-4
    """An answer, on a core."""
    answer_s: float = 4e-5
    """The driver's work for an answer: its credit, its row, its way to the learners."""
    token_s: float = 4e-7
    """The driver's work for a token."""
    call_s: float = 7e-4
    """Of the driver, to ask an actor."""
    summed_bytes_s: float = 9e8
    """Of weights in float32 whose fingerprint a core takes; through the object store every sampler does."""


@dataclass(frozen=True)
class Shape:
    """Of a model; Qwen2.5-7B's, from its config.json."""

    weights: float = 7.62e9
    layers: int = 28
    width: int = 3584
    kv_width: int = 512
    """Heads times width of a head, of keys alone."""

    @property
    def kv_bytes(self) -> float:
        """Of keys and values of a token, in bfloat16."""
        return 2 * self.layers * self.kv_width * BF16


@dataclass(frozen=True)
class Work:
    """Of a step."""

    prompts: int = 128
    answers: int = 8
    """Of each."""
    prompt_tokens: float = 128
    answer_tokens: float = 300
    """In the mean. Lengths fall off exponentially up to the limit."""
    max_tokens: int = 1024
    forwards: int = 1
    """Passes of the learner besides forward and backward: one for π_old, one for a reference."""
    checkpointing: bool = True

    @property
    def total(self) -> int:
        return self.prompts * self.answers

    @property
    def positions(self) -> float:
        """That the learner computes: a group's prompt is shared."""
        return self.prompts * self.prompt_tokens + self.total * self.answer_tokens

    @property
    def unfinished(self) -> Floats:
        """Share of answers that have more tokens than 0, 1, 2 …"""
        return np.exp(-np.arange(self.max_tokens) / self._fall)

    @property
    def _fall(self) -> float:
        """Tokens in which unfinished answers fall to 1/e, so that with the limit the mean is as told."""

        def excess(fall: float) -> float:
            return float(np.exp(-np.arange(self.max_tokens) / fall).sum()) - self.answer_tokens

        return float(brentq(excess, 1e-3, 1e9))


@dataclass(frozen=True)
class Layout:
    """Who does what. Learners and samplers have GPUs of their own."""

    learners: int = 4
    engines: int = 4
    tensor_parallel: int = 1
    judges: int = 32
    """Cores."""
    mode: Mode = "in turn"
    microbatch_tokens: int = 32_768
    cores: int = 8
    """Of a sampler."""

    @property
    def gpus(self) -> int:
        return self.learners + self.engines * self.tensor_parallel


@dataclass(frozen=True)
class Step:
    """Predicts the parts of a step, in seconds."""

    work: Work
    layout: Layout
    shape: Shape = Shape()
    machine: Machine = Machine()
    reached: Reached = Reached()

    def seconds(self) -> dict[str, float]:
        """By part, and `step`: all of it."""
        sample, learn, publish, fetch, driver = self.sample(), self.learn(), self.publish(), self.fetch(), self.driver()
        judge = max(self.judge() - sample, 0.0) + self.reached.judge_s
        parts = {"sample": sample, "judge": judge, "learn": learn, "publish": publish, "fetch": fetch, "driver": driver}
        steps = {
            "in turn": sum(parts.values()),
            "beside": max(sample + judge, learn) + publish + fetch + driver,
            "ahead": max(sample + judge + fetch, learn + publish + driver),
        }
        return {**parts, "step": steps[self.layout.mode]}

    def sample(self) -> float:
        """Until the last answer that somebody waits for is finished."""
        rows = max(self.work.total / self.layout.engines, 1.0)
        slots = min(rows, self.slots())
        full = (rows - slots) * self.work.answer_tokens / slots * float(self._pass_s(np.array([slots]))[0])
        company = rows if self.layout.mode == "ahead" else self.work.total
        unfinished = self.work.unfinished
        somebody = -np.expm1(company * np.log1p(-np.minimum(unfinished, 1 - 1e-12)))
        tail = float((somebody * self._pass_s(np.maximum(slots * unfinished, 1.0))).sum())
        return full + tail + self._read_s()

    def slots(self) -> float:
        """Answers that an engine's memory holds at once. ValueError where not one fits beside the weights."""
        parallel = self.layout.tensor_parallel
        room = 0.9 * self.machine.memory_bytes * parallel - BF16 * self.shape.weights
        held = room / (self.shape.kv_bytes * (self.work.prompt_tokens + self.work.answer_tokens))
        if held < 1:
            raise ValueError(f"tensor_parallel: weights of {BF16 * self.shape.weights:.3g} bytes leave no room on {parallel} GPUs")
        return held

    def _pass_s(self, rows: Floats) -> Floats:
        """A forward pass for one more token of so many answers: memory or arithmetic, whichever takes longer."""
        parallel, context = self.layout.tensor_parallel, self.work.prompt_tokens + self.work.answer_tokens / 2
        read = BF16 * self.shape.weights + rows * context * self.shape.kv_bytes
        memory = read / parallel / (self.machine.memory_bytes_s * self.reached.memory)
        computed = 2 * self.shape.weights * rows / parallel / (self.machine.flop_s * self.reached.mfu)
        sent = 2 * self.shape.layers * (parallel - 1) * self.reached.hop_s
        return np.maximum(memory, computed) + sent + self.reached.pass_s

    def _read_s(self) -> float:
        """Prompts, each once for its group."""
        tokens = self.work.prompts * self.work.prompt_tokens / self.layout.engines
        return 2 * self.shape.weights * tokens / self.layout.tensor_parallel / (self.machine.flop_s * self.reached.mfu)

    def judge(self) -> float:
        """All answers, on all cores."""
        return self.work.total * self.reached.judge_s / self.layout.judges

    def learn(self) -> float:
        """Arithmetic, what of FSDP2's messages it can't hide, and the optimiser."""
        computed = self._computed_s()
        optimiser = OPTIMISER_BYTES * self.shape.weights / self.layout.learners / (self.machine.memory_bytes_s * self.reached.memory)
        return computed + max(self._sent_s() - self.reached.hidden * computed, 0.0) + optimiser

    def _computed_s(self) -> float:
        """Kaplan et al., arXiv:2001.08361, §2.1: 2 FLOPs a weight and position forwards, 4 backwards."""
        passes = 6 + 2 * self.work.forwards + 2 * self.work.checkpointing
        return passes * self.shape.weights * self.work.positions / (self.layout.learners * self.machine.flop_s * self.reached.mfu)

    def _sent_s(self) -> float:
        """For each micro-batch: weights gathered for every pass over the layers, gradients added up and shared out, in float32."""
        ranks = self.layout.learners
        batches = math.ceil(self.work.positions / ranks / self.layout.microbatch_tokens)
        gathers = 2 + self.work.forwards
        sent = (ranks - 1) / ranks * self.shape.weights * (BF16 * gathers + FP32)
        hops = self.shape.layers * (gathers + 1) * (ranks - 1) * self.reached.hop_s
        return batches * (sent / self._link(ranks) + hops)

    def _link(self, gpus: int) -> float:
        """Bytes a second between so many GPUs side by side: the slowest link decides."""
        inside = gpus <= self.machine.gpus_per_node
        return (self.machine.inside_bytes_s if inside else self.machine.between_bytes_s) * self.reached.link

    def publish(self) -> float:
        """From the learners' shares to where samplers find them: into the store of one host, or in all GPUs."""
        ranks, whole = self.layout.learners, FP32 * self.shape.weights
        gathered = (ranks - 1) / ranks * whole / self._link(ranks)
        if self.layout.mode == "ahead":
            return gathered + whole / (self.machine.host_bytes_s * self.reached.link)
        sent = BF16 * self.shape.weights / (self.machine.between_bytes_s * self.reached.link)
        return gathered + sent + self.layout.gpus * self.reached.hop_s

    def fetch(self) -> float:
        """What a sampler does for it besides: from store to store, where who has it passes it on, its fingerprint, and into the GPU."""
        if self.layout.mode != "ahead":
            return 0.0
        whole, nodes = FP32 * self.shape.weights, self.layout.engines * self.layout.tensor_parallel / self.machine.gpus_per_node
        passed_on = math.ceil(math.log2(math.ceil(nodes) + 1)) * whole / (self.machine.between_bytes_s * self.reached.link)
        summed = whole / (self.reached.summed_bytes_s * self.layout.cores)
        return passed_on + summed + whole / (self.machine.host_bytes_s * self.reached.link)

    def driver(self) -> float:
        """What one process does for everybody."""
        tokens = self.work.total * self.work.answer_tokens
        actors = self.layout.learners + self.layout.engines
        return self.work.total * self.reached.answer_s + tokens * self.reached.token_s + actors * self.reached.call_s

    def fits(self) -> bool:
        """Whether learners hold their shares in nine tenths of their memory, activations left out."""
        return LEARNER_BYTES * self.shape.weights / self.layout.learners < 0.9 * self.machine.memory_bytes


def best(work: Work, gpus: int, mode: Mode, reached: Reached) -> Step:
    """The split of so many GPUs between learners and engines of one GPU each that makes the shortest step. ValueError where none fits."""
    judges = 4 * gpus
    splits = [Layout(learners, gpus - learners, judges=judges, mode=mode) for learners in range(1, gpus)]
    steps = [step for layout in splits if (step := Step(work, layout, reached=reached)).fits()]
    if not steps:
        raise ValueError(f"{gpus} GPUs: too few for weights, gradients and moments of {Shape().weights:.3g} weights, and for a sampler")
    return min(steps, key=lambda step: step.seconds()["step"])


def inputs(reached: Reached) -> Mapping[str, Mapping[str, float]]:
    """What is put in, to stand beside what comes out."""
    return {"machine": asdict(Machine()), "reached": asdict(reached), "shape": asdict(Shape())}
