#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Workers of a Talweg session as processes of torchrun:
#
#   torchrun --no-python --nnodes=2 --nproc-per-node=4 --max-restarts=10 --rdzv-id=night \
#       --rdzv-endpoint=HOST:29400 deploy/torchrun/talweg-worker.sh COMMAND...
#
# Each process gets TALWEG_WORKER, RUN-RANK (night-5), and TALWEG_SERVER, then becomes COMMAND. If
# TALWEG_SERVER is not set, the server is taken to listen on torchrun's master, at port 50551
# (TALWEG_PORT). Without --rdzv-id every run is called none: two of them on one session would fence
# each other's workers.
set -euo pipefail

if (($# == 0)); then
  echo "talweg-worker: which command? talweg-worker.sh COMMAND..." >&2
  exit 2
fi
if [[ -z ${RANK:-} || -z ${TORCHELASTIC_RUN_ID:-} ]]; then
  echo "talweg-worker: RANK or TORCHELASTIC_RUN_ID is not set; run this by torchrun --no-python" >&2
  exit 2
fi

TALWEG_SERVER=${TALWEG_SERVER:-${MASTER_ADDR:?is not set; set TALWEG_SERVER}:${TALWEG_PORT:-50551}}
# A run may be called anything, a worker only by letters, digits and . _ -, the first no sign.
run=${TORCHELASTIC_RUN_ID//[^A-Za-z0-9._-]/-}
run=${run#"${run%%[A-Za-z0-9]*}"}
TALWEG_WORKER=${run:-run}-$RANK
export TALWEG_SERVER TALWEG_WORKER
exec "$@"
