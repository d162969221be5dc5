"""The config tree: what a recipe may say. Frozen, typed, unknown keys refused.

Each stage receives its own section, never the tree. Files and command lines become a tree in `recipes/__init__.py`.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Strict,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of a running mean: at 1 it would never move."""


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise PydanticCustomError("run_name", "Input should be letters, digits, '.', '_' and '-', beginning with none of '.' and '-'")
    if name.lower() == "cache":  # some file systems take Cache for the same
        raise PydanticCustomError("run_name", "Input should be another: `cache` holds the cold starts, which runs share")
    return name


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False)


class ArithmeticConfig(Section):
    """The generator of grade-school word problems (source `arithmetic`)."""

    train_problems: PositiveInt = 20_000
    eval_problems: PositiveInt = 500
    steps: tuple[PositiveInt, PositiveInt] = (1, 4)
    """Fewest and most steps of a solution, drawn uniformly."""
    largest_operand: Annotated[int, Field(ge=5, le=1000)] = 20
    largest_value: Annotated[int, Field(ge=10, le=100_000)] = 99
    """No intermediate value exceeds it; the smallest is 2."""
    demonstrations: NonNegativeInt = 64_000
    """Worked examples for the cold start, on problems of their own."""
    direct_fraction: Fraction = 0.5
    """Share of demonstrations that give the right answer at once, without working."""
    slip_rate: Fraction = 0.1
    """Chance that a worked step slips; the rest of the working carries on from the slip."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.steps[0] > self.steps[1]:
            raise ValueError(f"steps: the fewest ({self.steps[0]}) exceeds the most ({self.steps[1]})")
        return self


class DataConfig(Section):
    source: str = "arithmetic"
    """`arithmetic`, `gsm8k`, `hendrycks_math`, or `files` for your own."""
    path: Path | None = None
    """A folder (holding `<split>.jsonl` or `.parquet`) or a file, read instead of the hub."""
    eval_path: Path | None = None
    """A file with the held-out problems, where they don't lie in `path`."""
    revision: str | None = None
    """Commit of the data set on the hub; None takes the one the source pins."""
    train_split: str = "train"
    eval_split: str = "test"
    train_limit: PositiveInt | None = None
    eval_limit: PositiveInt | None = None
    columns: dict[str, str] = {}
    """Source `files`: names of your columns for `question`, `answer`, and, if you have them, `solution`, `level`, `subject`."""
    task: Literal["gsm8k", "math"] | None = None
    """Source `files`: convention of your gold answers."""
    template: str = "r1"
    """`r1`, `boxed`, `few_shot`, `chat`, `plain`, or a text with `{question}`."""
    max_prompt_tokens: PositiveInt = 384
    decontaminate_ngram: Annotated[int, Field(ge=0)] = 13
    """Words of a shared run that set a training problem aside; 0 compares whole questions only."""
    near_duplicate: Fraction = 0.9
    """Jaccard similarity of word 3-grams from which a training problem repeats an earlier one; 1 removes exact repeats only."""
    strict: bool = False
    """Stop at the first broken row, where otherwise it is listed and left out."""
    vocabulary: Annotated[int, Field(ge=300, le=65_536)] = 512
    """Size of the tokenizer trained on the data, for recipes without a pretrained policy."""
    arithmetic: ArithmeticConfig = ArithmeticConfig()


class ArchitectureConfig(Section):
    """A small Qwen3-style model, built and trained from nothing."""

    layers: PositiveInt = 4
    width: PositiveInt = 128
    heads: PositiveInt = 4
    kv_heads: PositiveInt = 2
    head_width: PositiveInt = 32
    mlp_width: PositiveInt = 384
    context: PositiveInt = 512

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.head_width % 2:
            raise ValueError(f"head_width must be even, for rotary positions; it is {self.head_width}")
        return self


class LoRAConfig(Section):
    """Low-rank adapters that are trained in the weights' stead (arXiv:2106.09685), through peft. The cold start trains the weights.

    There is no dropout: the learner would score another policy than the one that sampled.
    """

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    """α: the product of the two matrices counts α/rank times."""
    targets: list[str] = []
    """Linear layers that get adapters, by the end of their names, such as `q_proj`; all but the output embedding if empty."""


class PolicyConfig(Section):
    model: str | None = None
    """A Hugging Face folder or hub id; None builds `architecture` from nothing."""
    revision: str | None = None
    architecture: ArchitectureConfig = ArchitectureConfig()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights that the optimiser holds."""
    autocast: Literal["auto", "off", "bfloat16"] = "auto"
    """Matrix products in bfloat16; `auto` where the processor gains from it. Attention is in float32 on CPUs: bfloat16 is slow there."""
    gradient_checkpointing: bool = False
    logits_mib: PositiveInt = 512
    """Memory for logits and what is computed from them, whatever the vocabulary: it decides how many tokens have theirs at one time."""
    lora: LoRAConfig | None = None
    compile: bool = False
    """Let torch.compile fuse what each layer does outside attention. The first steps wait for it."""


class ColdStartConfig(Section):
    """Supervised warm-up on demonstrations (R1's cold start), with loss on the completion only."""

    enabled: bool = True
    steps: PositiveInt = 1000
    batch_size: PositiveInt = 64
    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: PositiveFloat = 3e-3
    """Of AdamW: of every parameter, or beside Muon of embeddings and norms."""
    muon_learning_rate: PositiveFloat = 0.02
    weight_decay: NonNegativeFloat = 0.01
    warmup_steps: NonNegativeInt = 40
    flat_until: Fraction = 0.3
    """Share of the steps at the full rate, before it falls linearly to `final_fraction` of it."""
    final_fraction: Fraction = 0.02
    max_grad_norm: PositiveFloat = 1.0


class VLLMConfig(Section):
    """How vLLM shares the machine with the learner. None of it changes what is sampled, but for rounding."""

    memory: Annotated[float, Field(gt=0, lt=1)] = 0.45
    """Share of the GPU's memory for its weights and its attention cache, beside which the learner's weights and moments must fit. With
    `sleep` its activations have this share too."""
    cpu_cache_gib: PositiveFloat = 1.0
    """Size of that cache on a CPU."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of its weights and arithmetic; `auto` takes what the policy computes in on a GPU, and the type of the policy's weights on a CPU."""
    sleep: bool = True
    """Give the GPU's memory back while the learner works."""
    eager: bool = False
    """No CUDA graphs: it starts sooner and samples more slowly. On a CPU it is always so."""


class SamplingConfig(Section):
    engine: Literal["auto", "local", "vllm"] = "auto"
    """`local` is the engine of this package, `vllm` that of vLLM. `auto` takes vLLM where there are a GPU and vLLM, and else `local`."""
    vllm: VLLMConfig = VLLMConfig()
    prompts_per_step: PositiveInt = 32
    group_size: Annotated[int, Field(ge=2)] = 16
    """G, answers per prompt: the baseline is their mean, so one is not enough."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: NonNegativeInt = 0
    """0 keeps the whole vocabulary."""
    max_tokens: PositiveInt = 64
    stop: list[str] = []
    """Texts that end an answer, kept in it; the end-of-sequence token always does."""
    batch_rows: PositiveInt = 1024
    """Answers that are sampled at a time."""
    dynamic: bool = False
    """Learn only from groups with right and wrong answers, and ask more questions until there are `prompts_per_step` of them (DAPO)."""
    max_rounds: PositiveInt = 10
    """Of questions in a step of dynamic sampling; the step makes do with the groups there are then."""


class VerifierConfig(Section):
    weight: Annotated[float, Strict()] = 1.0
    """A number; `true` is none."""
    options: dict[str, bool | int | float | str] = {}
    """Passed to the verifier as keyword arguments."""
    gate: Literal["none", "answered", "correct"] = "none"
    """The weighted value counts only where an answer was found, or is correct. The score itself is recorded as it is."""


class JudgeConfig(Section):
    workers: PositiveInt = 1
    deadline_s: PositiveFloat = 5.0
    """Wall-clock limit of one completion; the worker is killed at it and the verdict is `timeout`."""
    memory_mib: Annotated[int, Field(ge=256)] = 2048
    """Address space of a worker beyond what it has at its start."""


class ObjectiveConfig(Section):
    """A row of the table of objectives, and what to change in it: None leaves a setting as the row has it."""

    name: str = "grpo"
    kl: NonNegativeFloat | None = None
    """β; 0 needs no reference model."""
    kl_estimator: Literal["k1", "k2", "k3"] | None = None
    kl_in: Literal["loss", "reward"] | None = None
    kl_ratio: bool | None = None
    """In the loss: weigh the estimate of each token with its ratio π_θ/π_old. Off-policy it then stays unbiased in value."""
    clip_low: PositiveFloat | None = None
    clip_high: PositiveFloat | None = None
    clip_dual: Annotated[float, Field(gt=1)] | None = None
    """c of dual-clip PPO (arXiv:1912.09729): the loss of a token with A < 0 goes no higher than c·|A|."""
    surrogate: Literal["clipped", "reweighted", "score"] | None = None
    """PPO's, CISPO's, or that of REINFORCE."""
    ratio: Literal["token", "sequence", "sequence_token"] | None = None
    supervision: Literal["outcome", "process"] | None = None
    """Rewards of whole answers, or of the steps that a verifier such as `steps` finds in them."""
    outcome_step: bool | None = None
    """With `process`: whether the verdict's reward is one more step, at the last token."""
    combine: Literal["sum_then_normalise", "normalise_then_sum"] | None = None
    """Where there are several verifiers: the advantage of the summed reward, or the weighted sum of the advantages by each."""
    baseline: Literal["mean", "others", "none"] | None = None
    """What is subtracted from a reward: the group's mean, the mean of the others in it, or nothing."""
    scale: Literal["group", "batch", "none"] | None = None
    """Whose standard deviation advantages are divided by."""
    ddof: Literal[0, 1] | None = None
    """Of that standard deviation."""
    epsilon: NonNegativeFloat | None = None
    """Added to that standard deviation, and to that of whitening."""
    whiten: bool | None = None
    """Bring advantages to mean 0 and variance 1 over all tokens of the optimiser batch."""
    weight: Literal["sequence", "token", "budget", "answer"] | None = None
    """What a token counts: 1/(N·|o|), 1/Σ|o|, 1/(N·sampling.max_tokens) or 1/N."""
    entropy: NonNegativeFloat | None = None
    """Coefficient of the entropy bonus, per token in nats."""
    top_entropy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the batch's tokens, those of highest entropy, that the policy learns from (arXiv:2506.01939)."""
    correction: Literal["none", "token", "sequence"] | None = None
    """Importance weights of the learner against the sampler: of each token, or of each answer (the product over its tokens)."""
    correction_cap: PositiveFloat | None = None
    correction_beyond: Literal["truncate", "mask"] | None = None
    """What becomes of weights above the cap: the cap itself, or 0."""
    mask_truncated: bool | None = None
    """Learn nothing from answers that were cut off at `sampling.max_tokens`; the baseline still counts them."""
    gamma: Fraction | None = None
    lam: Fraction | None = None
    """λ of generalised advantage estimation."""
    value_clip: PositiveFloat | None = None
    value_weight: PositiveFloat | None = None
    beta: PositiveFloat | None = None
    """Of preference objectives: how steeply a margin counts."""
    gap: NonNegativeFloat | None = None
    """γ of SimPO, the margin aimed at."""
    pairs: PositiveInt | None = None
    """Pairs of right and wrong answers made of a group, at most."""
    match_lengths: bool | None = None
    """Pair each right answer with the wrong one that is nearest in length, so that length is not what is learned."""
    options: dict[str, bool | int | float | str] = {}
    """Fields of an objective of your own that have no setting here."""

    @model_serializer(mode="wrap")
    def _changes(self, full: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Only what is changed in the row."""
        return {name: value for name, value in full(self).items() if value is not None and value != {}}


class LearnerConfig(Section):
    learning_rate: PositiveFloat = 5e-4
    value_learning_rate: PositiveFloat | None = None
    """Of the value model, where the objective has one; None takes `learning_rate`."""
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    weight_decay: NonNegativeFloat = 0.0
    warmup_steps: NonNegativeInt = 5
    final_fraction: Fraction = 0.1
    """The rate falls linearly to this share of itself at the last step."""
    max_grad_norm: PositiveFloat = 1.0
    optimizer: Literal["adamw", "adamw8bit", "paged_adamw8bit"] = "adamw"
    """AdamW with moments in float32; in eight bits, by bitsandbytes, a quarter of the memory; or those in pages that leave a full GPU."""
    adamw_kernel: Literal["auto", "loop", "foreach", "fused"] = "auto"
    """Which of torch's implementations of `adamw`: `auto` is `fused` on a GPU, the leanest and fastest there, and `loop` on a CPU."""
    master_weights: bool = False
    """With policy.dtype=bfloat16: step on float32 copies of the weights, so that no update is too small for bfloat16's eight bits."""
    epochs: PositiveInt = 1
    """Passes over the samples of a step (μ of DeepSeekMath's Algorithm 1)."""
    minibatches: PositiveInt = 1
    """Optimiser steps per pass."""
    tokens_per_microbatch: PositiveInt = 32_768
    """Bounds memory and changes nothing else: the gradient is that of the whole optimiser batch."""
    old_logprobs: Literal["engine", "learner"] = "learner"
    """π_old: as the engine reported it when it sampled (untruncated: top_p 1, top_k 0), or recomputed by the learner before it updates."""
    reference_every: NonNegativeInt = 0
    """Steps after which the policy as it is becomes the reference (iterative GRPO, DeepSeekMath §4.1.4); 0 keeps the first."""
    halve_when_out_of_memory: bool = False
    """Where an update runs out of memory before it has changed a weight, halve `tokens_per_microbatch` for the rest of the run and do it
    again, down to the longest sample. Needs `processes` 1."""
    processes: Literal[1, 2, 3, 4] = 1
    """Data-parallel processes of one thread each; on two cores, 2 are faster than 1 with two threads."""

    @model_validator(mode="after")
    def _halved_alone(self) -> Self:
        if self.halve_when_out_of_memory and self.processes > 1:
            raise ValueError(f"halve_when_out_of_memory: needs processes 1, found {self.processes}, of which one alone may run out")
        return self


class TrainConfig(Section):
    steps: NonNegativeInt = 120
    """0 for the cold start alone."""
    seed: NonNegativeInt | None = None
    """Of sampling and of the order of the problems; None takes the recipe's. Runs that differ in it alone share data and cold start."""
    rollouts: Path | None = None
    """A run's folder, whose stored answers are learned from in place of new ones, step by step and over again."""
    off_policy_steps: Annotated[int, Field(ge=0, le=8)] = 0
    """How many updates old a step's answers are: they are sampled while the learner works on the steps before. They need
    `objective.correction`, or `learner.old_logprobs` `engine`. It saves time with separate samplers of a `cluster`, and with vLLM on a GPU
    where `sampling.vllm.sleep` is false; other engines sample the same answers before the update instead."""
    warn_mismatch_kl: PositiveFloat | None = 0.01
    """KL between sampler and learner, in nats a token, above which a run says so, once; null for never. prime-rl's tests hold it below."""
    eval_every: NonNegativeInt = 40
    """Steps between evaluations on a slice of the held-out problems; 0 for none."""
    eval_problems: PositiveInt = 100
    save_every: NonNegativeInt = 50
    """Steps between checkpoints; the last step always has one."""
    keep_checkpoints: PositiveInt = 2
    """How many of the newest stay."""
    keep_best: str | None = None
    """A column of metrics.jsonl, such as `eval/pass@1`: the checkpoint of the step where it is highest stays too."""
    restarts: NonNegativeInt = 3
    """How often a run starts its processes and its sampling engine anew when one of them has died, before it gives up."""
    trackers: list[Literal["tensorboard", "wandb", "trackio"]] = []
    """Beside metrics.jsonl, which is always written."""


class GuardsConfig(Section):
    """What a run watches itself for (docs/faq.md). A share that is null is not watched."""

    nonfinite: Literal["stop", "skip"] = "stop"
    """What becomes of a run whose loss, gradient or log-probabilities are not finite. Such an update is never made, and its samples are
    written to `faults/`."""
    most_skipped: PositiveInt = 3
    """Steps in a row with a skipped update at which a run stops all the same."""
    verifier_failures: Fraction | None = 0.05
    """Share of a step's answers on which a verifier may fail, by `timeout` or `error`; a storm is more."""
    verifier_storm: Literal["warn", "stop"] = "warn"
    window: PositiveInt = 10
    """Steps whose mean the guards below look at."""
    reward_collapse: Fraction | None = 0.5
    """Alarm where the mean reward has fallen from its best to below this share of it, by more than steps differ anyway. A best below 0
    counts by its size: the fall is more than 1 minus this share of it."""
    entropy_collapse: Fraction | None = 0.05
    """Alarm where the policy's entropy is below this share of what it was in the first window."""
    length_blow_up: Fraction | None = 0.5
    """Alarm where more than this share of answers is cut off at the limit, and less than half as many end as in the first window."""

    @model_validator(mode="after")
    def _storms_known(self) -> Self:
        if self.verifier_storm == "stop" and self.verifier_failures is None:
            raise ValueError("verifier_storm: 'stop' needs a share in verifier_failures, found null")
        return self


class ClusterConfig(Section):
    """Many processes on many machines, by Ray: learners that share the gradient, and samplers. docs/scaling.md says how."""

    address: str | None = None
    """Of a Ray cluster, `host:port`; `auto` joins the one that runs here, or else starts one on this machine, and `local` always does. None
    keeps everything in process, and Ray is not even imported."""
    learners: PositiveInt = 1
    """Ranks of the learner, a GPU each where there are GPUs. `learner.processes` counts without a cluster alone."""
    samplers: PositiveInt = 1
    """Engines that are wanted. Those there is no room for yet begin when a node joins."""
    tensor_parallel: PositiveInt = 1
    """GPUs of one vLLM engine, all of one node; on a CPU, processes."""
    placement: Literal["separate", "colocated"] = "separate"
    """Whether samplers have GPUs of their own, or take turns with the learners on theirs."""
    shard: bool = True
    """Share weights, gradients and moments out over the learners (FSDP2); otherwise each of them holds all."""
    gather: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type in which shared out weights are gathered for a layer; `auto` is what the policy computes in on a GPU, and float32 on a CPU."""
    transfer: Literal["auto", "object_store", "nccl", "ipc"] = "auto"
    """How samplers get new weights: through Ray's object store, or by vLLM's transfer between GPUs, `nccl` for separate ones and `ipc` for
    colocated ones. `auto` takes vLLM's where learners and samplers have GPUs and vLLM samples."""
    cpus_per_learner: PositiveInt = 1
    cpus_per_sampler: PositiveInt = 1
    """Cores that Ray sets aside, and threads that each of them uses."""
    wait_s: PositiveFloat = 600
    """For room for all learners and for the first sampler, before the run gives up."""

    @model_validator(mode="after")
    def _joined(self) -> Self:
        idle = [name for name, value in self if name != "address" and value != type(self).model_fields[name].default]
        if self.address is None and idle:
            raise ValueError(f"{idle[0]}: {getattr(self, idle[0])!r} needs an address; 'local', 'auto' and host:port are accepted")
        return self

    @model_validator(mode="after")
    def _covered(self) -> Self:
        """Colocated samplers use exactly the GPUs of the learners."""
        used = self.samplers * self.tensor_parallel
        if self.placement == "colocated" and used != self.learners:
            raise ValueError(
                f"placement: 'colocated' needs as many learners as samplers have GPUs, found {self.learners} learners and "
                f"{self.samplers} samplers × tensor_parallel {self.tensor_parallel} = {used}"
            )
        return self


class EvalConfig(Section):
    samples: PositiveInt = 8
    """n, answers per problem."""
    k: Annotated[list[PositiveInt], Field(min_length=1)] = [1, 2, 4, 8]
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: PositiveInt | None = None
    """None takes `sampling.max_tokens`, and the suite's own for a model that is none of the run's."""
    greedy: bool = True
    """One more answer per problem at temperature 0, reported apart."""
    limit: PositiveInt | None = None
    probe: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of a question's words that a policy is shown, to see whether it knows the rest by heart; null for no probe. 0.6 is usual."""
    best_of: str = "reward"
    """What ranks answers for best@k: `reward`, or `score_<verifier>` of a verifier in `rewards`."""
    bootstrap: Annotated[int, Field(ge=100)] = 2000
    suites: list[str] = []
    """Benchmarks in place of the run's held-out problems: `gsm8k`, `math500`, `aime24` …, or `path/to/file.py:name` for one of your own."""
    paths: dict[str, Path] = {}
    """By suite: a file of the hub's columns, read instead of the hub, or a folder with `<suite>` or the split as `.jsonl` or `.parquet`."""
    revisions: dict[str, str] = {}
    """By suite: commit of its data set on the hub, in place of the one that the suite pins."""
    template: str | None = None
    """Of the suites, as `data.template` of a run. None asks a run's policies by that, and any other model in the suite's own words."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if max(self.k) > self.samples:
            raise ValueError(f"k: pass@{max(self.k)} needs at least {max(self.k)} samples per problem; samples is {self.samples}")
        return self

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if self.template is not None and not self.suites:
            raise ValueError("template: suites are asked by it, and eval.suites is empty; held-out problems are asked by data.template")
        return self


class Config(Section):
    """A recipe, resolved."""

    name: Annotated[str, AfterValidator(_folder_name)] = "run"
    """The run is the folder `<runs>/<name>`."""
    runs: Path = Path("runs")
    seed: NonNegativeInt = 0
    data: DataConfig = DataConfig()
    policy: PolicyConfig = PolicyConfig()
    cold_start: ColdStartConfig = ColdStartConfig()
    sampling: SamplingConfig = SamplingConfig()
    rewards: dict[str, VerifierConfig]
    """Verifiers by name (or `path/to/file.py:name`) with their weights."""
    judge: JudgeConfig = JudgeConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    learner: LearnerConfig = LearnerConfig()
    train: TrainConfig = TrainConfig()
    guards: GuardsConfig = GuardsConfig()
    cluster: ClusterConfig = ClusterConfig()
    eval: EvalConfig = EvalConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        checks = (
            self._no_rewards,
            self._no_policy,
            self._too_many_minibatches,
            self._short_context,
            self._too_hot,
            self._truncated_logprobs,
            self._idle_correction,
            self._dynamic_rollouts,
            self._stored_ahead,
            self._idle_masters,
            self._moved_adapters,
            self._unranked,
            self._unsharded,
            self._halved_in_company,
            self._parallel_local,
        )
        contradictions = [said for check in checks if (said := check())]
        if contradictions:
            raise ValueError("\n".join(contradictions))
        return self

    def _no_rewards(self) -> str | None:
        return None if self.rewards else "rewards: at least one verifier is needed"

    def _no_policy(self) -> str | None:
        if self.cold_start.enabled or self.policy.model is not None:
            return None
        return "cold_start.enabled is false and policy.model is null, which leaves no policy; name a model or enable the cold start"

    def _too_many_minibatches(self) -> str | None:
        minibatches, prompts = self.learner.minibatches, self.sampling.prompts_per_step
        return f"learner.minibatches ({minibatches}) exceeds sampling.prompts_per_step ({prompts})" if minibatches > prompts else None

    def _short_context(self) -> str | None:
        context, prompt = self.policy.architecture.context, self.data.max_prompt_tokens
        answers = {"sampling.max_tokens": self.sampling.max_tokens, "eval.max_tokens": self.eval.max_tokens or 0}
        longest = max(answers, key=lambda setting: answers[setting])
        if self.policy.model is not None or prompt + answers[longest] <= context:
            return None
        return (
            f"policy.architecture.context ({context}) is shorter than data.max_prompt_tokens ({prompt}) plus {longest} ({answers[longest]})"
        )

    def _idle_correction(self) -> str | None:
        """The engine's own figures as π_old leave nothing to correct."""
        asked = self.objective.correction
        if asked in {None, "none"} or self.learner.old_logprobs == "learner":
            return None
        return f"objective.correction: {asked!r} needs learner.old_logprobs 'learner', found 'engine', which leaves nothing to correct"

    def _dynamic_rollouts(self) -> str | None:
        if self.train.rollouts is None or not self.sampling.dynamic:
            return None
        return "sampling.dynamic asks for more answers, which train.rollouts has not; leave one of them out"

    def _idle_masters(self) -> str | None:
        if not self.learner.master_weights:
            return None
        if self.policy.lora is not None:
            return "learner.master_weights: policy.lora trains adapters alone, which are float32 already; set it to false"
        if self.policy.dtype == "bfloat16":
            return None
        return f"learner.master_weights: needs policy.dtype 'bfloat16', found {self.policy.dtype!r}, which has nothing to copy"

    def _moved_adapters(self) -> str | None:
        """The reference is the policy with its adapters off, which no update moves."""
        every = self.learner.reference_every
        if self.policy.lora is None or not every:
            return None
        return f"learner.reference_every: {every} needs a reference of its own, which policy.lora has not; set it to 0"

    def _stored_ahead(self) -> str | None:
        if self.train.rollouts is None or not self.train.off_policy_steps:
            return None
        return "train.off_policy_steps samples ahead of the learner, and with train.rollouts nothing is sampled; leave one of them out"

    def _unranked(self) -> str | None:
        """Of suites each has a verifier of its own, which is known later."""
        known = ["reward", *(f"score_{name}" for name in self.rewards)]
        if self.eval.best_of in known or self.eval.suites:
            return None
        return f"eval.best_of: found {self.eval.best_of!r}; accepted: {', '.join(known)}"

    def _unsharded(self) -> str | None:
        """What FSDP2 does not share out here."""
        if self.cluster.address is None or not self.cluster.shard:
            return None
        found = {
            "policy.lora": self.policy.lora and "adapters",
            "learner.optimizer": self.learner.optimizer != "adamw" and repr(self.learner.optimizer),
            "learner.master_weights": self.learner.master_weights,
        }
        return next((f"{name}: found {value}, which needs cluster.shard=false" for name, value in found.items() if value), None)

    def _halved_in_company(self) -> str | None:
        if not self.learner.halve_when_out_of_memory or self.cluster.learners == 1:
            return None
        return f"learner.halve_when_out_of_memory: needs cluster.learners 1, found {self.cluster.learners}, of which one alone may run out"

    def _parallel_local(self) -> str | None:
        if self.cluster.tensor_parallel == 1 or self.sampling.engine == "vllm":
            return None
        return f"cluster.tensor_parallel: {self.cluster.tensor_parallel} needs sampling.engine 'vllm', found {self.sampling.engine!r}"

    def _too_hot(self) -> str | None:
        temperatures = {"sampling.temperature": self.sampling.temperature, "eval.temperature": self.eval.temperature}
        hot = [
            f"{name}: vLLM takes 2 at most, found {value}; sampling.engine 'local' takes more"
            for name, value in temperatures.items()
            if value > 2
        ]
        return "\n".join(hot) if self.sampling.engine == "vllm" else None

    def _truncated_logprobs(self) -> str | None:
        """The engine's log-probabilities are of the truncated distribution, the learner's of the full one: their ratio is no π_θ/π_old."""
        if self.learner.old_logprobs != "engine" or (self.sampling.top_p == 1 and self.sampling.top_k == 0):
            return None
        found = f"sampling.top_p ({self.sampling.top_p}) and sampling.top_k ({self.sampling.top_k})"
        return f"learner.old_logprobs: 'engine' needs top_p 1 and top_k 0, found {found}; with those it should be 'learner'"

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return self.runs / self.name
