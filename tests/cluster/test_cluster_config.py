"""What a recipe may say of a cluster, and that Ray is left alone where it says nothing."""

import subprocess
import sys

import pytest

from reasoning_rl import runfolder
from reasoning_rl.cluster.ray_session import connected, require_cluster
from reasoning_rl.config import ClusterConfig
from reasoning_rl.errors import ConfigError, EngineError
from reasoning_rl.recipes import load_config

LOCAL = "cluster.address=local"


def test_sizes_without_an_address_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"cluster.learners: 8 needs an address; 'local', 'auto' and host:port are accepted"):
        load_config("cpu", ["cluster.learners=8"])


def test_colocated_samplers_use_the_learners_gpus_and_no_others() -> None:
    with pytest.raises(ConfigError, match=r"found 4 learners and 1 samplers × tensor_parallel 2 = 2"):
        load_config(
            "cpu", [LOCAL, "cluster.placement=colocated", "cluster.learners=4", "cluster.tensor_parallel=2", "sampling.engine=vllm"]
        )
    assert load_config("cpu", [LOCAL, "cluster.placement=colocated", "cluster.learners=2", "cluster.samplers=2"]).cluster.learners == 2


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("policy.lora={}", "policy.lora: found adapters"),
        ("learner.optimizer=adamw8bit", "learner.optimizer: found 'adamw8bit'"),
    ],
)
def test_what_is_not_shared_out_is_refused_before_it_is_loaded(override: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"{found}, which needs cluster.shard=false"):
        load_config("cpu", [LOCAL, override])
    assert load_config("cpu", [LOCAL, override, "cluster.shard=false"]).cluster.shard is False
    assert load_config("cpu", [override]).cluster.address is None


def test_copies_in_float32_need_whole_weights() -> None:
    with pytest.raises(ConfigError, match=r"learner.master_weights: found True, which needs cluster.shard=false"):
        load_config("cpu", [LOCAL, "policy.dtype=bfloat16", "learner.master_weights=true"])


def test_a_local_engine_is_not_cut_up() -> None:
    with pytest.raises(ConfigError, match=r"cluster.tensor_parallel: 2 needs sampling.engine 'vllm', found 'auto'"):
        load_config("cpu", [LOCAL, "cluster.tensor_parallel=2"])


def test_ranks_do_not_halve_their_budget_one_by_one() -> None:
    with pytest.raises(ConfigError, match=r"learner.halve_when_out_of_memory: needs cluster.learners 1, found 2"):
        load_config("smoke", [LOCAL, "cluster.learners=2", "learner.halve_when_out_of_memory=true"])


def test_a_run_may_go_on_elsewhere() -> None:
    before, after = load_config("smoke"), load_config("smoke", [LOCAL, "cluster.learners=4", "cluster.samplers=2"])
    assert runfolder.differences(before, after) == []


def test_without_a_cluster_ray_is_not_imported() -> None:
    program = """
import sys
from reasoning_rl.recipes import load_config
from reasoning_rl.workplace import connected, judge_of, team_of
config = load_config("smoke")
with connected(config, print), judge_of(config), team_of(config, print):
    print("ray" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


def test_without_ray_a_cluster_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"cluster.address: 'auto' needs Ray, which is not installed; pip install 'reasoning-rl\[ray\]'"):
        require_cluster(ClusterConfig(address="auto"))
    require_cluster(ClusterConfig())


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at '127.0.0.1:1'"),
        ("ray://127.0.0.1:1", "no Ray cluster answers at 'ray://127.0.0.1:1'"),
        ("nowhere", "'nowhere' has no port"),
    ],
)
def test_where_no_cluster_answers_the_address_is_named(address: str, said: str) -> None:
    with pytest.raises(EngineError, match=f"cluster.address: {said}"), connected(ClusterConfig(address=address)):
        pass
