"""The model of a step's time: its arithmetic, its fit, and what it refuses."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning_rl.recipes import dump_config, load_config


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    """Can be imported, as a script of that folder imports its neighbours."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture
def model(benchmarks: None) -> Any:
    return importlib.import_module("sides.step_model")


@pytest.fixture
def fitting(benchmarks: None) -> Any:
    return importlib.import_module("sides.step_fit")


def step(model: Any, **layout: Any) -> Any:
    return model.Step(model.Work(), model.Layout(**layout))


def test_answers_fall_off_so_that_their_mean_is_as_told(model: Any) -> None:
    for mean in (10, 300, 900):
        # the mean of a length is the sum over i of the share that is longer than i
        assert model.Work(answer_tokens=mean).unfinished.sum() == pytest.approx(mean)


def test_one_answer_at_a_time_is_bound_by_reading_the_weights(model: Any) -> None:
    # 2 bytes a weight over 60 % of 3.35 TB/s are 7.6 ms; its own keys, 57,344 bytes a token, add 8 µs at 278 tokens
    alone = step(model)._pass_s(np.array([1.0]))[0] - model.Reached().pass_s
    assert alone == pytest.approx((2 * 7.62e9 + 278 * 57_344) / (0.6 * 3.35e12))
    # at 10,000 answers it is arithmetic: 2 FLOPs a weight and token over 40 % of 989 TFLOP/s, if their keys were free
    keyless = replace(step(model), shape=replace(model.Shape(), kv_width=0))
    many = keyless._pass_s(np.array([1e4]))[0] - model.Reached().pass_s
    assert many == pytest.approx(2 * 7.62e9 * 1e4 / (0.4 * 989e12))


def test_learning_is_arithmetic_over_ranks_and_what_can_not_be_hidden_behind_it(model: Any) -> None:
    # 128 prompts of 128 tokens and 1,024 answers of 300: 323,584 positions; 10 FLOPs a weight: 6, 2 for π_old, 2 for checkpointing
    assert step(model, learners=4)._computed_s() == pytest.approx(10 * 7.62e9 * 323_584 / (4 * 0.4 * 989e12))
    assert step(model, learners=1)._sent_s() == 0
    # on 16 ranks, one micro-batch: three times the weights in 2 bytes and the gradients in 4, at 35 GB/s, and 28 · 4 · 15 hops of 10 µs
    assert step(model, learners=16)._sent_s() == pytest.approx(15 / 16 * 7.62e9 * (3 * 2 + 4) / 35e9 + 28 * 4 * 15 * 1e-5)
    # on 64, arithmetic hides 80 % of itself of that; the optimiser moves 28 bytes a weight at 60 % of 3.35 TB/s
    many = step(model, learners=64)
    optimiser = 28 * 7.62e9 / 64 / (0.6 * 3.35e12)
    assert many._sent_s() > 0.8 * many._computed_s()
    assert many.learn() == pytest.approx(0.2 * many._computed_s() + many._sent_s() + optimiser)


def test_the_last_answers_hold_up_everybody_unless_samplers_keep_older_weights(model: Any) -> None:
    in_turn, beside, ahead = (step(model, engines=64, mode=mode) for mode in ("in turn", "beside", "ahead"))
    assert ahead.sample() < 0.9 * in_turn.sample() == 0.9 * beside.sample()
    # in turn an engine more shortens the crowded passes alone: there are as many passes as the longest answer has tokens
    assert step(model, engines=128).sample() > 0.9 * in_turn.sample()


def test_a_step_takes_what_its_parts_take_in_turn_and_what_the_slower_side_takes_ahead(model: Any) -> None:
    parts = step(model, mode="ahead").seconds()
    sampling, learning = parts["sample"] + parts["judge"] + parts["fetch"], parts["learn"] + parts["publish"] + parts["driver"]
    assert parts["step"] == max(sampling, learning)
    parts = step(model, mode="beside").seconds()
    assert parts["step"] == max(parts["sample"] + parts["judge"], parts["learn"]) + parts["publish"] + parts["driver"]
    *parts_in_turn, whole = step(model).seconds().values()
    assert whole == pytest.approx(sum(parts_in_turn))


def test_weights_in_the_store_are_read_summed_and_copied_by_every_sampler(model: Any) -> None:
    # 30.5 GB in float32. 16 samplers are two nodes: after two rounds at 35 GB/s all three hosts have them. 8 cores sum 0.9 GB/s each
    ahead = step(model, mode="ahead", engines=16)
    assert ahead.fetch() == pytest.approx(30.48e9 * (2 / 35e9 + 1 / 7.2e9 + 1 / 44.8e9))
    assert step(model).fetch() == 0


def test_weights_have_to_fit(model: Any) -> None:
    # 16 bytes a weight are 122 GB: 61 GB on two GPUs of 80 GB, with nine tenths of them to be had
    assert [step(model, learners=ranks).fits() for ranks in (1, 2)] == [False, True]
    with pytest.raises(ValueError, match="leave no room on 1 GPUs"):
        replace(step(model), shape=replace(model.Shape(), weights=70e9)).slots()
    with pytest.raises(ValueError, match="2 GPUs: too few for weights, gradients and moments"):
        model.best(model.Work(), 2, "in turn", model.Reached())


TRUE = {
    "sample": {"once": 0.2, "token": 1e-4, "peer": 0.05},
    "judge": {"once": 0.0, "answer": 1e-5},
    "learn": {"once": 0.1, "token": 2e-4, "peer": 0.3, "shard": 0.4, "shard_peer": 0.6},
    "rest": {"once": 0.02, "answer": 1e-4},
}


def made(fitting: Any, name: str, samplers: int, learners: int, answers: int = 64, shard: bool = False) -> Any:
    """A run that takes as long as TRUE says, with steps of different sizes."""
    rows = []
    for tokens in (900.0, 1000.0, 1200.0):
        row: dict[str, Any] = {"num_tokens": tokens, "num_completions": answers}
        parts = {
            "sample": 0.2 + 1e-4 * tokens / min(samplers, 2) + 0.05 * (samplers - 1),
            "judge": 1e-5 * answers,
            "learn": 0.1 + 2e-4 * tokens / min(learners, 2) + (0.4 + 0.6 * (learners - 1) if shard else 0.3 * (learners - 1)),
        }
        seconds = {f"seconds/{phase}": value for phase, value in parts.items()}
        rows.append({**row, **seconds, "step_time": sum(parts.values()) + 0.02 + 1e-4 * answers})
    return fitting.Run(name, samplers, learners, 2, rows, shard=shard)


def test_a_fit_finds_what_the_steps_were_made_of_and_predicts_a_size_it_has_not_seen(fitting: Any) -> None:
    sizes: list[tuple[int, int, int, bool]] = [(1, 1, 64, False), (2, 1, 128, False), (1, 2, 64, False), (1, 1, 64, True), (1, 2, 64, True)]
    found = fitting.fit([made(fitting, "a", samplers, learners, answers, shard) for samplers, learners, answers, shard in sizes])
    for phase, terms in TRUE.items():
        assert found[phase] == pytest.approx(terms, abs=1e-9)
    four = made(fitting, "d", 4, 4, answers=256)
    assert fitting.compared(four, found)["off"] == 0
    # median of its steps, 1,000 tokens: 0.2 + 0.05 + 0.15; 0.00256; 0.1 + 0.1 + 0.9; 0.02 + 0.0256
    assert fitting.compared(four, found)["predicted_s"]["step"] == pytest.approx(0.4 + 0.0026 + 1.1 + 0.0456, abs=1e-4)


def test_a_run_that_is_left_out_is_predicted_by_the_others_alone(fitting: Any) -> None:
    slow = made(fitting, "slow", 4, 4)
    slow = replace(slow, rows=[{**row, "seconds/learn": row["seconds/learn"] + 2, "step_time": row["step_time"] + 2} for row in slow.rows])
    *_, line = fitting.unseen([made(fitting, "a", 1, 1), made(fitting, "b", 2, 1), made(fitting, "c", 1, 2), slow])
    # it took 2 s more than the 0.4 + 0.00064 + 1.1 + 0.0264 that the others foretell
    assert line["run"] == "slow"
    assert line["off"] == pytest.approx(-2 / 3.527, abs=2e-3)


def test_off_policy_a_step_is_predicted_by_its_slower_side_and_fits_nothing(fitting: Any) -> None:
    runs = [made(fitting, "a", 1, 1), made(fitting, "b", 2, 1, answers=128), made(fitting, "c", 1, 2)]
    ahead = replace(made(fitting, "ahead", 1, 1), lag=2)
    assert fitting.fit([*runs, ahead]) == fitting.fit(runs)
    # of 0.3 + 0.00064 s to sample and judge, and 0.3 + 0.0264 s to learn and for the rest, the latter; 0.627 s were seen
    line = fitting.compared(ahead, fitting.fit(runs))
    assert line["predicted_s"]["step"] == pytest.approx(0.3264)
    assert line["seen_s"] == {"step": pytest.approx(0.627, abs=1e-3)}


def test_no_part_gives_time_back(fitting: Any) -> None:
    quicker = made(fitting, "b", 2, 2)
    quicker = replace(quicker, rows=[{**row, "seconds/learn": 0.01} for row in quicker.rows])
    assert all(value >= 0 for terms in fitting.fit([made(fitting, "a", 1, 1), quicker]).values() for value in terms.values())


def folder(place: Path, steps: int, *overrides: str) -> Path:
    """A run's files, as far as they are read."""
    row = {"num_tokens": 100, "num_completions": 8, "seconds/sample": 1.0, "seconds/judge": 0.1, "seconds/learn": 0.5, "step_time": 1.7}
    lines = [{"step": 0}, *({"step": number, **row} for number in range(1, steps + 1))]
    (place / "config.yaml").write_text(dump_config(load_config("smoke", overrides)))
    (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (place / "environment.json").write_text(json.dumps({"cores": 2}))
    return place


def test_a_run_is_read_from_its_folder_without_the_step_that_builds_kernels(fitting: Any, tmp_path: Path) -> None:
    run = fitting.measured(folder(tmp_path, 3, "cluster.address=local", "cluster.samplers=4", "cluster.learners=2"))
    assert (run.samplers, run.learners, run.shard, run.cores, [row["step"] for row in run.rows]) == (4, 2, True, 2, [2, 3])
    assert run.seen_s == pytest.approx({"sample": 1.0, "judge": 0.1, "learn": 0.5, "rest": 0.1, "step": 1.7})


def test_runs_of_too_few_steps_are_refused(fitting: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 steps in metrics\.jsonl; 2 or more are needed"):
        fitting.measured(folder(tmp_path, 1))
    # of 5 steps the first builds kernels, two more are sampled by the first weights, and beside the last two nothing is sampled
    with pytest.raises(ValueError, match=r"5 steps in metrics\.jsonl; 6 or more are needed"):
        fitting.measured(folder(tmp_path, 5, "train.off_policy_steps=2"))


def test_predictions_are_lines_with_their_inputs_behind_them(
    benchmarks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["step_time.py", "--predict", "8,16", "--set", "mfu=0.2"])
    importlib.import_module("step_time").main()
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(line["gpus"], line["answers"], line["mode"]) for line in lines] == [
        (gpus, answers, mode) for gpus, answers in ((8, 1024), (16, 1024), (16, 2048)) for mode in ("in turn", "beside", "ahead")
    ]
    assert last["inputs"]["reached"]["mfu"] == 0.2


@pytest.mark.parametrize("text", ["speed=2", "mfu"])
def test_an_input_that_is_none_is_refused(
    text: str, benchmarks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["step_time.py", "--set", text])
    with pytest.raises(SystemExit):
        importlib.import_module("step_time").main()
    assert f"--set: found {text!r}; accepted: a number for one of mfu, memory" in capsys.readouterr().err
