// SPDX-License-Identifier: Apache-2.0
//
// A worker's name from the environment that a launcher gave it. A process that is started again in
// the place of another gets the same name, joins under it, and so fences the other.
//
//   talweg::Session session = client.Join("mlp", talweg::WorkerName()).value();
//
// The first of these that is set:
//
//   TALWEG_WORKER                            as it is
//   RANK, TORCHELASTIC_RUN_ID                RUN-RANK              torchrun
//   SLURM_JOB_ID, SLURM_PROCID               slurm-JOB-PROCESS     srun
//   JOB_COMPLETION_INDEX                     JOB-INDEX             an indexed Job of Kubernetes
//   (none of them)                           HOST-PID              not stable across restarts
//
// JOB is JOB_NAME; if that is not set, HOSTNAME without its index and random suffix.
//
// The innermost launcher comes first, because torchrun starts several processes in one task of
// Slurm or in one pod. A rank or a host is a convenience and no identity: two processes of one name
// fence each other, wherever they run. So two runs on one session need different names (torchrun:
// --rdzv-id).
#pragma once

#include <string>

#include "absl/functional/function_ref.h"

namespace talweg {

// The name of this process. It is always a name that a server takes: 1 to 128 characters of
// `a-z A-Z 0-9 . _ -`, the first a letter or a digit. Other characters become `-`. The end of a
// longer name is replaced by a digest of the whole name.
std::string WorkerName();

// The same from the caller's environment, which returns null for a variable that is not set.
std::string WorkerName(absl::FunctionRef<const char*(const char* variable)> environment);

}  // namespace talweg
