"""Files that come to harm between two commands: the next one makes them again, or names the file, and never shows a traceback."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from faults_fakes import Whole, command, different, emptied, gone, prints, staged, whole_in
from run_fakes import corrupted, torn

from reasoning_rl.errors import RunError
from reasoning_rl.eval.compare import read_evaluation

Harm = Callable[[Path], None]
harmed = pytest.mark.parametrize("harm", [torn, emptied, corrupted], ids=["cut to half", "emptied", "one bit flipped"])


def misspelt(settings: Path) -> None:
    """By one bit: an e is 0x65, a d is 0x64."""
    settings.write_text(settings.read_text(encoding="utf-8").replace("group_size", "group_sizd"), encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_in(tmp_path_factory.getbasetemp() / "faults")


@harmed
@pytest.mark.parametrize("name", ["manifest.json", "train.parquet", "eval.parquet", "demonstrations.parquet", "tokenizer/tokenizer.json"])
def test_data_are_prepared_again(name: str, harm: Harm, whole: Whole) -> None:
    harm(whole.put_back("eval") / "data" / name)
    assert whole.after("data", like="eval") == []


@harmed
def test_what_training_started_from_is_noted_again(harm: Harm, whole: Whole) -> None:
    """Half of it is known for what it is; another path in it is no one's until it is evaluated."""
    harm(whole.put_back("eval") / "base.json")
    assert whole.after("train", "eval") == []


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("report.json", torn),
        ("report.json", emptied),
        ("samples.parquet", emptied),
        ("samples.parquet", corrupted),
        ("problems.parquet", torn),
        ("problems.parquet", corrupted),
    ],
)
def test_a_report_is_made_anew_which_is_said(name: str, harm: Harm, whole: Whole) -> None:
    run = whole.put_back("eval")
    harm(run / "eval" / "trained" / name)
    ended = staged(whole.runs, "eval")
    assert f"{run / 'eval' / 'trained'}: the report there is damaged" in ended.said
    assert f"{run / 'eval' / 'base'} is up to date" in ended.said
    assert different(prints(run), prints(whole.kept / "eval" / "one")) == []


@pytest.mark.parametrize("harm", [torn, emptied])
def test_everything_that_can_be_made_again_is(harm: Harm, whole: Whole) -> None:
    run = whole.put_back("eval")
    pictures = ["reward.png", "eval/comparison.csv", "eval/comparison.md", "eval/passk.png", "eval/report.html"]
    for name in ("base.json", "data/train.parquet", "eval/base/report.json", "eval/trained/samples.parquet", *pictures):
        harm(run / name)
    harm(*whole.runs.glob("cache/cold-start-*/model.safetensors"))
    assert whole.after("data", "train", "eval") == []


@harmed
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(harm: Harm, whole: Whole) -> None:
    """The rollouts are of the step after the last checkpoint, which is done again."""
    run = whole.put_back("stopped")
    for name in ("base.json", "environment.json", "data/train.parquet", "rollouts/step-00003.parquet"):
        harm(run / name)
    harm(*whole.runs.glob("cache/cold-start-*/model.safetensors"))
    assert whole.after("train") == []


@harmed
def test_a_damaged_piece_of_an_evaluation_is_asked_again(harm: Harm, whole: Whole) -> None:
    (pieces,) = whole.put_back("evaluating").glob("eval/*/.parts-*")
    harm(pieces / "000000.parquet")
    harm(pieces / "000001.sha256")
    assert whole.after("eval") == []


@pytest.mark.parametrize("harm", [emptied, torn, misspelt])
@pytest.mark.parametrize("stage", ["data", "train", "eval"])
def test_settings_that_cannot_be_read_back_are_named_and_nothing_is_touched(stage: str, harm: Harm, whole: Whole) -> None:
    """What is left of half a file may still be settings, but others."""
    run = whole.put_back("stopped" if stage == "train" else "eval")
    harm(run / "config.yaml")
    before = prints(run)
    ended = staged(whole.runs, stage)
    assert ended.code == 8
    named = f"Error: {run / 'config.yaml'} is damaged, or of another version; write it again by"
    assert named in ended.said or (harm is torn and f"Error: {run} was begun with other settings" in ended.said)
    assert different(prints(run), before) == []


def test_settings_that_are_written_again_are_those_of_the_run(whole: Whole) -> None:
    emptied(whole.put_back("stopped") / "config.yaml")
    (whole.run / "config.yaml").write_text(staged(whole.runs, "train", "--print-config").said)
    assert whole.after("train") == []


def test_a_last_line_that_was_torn_is_written_again(whole: Whole) -> None:
    run = whole.put_back("stopped")
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 4, "rewa')
    assert whole.after("train") == []


@pytest.mark.parametrize("moment", ["stopped", "train"])
@pytest.mark.parametrize(("harm", "lost"), [(torn, 2), (emptied, 0), (gone, 0)])
def test_rows_that_are_lost_are_named_with_the_way_to_have_them_again(moment: str, harm: Harm, lost: int, whole: Whole) -> None:
    """Half of the file ends in the row of step 2; training goes on from no step behind a gap."""
    run = whole.put_back(moment)
    harm(run / "metrics.jsonl")
    kept = sorted(run.rglob("step-*"))
    ended = staged(whole.runs, "train")
    assert ended.code == 8
    assert f"Error: {run / 'metrics.jsonl'}: the row of step {lost} is lost" in ended.said
    assert f"Without the checkpoints of step {lost} and later, training makes these steps again" in ended.said
    assert sorted(run.rglob("step-*")) == kept


def test_rows_that_are_lost_come_again_without_the_checkpoints_behind_them(whole: Whole) -> None:
    run = whole.put_back("train")
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-10])  # of the row of step 4
    assert "the row of step 4 is lost" in staged(whole.runs, "train").said
    (run / "checkpoints" / "step-00004").rename(whole.runs / "elsewhere")
    assert whole.after("train") == []


@pytest.mark.parametrize("moment", ["stopped", "train"])
def test_a_damaged_line_in_the_middle_is_named(moment: str, whole: Whole) -> None:
    run = whole.put_back(moment)
    lines = (run / "metrics.jsonl").read_text().split("\n")
    (run / "metrics.jsonl").write_text("\n".join([lines[0], lines[1][:40], *lines[2:]]))
    before = prints(run / "checkpoints")
    ended = staged(whole.runs, "train")
    assert ended.code == 8
    assert f"Error: {run / 'metrics.jsonl'}:2: damaged" in ended.said
    assert prints(run / "checkpoints") == before


def test_a_torn_line_of_resumptions_spoils_no_other(whole: Whole) -> None:
    run = whole.put_back("stopped")
    (run / "resumed.jsonl").write_text('{"at": "2026-01-02T03:0')
    assert whole.after("train") == []
    told, *noted = (run / "resumed.jsonl").read_text().splitlines()
    assert told == '{"at": "2026-01-02T03:0'
    assert [json.loads(line)["step"] for line in noted] == [2]


@pytest.mark.parametrize("harm", [torn, emptied])
def test_completions_that_cannot_be_shown_are_named(harm: Harm, whole: Whole) -> None:
    rollouts = whole.put_back("train") / "rollouts" / "step-00002.parquet"
    harm(rollouts)
    ended = command("show", "one", "--step", 2, "--runs", whole.runs)
    assert ended.code == 8
    assert f"Error: {rollouts}: damaged" in ended.said


def test_no_flipped_bit_of_completions_is_a_mistake_of_ours(whole: Whole) -> None:
    """`command` looks for a traceback. Names of columns, types and sizes stand in the last third of so small a file."""
    rollouts = whole.put_back("train") / "rollouts" / "step-00004.parquet"
    written, dice = rollouts.read_bytes(), random.Random(0)
    ends = set()
    for _ in range(60):
        _flip(rollouts, written, dice.randrange(len(written) * 2 // 3, len(written)), dice)
        ends.add(command("show", "one", "--runs", whole.runs).code)
    assert ends == {0, 8}  # a flip in text is text


def test_every_flipped_bit_of_a_reports_problems_is_noticed(whole: Whole) -> None:
    problems = whole.put_back("eval") / "eval" / "trained" / "problems.parquet"
    written, dice = problems.read_bytes(), random.Random(0)
    for _ in range(60):
        _flip(problems, written, dice.randrange(len(written)), dice)
        with pytest.raises(RunError, match=r"problems\.parquet(: the problems of this report can't be read| is not as it was written)"):
            read_evaluation(problems.parent)


def _flip(path: Path, written: bytes, place: int, dice: random.Random) -> None:
    content = bytearray(written)
    content[place] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
