"""The examples for Slurm and Kubernetes, as far as they can be tried without either."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from reasoning_rl.recipes import load_config

FOLDER = Path(__file__).parents[1] / "docs" / "cluster"
FAKES = {
    "scontrol": 'echo "scontrol $*" >> "$SAID"; if [ "$1" = show ]; then printf "n1\\nn2\\n"; fi',
    "srun": 'echo "srun $*" >> "$SAID"; if [[ "$*" == *hostname* ]]; then echo 10.0.0.1 fe80::1; fi',
    "ray": 'echo "ray $*" >> "$SAID"',
    "reasoning-rl": 'trap "exit 143" TERM; echo "reasoning-rl $*" >> "$SAID"; for _ in $(seq $STEPS); do sleep 0.05; done; exit 5',
}
"""What Slurm, Ray and the driver are here: they note what they are asked. The driver ends with 5, or when it is told with 143."""


@pytest.fixture
def said(tmp_path: Path) -> Path:
    for name, body in FAKES.items():
        fake = tmp_path / name
        fake.write_text(f"#!/bin/bash\n{body}\n")
        fake.chmod(0o755)
    return tmp_path / "said"


def submitted(said: Path, *arguments: str, steps: int) -> "subprocess.Popen[bytes]":
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SAID": str(said), "STEPS": str(steps)}
    path = f"{said.parent}:{os.environ['PATH']}"
    return subprocess.Popen(["bash", FOLDER / "slurm.sh", *arguments], env={**os.environ, **job, "PATH": path}, cwd=said.parent)


def test_the_slurm_script_starts_ray_on_every_node_and_the_driver_on_the_first(said: Path) -> None:
    assert submitted(said, "--recipe", "smoke", "name=x", steps=10).wait(60) == 5  # the driver's own
    lines = said.read_text().splitlines()
    start = "srun --overlap --nodes=1 --ntasks=1"
    assert f"{start} --nodelist=n1 ray start --head --node-ip-address=10.0.0.1 --port=6379 --disable-usage-stats --block" in lines
    assert f"{start} --exclude=n1 ray start --address=10.0.0.1:6379 --disable-usage-stats --block" in lines
    assert "reasoning-rl train --recipe smoke name=x cluster.address=10.0.0.1:6379" in lines
    assert not any("requeue" in line for line in lines)


def test_when_its_time_is_up_the_driver_may_finish_its_step_and_the_job_stands_in_line_again(said: Path) -> None:
    job = submitted(said, steps=1000)
    while not said.exists() or "reasoning-rl train" not in said.read_text():
        assert job.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)  # until the script knows whom to tell
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 143
    lines = said.read_text().splitlines()
    assert "reasoning-rl train --recipe gsm8k-qwen2.5-7b-2nodes cluster.address=10.0.0.1:6379" in lines
    assert lines[-1] == "scontrol requeue 7"


def test_the_kuberay_example_has_the_gpus_of_its_recipe() -> None:
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())["spec"]
    words = job["entrypoint"].split()
    config = load_config(words[words.index("--recipe") + 1], words[words.index("--recipe") + 2 :])
    cluster = config.cluster
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    there = group["replicas"] * int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert there == cluster.learners + cluster.samplers * cluster.tensor_parallel
    assert cluster.address == "auto"
