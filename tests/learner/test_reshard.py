"""A checkpoint of some ranks is one for any number of them, sharded or not."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_work import Loaded, loaded, reports, small
from torch import Tensor

from reasoning_rl.checksums import damage
from reasoning_rl.errors import RunError
from reasoning_rl.files import leftovers
from reasoning_rl.learner.checkpoint import load_state
from reasoning_rl.learner.parallel import ALONE

pytestmark = pytest.mark.slow

Reports = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "ranks"


@pytest.fixture(scope="module")
def said(tokenizer_folder: str, folder: Path) -> Reports:
    return reports(tokenizer_folder, folder)


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Leaves by their path; lists are leaves."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {name: leaf for key, value in tree.items() for name, leaf in flat(value, f"{path}/{key}").items()}


def require_same(mine: Loaded, saved: Loaded) -> None:
    """Bit by bit what was saved; sums in another order in what comes after."""
    ours, theirs = (flat({"weights": one.weights, "state": one.state}) for one in (mine, saved))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value) if isinstance(value, Tensor) else ours[name] == value, name
    assert {
        "/weights/lm_head.weight",
        "/state/optimizer/state/0/exp_avg",
        "/state/reference/model.norm.weight",
        "/state/value/head.bias",
    } <= ours.keys()
    for name in ("loss", "grad_norm", "value/grad_norm", "kl"):
        assert mine.then[name] == pytest.approx(saved.then[name], rel=1e-5, abs=1e-6), name


def first(said: Reports, kind: str) -> Loaded:
    """Those who saved it."""
    made: Loaded = said[0]["saved"] if kind == "alone" else said[2][f"saved {kind}"]
    return made


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("kind", ["alone", "sharded", "replicated"])
def test_sharded_ranks_take_up_what_others_have_saved(ranks: int, kind: str, said: Reports) -> None:
    require_same(said[ranks][f"loaded {kind}"], first(said, kind))


def test_one_process_takes_up_what_two_sharded_ranks_have_saved(said: Reports, folder: Path, tokenizer_folder: str) -> None:
    mine = loaded(folder / "sharded" / "step-00002", lambda: small(tokenizer_folder), ALONE, sharded=False)
    require_same(mine, first(said, "sharded"))


def test_it_is_a_model_folder_as_that_of_one_process(said: Reports, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    sharded, alone = (folder / kind / "step-00002" for kind in ("sharded", "alone"))
    weights = AutoModelForCausalLM.from_pretrained(sharded).state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in first(said, "sharded").weights.items())
    assert {path.name for path in sharded.iterdir()} == {path.name for path in alone.iterdir()} | {"shards"}
    assert (sharded / "config.json").read_bytes() == (alone / "config.json").read_bytes()
    assert (sharded / "model.safetensors").stat().st_size == (alone / "model.safetensors").stat().st_size  # tied weights once


def test_what_is_not_sharded_is_the_first_ranks(said: Reports, folder: Path) -> None:
    for kind in ("sharded", "replicated"):
        assert load_state(folder / kind / "step-00002")["mine"] == 0
    assert said[2]["saved sharded"].weights  # both have come to its end


def test_nothing_is_left_beside_it(said: Reports, folder: Path) -> None:
    assert said
    assert leftovers(folder) == []


def test_every_rank_is_told_that_it_could_not_be_written(said: Reports) -> None:
    told = said[2]["unwritable"]
    assert len(told) == 4  # by either rank, of the folder and of the shards
    assert all("taken/step-00001 can't be written: [Errno 20] Not a directory" in one for one in told)


@pytest.fixture
def copied(said: Reports, folder: Path, tmp_path: Path) -> Path:
    assert said
    return Path(shutil.copytree(folder / "sharded" / "step-00002", tmp_path / "step-00002"))


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", "__1_0.distcp"])
def test_one_flipped_bit_of_a_shard_is_noticed(name: str, copied: Path) -> None:
    content = bytearray((copied / "shards" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "shards" / name).write_bytes(content)
    assert damage(copied) == f"shards/{name} is not as it was written"


@pytest.mark.parametrize("name", [".metadata", "__1_0.distcp"])
def test_a_shard_that_is_gone_is_told_of(name: str, copied: Path, tokenizer_folder: str) -> None:
    (copied / "shards" / name).unlink()
    with pytest.raises(
        RunError, match=r"step-00002/shards can't be read; remove .*step-00002 to go on from the one before: .*No such file"
    ):
        loaded(copied, lambda: small(tokenizer_folder), ALONE, sharded=False)
