// SPDX-License-Identifier: Apache-2.0
//
// A worker's name from the environment that a launcher gave it, so that a process that is started
// again in its predecessor's place joins under the same name and fences it.
//
//   talweg::Session session = client.Join("mlp", talweg::WorkerName()).value();
//
// The first of these that is there:
//
//   TALWEG_WORKER                            as it is
//   RANK, TORCHELASTIC_RUN_ID                RUN-RANK              torchrun
//   SLURM_JOB_ID, SLURM_PROCID               slurm-JOB-PROCESS     srun
//   JOB_COMPLETION_INDEX                     JOB-INDEX             an indexed Job of Kubernetes
//   (none of them)                           HOST-PID              not stable across restarts
//
// JOB is JOB_NAME, or HOSTNAME without its index and random suffix.
//
// The innermost launcher comes first: torchrun starts several processes in one task of Slurm or one
// pod. A rank or a host is a convenience, no identity: two processes of one name fence each other,
// wherever they run. So two runs on one session need names of their own (torchrun: --rdzv-id).
#pragma once

#include <string>

#include "absl/functional/function_ref.h"

namespace talweg {

// Of this process. Always a name that a server takes: 1 to 128 characters of `a-z A-Z 0-9 . _ -`,
// the first a letter or a digit. Other characters become `-`; of a longer name the end is replaced
// by a digest of all of it.
std::string WorkerName();

// The same of an environment of one's own; null: not set.
std::string WorkerName(absl::FunctionRef<const char*(const char* variable)> environment);

}  // namespace talweg
