#!/bin/bash
# Two nodes of eight GPUs under Slurm. Not run on a cluster: no second machine was at hand.
#
#     sbatch docs/cluster/slurm.sh                                          the recipe gsm8k-qwen2.5-7b-2nodes
#     sbatch --nodes=8 docs/cluster/slurm.sh --recipe gsm8k-qwen2.5-7b-8nodes name=again
#
# The folder it is submitted from, the environment and the home folder are to be seen by all nodes. Ray is started on each of them; the driver runs on
# the first, in this script. Ten minutes before the time is up it gets SIGTERM: it finishes its step, saves, and the job stands in line again.
#SBATCH --job-name=reasoning-rl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@600
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

STOPPED=143    # of reasoning-rl, which SIGTERM has ended at a step's end
arguments=("$@")
[ $# -gt 0 ] || arguments=(--recipe gsm8k-qwen2.5-7b-2nodes)

export RAY_AUTH_MODE=token             # without it, whoever reaches a port runs what they like
ray get-auth-token --generate > /dev/null    # lies in the home folder, where all nodes find it

read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
read -r ip _ < <(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname --ip-address)
address=$ip:6379
ray_on() { srun --overlap --nodes="$1" --ntasks="$1" "${@:2}" & }    # --overlap: the nodes' GPUs are the whole job's

ray_on 1 --nodelist="$first" ray start --head --node-ip-address="$ip" --port=6379 --disable-usage-stats --block
for _ in $(seq 60); do ray status --address="$address" > /dev/null 2>&1 && break; sleep 2; done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    ray_on $((SLURM_JOB_NUM_NODES - 1)) --exclude="$first" ray start --address="$address" --disable-usage-stats --block
fi

driver=
trap '[ -z "$driver" ] || kill -TERM "$driver"' TERM
reasoning-rl train "${arguments[@]}" "cluster.address=$address" &    # waits for nodes to join: cluster.wait_s
driver=$!
code=0
wait $driver || code=$?
while kill -0 $driver 2> /dev/null; do    # the signal ended the first wait, not the driver
    code=0
    wait $driver || code=$?
done
[ $code -ne $STOPPED ] || scontrol requeue "$SLURM_JOB_ID"
exit $code
