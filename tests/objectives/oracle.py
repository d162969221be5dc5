"""TRL's own code on a toy batch: its advantages and its loss, without a model, a data set or a trainer's `__init__`.

A trainer is an empty object with the attributes that its methods read, by TRL's own defaults. What a model, a sampler and a verifier would
say comes from the case; what is made of it is TRL's. It runs in float64 but where TRL makes a float32 of its own.

# B answers; T tokens, padded on the right, V words
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from papers import Answer, Case, V, entropy_of
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer  # first: it silences what the next line warns of
from trl.experimental.cpo import CPOConfig, CPOTrainer

END, PAD = V, V + 1
"""TRL tells from the last token whether an answer was cut off, so those that were not get an end."""


def defaults(config: type) -> dict[str, Any]:
    """The settings of one of TRL's configs as a user who says nothing gets them."""
    return {field.name: field.default for field in fields(config) if field.default is not MISSING}


@dataclass(frozen=True)
class Said:
    """Stands where TRL wants a model: what it says of the answers."""

    logp_BT: Tensor
    entropy_BT: Tensor
    training: bool = True
    is_gradient_checkpointing: bool = False
    _modules: tuple[()] = ()
    """Where peft is installed, accelerate looks for compiled ones."""

    def __call__(self, **_: object) -> SimpleNamespace:
        """The output of a language model with a fused head, for prompts of one token; the last two fields are only logged."""
        zeros_BT = torch.zeros_like(self.logp_BT)
        return SimpleNamespace(log_probs=self.logp_BT, entropy=self.entropy_BT, mean_logits=zeros_BT, is_top1=zeros_BT.bool())


def padded(rows: Iterable[Tensor]) -> Tensor:
    return pad_sequence(list(rows), batch_first=True)


def policy(answers: Sequence[Answer]) -> Said:
    return Said(padded(answer.logp for answer in answers), padded(entropy_of(answer.logits) for answer in answers))


def old(answers: Sequence[Answer]) -> Said:
    return Said(padded(answer.before().logp_T for answer in answers), padded(answer.before().entropy_T for answer in answers))


def reference(answers: Sequence[Answer]) -> Said:
    logp_BT = padded(torch.tensor(answer.reference, dtype=torch.float64) for answer in answers)
    return Said(logp_BT, torch.zeros_like(logp_BT))


def empty(trainer: type, config: type, settings: dict[str, Any]) -> Any:
    """A trainer that was never set up, with the settings of its config as attributes."""
    unknown = settings.keys() - {field.name for field in fields(config)}
    assert not unknown, f"{config.__name__} has no {unknown}"
    given = {**defaults(config), **settings}
    made: Any = object.__new__(trainer)
    vars(made).update(given)
    vars(made).update(
        args=SimpleNamespace(**given),
        accelerator=Accelerator(cpu=True),
        aux_loss_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    return made


def _sampler(trainer: type, config: type, case: Case, settings: dict[str, Any], dtype: torch.dtype = torch.float64) -> Any:
    """A trainer that samples: the case gives it answers, rewards of each verifier, and what models say."""
    made, answers = empty(trainer, config, settings), case.answers
    weight_F = torch.tensor([part.weight for part in answers[0].parts.values()], dtype=dtype)
    value_BF = torch.tensor([[part.value for part in answer.parts.values()] for answer in answers], dtype=dtype)
    vars(made).update(
        epsilon_low=made.epsilon,
        epsilon_high=made.epsilon if made.epsilon_high is None else made.epsilon_high,
        model=old(answers),
        ref_model=reference(answers),
        num_generations=len(case.groups[0]),
        pad_to_multiple_of=None,
        reward_weights=weight_F,
        reward_funcs=list(answers[0].parts),
        reward_func_names=list(answers[0].parts),
        _calculate_rewards=lambda *_: value_BF,
        _get_per_token_logps_and_entropies=lambda model, *_, **__: (model.logp_BT, model.entropy_BT, None),
        _tokenizer=SimpleNamespace(pad_token_id=PAD),
        eos_token_ids=[END],
        _logs=defaultdict[str, Any](list, rewards=defaultdict(list), extra=defaultdict(list)),
        _pending_extra_logs={},
        _pending_metrics={},
    )
    return made


def _ids(answers: Sequence[Answer]) -> list[list[int]]:
    return [[*answer.tokens[:-1], answer.tokens[-1] if answer.truncated else END] for answer in answers]


@dataclass(frozen=True)
class Judged:
    """A batch as TRL hands it from its sampling to its loss."""

    trainer: Any
    inputs: dict[str, Any]

    @property
    def advantages(self) -> list[float]:
        """One per answer."""
        return list(map(float, self.inputs["advantages"]))

    def loss(self, case: Case) -> Tensor:
        """Over the accumulated micro-batches, which are neighbouring rows of equal number."""
        rows, count = torch.arange(len(case.answers)), self.trainer.args.gradient_accumulation_steps
        return torch.stack([self._part(case.answers, part) for part in rows.chunk(count)]).sum()

    def _part(self, answers: Sequence[Answer], row_b: Tensor) -> Tensor:
        now = policy(answers)
        inputs = {name: value[row_b] if value.dim() else value for name, value in self.inputs.items()}
        loss: Tensor = self.trainer._compute_loss(Said(now.logp_BT[row_b], now.entropy_BT[row_b]), inputs)
        return loss


def grpo(case: Case, *, micro_batches: int = 1, dtype: torch.dtype = torch.float64, **settings: Any) -> Judged:
    """What GRPOTrainer makes of the batch. Two passes over it, so that π_old is a policy of its own; `settings` are GRPOConfig's.

    `dtype` is that of the rewards; TRL's own is float32.
    """
    steps = {"num_iterations": 2, "steps_per_generation": micro_batches, "gradient_accumulation_steps": micro_batches}
    trainer, answers = _sampler(GRPOTrainer, GRPOConfig, case, steps | settings, dtype), case.answers
    sampled: Any = (
        _ids(answers),
        None,
        ["?"] * len(answers),
        [torch.tensor(answer.sampled, dtype=torch.float64) for answer in answers],
        {},
        None,
        None,
    )
    vars(trainer).update(
        current_gradient_accumulation_steps=micro_batches,
        environment_factories=None,
        environments=None,
        tools=[],
        _entropy_bonus_enabled=trainer.entropy_coef != 0,
        use_adaptive_entropy=False,
        _generate=lambda prompts: ([[0]] * len(prompts), *sampled),
    )
    return Judged(trainer, _scored(trainer, len(answers)))


def rloo(case: Case, **settings: Any) -> Judged:
    """What RLOOTrainer makes of the batch; `settings` are RLOOConfig's."""
    trainer, answers = _sampler(RLOOTrainer, RLOOConfig, case, settings), case.answers
    vars(trainer).update(_generate=lambda prompts: ([[0]] * len(prompts), _ids(answers), ["?"] * len(answers)))
    return Judged(trainer, _scored(trainer, len(answers)))


def _scored(trainer: Any, answers: int) -> dict[str, Any]:
    scored: dict[str, Any] = trainer._generate_and_score_completions([{"prompt": "?"}] * answers)
    return scored


def dpo(pairs: Sequence[tuple[Answer, Answer]], *, loss_type: str = "sigmoid", **settings: Any) -> Tensor:
    """DPOTrainer's loss of right answers, each beside a wrong one; `settings` are DPOConfig's."""
    trainer = empty(DPOTrainer, DPOConfig, settings)
    answers = [answer for side in zip(*pairs) for answer in side]
    vars(trainer).update(
        model=policy(answers),
        ref_model=reference(answers),
        precompute_ref_logps=False,
        loss_types=[loss_type],
        loss_weights=[1.0],
        _total_train_tokens=0,
        _tp_size=1,
    )
    mask_BT = padded(torch.tensor([0, *[1] * len(answer)]) for answer in answers)
    inputs = {"input_ids": torch.zeros_like(mask_BT), "attention_mask": mask_BT, "completion_mask": mask_BT}
    loss: Tensor = trainer._compute_loss(policy(answers), inputs, return_outputs=False)
    return loss


def cpo(pairs: Sequence[tuple[Answer, Answer]], **settings: Any) -> Tensor:
    """CPOTrainer's preference loss on mean log-probabilities, from the policy's logits; `settings` are CPOConfig's."""
    trainer = empty(CPOTrainer, CPOConfig, settings)
    chosen, rejected = (list(side) for side in zip(*pairs))
    losses: Tensor = trainer.cpo_loss(_mean_logp(chosen), _mean_logp(rejected))[0]
    return losses.mean()


def _mean_logp(answers: Sequence[Answer]) -> Tensor:
    """TRL's, of prompts of one token: the logits at a place foretell the next."""
    logits_BTV = padded(torch.cat([answer.logits, answer.logits.new_zeros(1, V)]) for answer in answers)
    label_BT = pad_sequence([torch.tensor([-100, *answer.tokens]) for answer in answers], batch_first=True, padding_value=-100)
    mean: Tensor = CPOTrainer.get_batch_logps(logits_BTV, label_BT, average_log_prob=True)
    return mean
