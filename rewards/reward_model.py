"""A learned verifier: a Hugging Face sequence classifier, such as the reward models of RLHF. R1-Zero does without (arXiv:2501.12948, §2.2).

A policy that trains against a classifier learns what the classifier likes; keep its weight below that of a rule that can't be talked to.
"""

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

from reasoning_rl.errors import VerifierError
from reasoning_rl.records import Completion, Problem, Score
from reasoning_rl.rewards.verifier import verifier


def load(
    *, model: str, revision: str = "main", label: str = "", max_tokens: int = 2048, device: str = "cpu"
) -> tuple[Any, dict[str, object]]:
    """The classifier's pipeline and how it is called. One copy in each process, loaded once."""
    return _loaded(model, revision, label, max_tokens, device)


@verifier("reward_model", prepare=load)
def reward_model(
    completion: Completion,
    problem: Problem,
    *,
    model: str,
    revision: str = "main",
    label: str = "",
    max_tokens: Annotated[int, Field(gt=0)] = 2048,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Score:
    """The sigmoid of the logit where the classifier has one, else the probability of the class called `label`.

    It reads question and completion: by the tokenizer's chat template where there is one, else as a pair of texts. What is longer than
    `max_tokens`, or than the model can take, loses its beginning.
    """
    loaded = load(model=model, revision=revision, label=label, max_tokens=max_tokens, device=device)
    return Score(valued(loaded, label, problem, completion.text), reason=f"{label or 'logit'} of {model}", method="reward_model")


def valued(loaded: tuple[Any, dict[str, object]], label: str, problem: Problem, answer: str) -> float:
    """What the classifier that `load` gave makes of an answer, whole or cut off, in [0, 1]."""
    pipeline, settings = loaded
    template = pipeline.tokenizer.chat_template is not None
    text = _chat(pipeline.tokenizer, answer, problem) if template else {"text": problem.question, "text_pair": answer}
    classes = {each["label"]: each["score"] for each in pipeline(text, **settings, **({"add_special_tokens": False} if template else {}))}
    return float(classes[label or next(iter(classes))])


def _chat(tokenizer: Any, answer: str, problem: Problem) -> str:
    turns = [{"role": "user", "content": problem.question}, {"role": "assistant", "content": answer}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False))


@cache
def _loaded(model: str, revision: str, label: str, max_tokens: int, device: str) -> tuple[Any, dict[str, object]]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    network, report = AutoModelForSequenceClassification.from_pretrained(model, revision=revision, output_loading_info=True)
    if missing := sorted(report["missing_keys"]):
        raise VerifierError(f"options.model: {model} is no trained classifier: it has no {', '.join(missing[:3])}")
    _check_label(label, [str(name) for name in network.config.id2label.values()])
    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, truncation_side="left")
    longest = min(max_tokens, tokenizer.model_max_length, getattr(network.config, "max_position_embeddings", max_tokens))
    activation = "sigmoid" if network.config.num_labels == 1 else "softmax"
    settings = {"truncation": True, "max_length": longest, "function_to_apply": activation, "top_k": None}
    return pipeline("text-classification", model=network, tokenizer=tokenizer, device=device), settings


def _check_label(label: str, labels: list[str]) -> None:
    if (label or len(labels) > 1) and label not in labels:
        raise VerifierError(f"options.label: found {label!r}; it should be one of {', '.join(labels)}")
