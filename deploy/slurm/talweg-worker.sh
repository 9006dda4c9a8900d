#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#SBATCH --job-name=talweg-workers
#SBATCH --requeue
#
# Workers of a Talweg session as tasks of Slurm:
#
#   sbatch --ntasks=16 deploy/slurm/talweg-worker.sh COMMAND...    the tasks as a job
#   srun --ntasks=16 --kill-on-bad-exit=0 deploy/slurm/talweg-worker.sh COMMAND...
#
# Each task gets TALWEG_WORKER, slurm-JOB-TASK, and TALWEG_SERVER, then becomes COMMAND. If
# TALWEG_SERVER is not set, the server is taken to listen on the job's first node, at port 50551
# (TALWEG_PORT). A job that is requeued keeps its number: its workers come back under their names, and
# the session takes them for the same. A task that dies alone takes no other with it.
set -euo pipefail

if (($# == 0)); then
  echo "talweg-worker: which command? talweg-worker.sh COMMAND..." >&2
  exit 2
fi
if [[ -z ${SLURM_JOB_ID:-} ]]; then
  echo "talweg-worker: SLURM_JOB_ID is not set; run this by srun or sbatch" >&2
  exit 2
fi
# In the job's script, before there are tasks. Slurm keeps that script on this node alone, so the
# tasks are handed its text.
if [[ -z ${SLURM_STEP_ID:-} ]]; then
  exec srun --kill-on-bad-exit=0 bash -c "$(<"${BASH_SOURCE[0]}")" talweg-worker "$@"
fi

if [[ -z ${TALWEG_SERVER:-} ]]; then
  nodes=$(scontrol show hostnames "${SLURM_JOB_NODELIST:?is not set; set TALWEG_SERVER}")
  TALWEG_SERVER=${nodes%%$'\n'*}:${TALWEG_PORT:-50551}
fi
TALWEG_WORKER=slurm-$SLURM_JOB_ID-${SLURM_PROCID:?is not set}
export TALWEG_SERVER TALWEG_WORKER
exec "$@"
