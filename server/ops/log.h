// SPDX-License-Identifier: Apache-2.0
//
// The server's log: lines for people or JSON objects for machines, on standard error.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace talweg::server {

// `format` is "text" or "json"; `level` is debug, info, warning or error. Fails with
// INVALID_ARGUMENT on anything else. Silences gRPC's own log, unless `level` is debug or
// GRPC_VERBOSITY is set. Call it once, before the first line, the first thread and the first use of
// gRPC.
absl::Status SetUpLog(const std::string& format, const std::string& level);

// Write the lines about sessions and calls. Thread-safe.
void LogSessionCreated(absl::string_view session_id, uint64_t num_elements);
void LogSessionDeleted(absl::string_view session_id);
// A warning: `num_elements` parameters of the version are NaN or infinite, element `first` before
// all others. Elements are counted in the flat vector.
void LogNonFinite(absl::string_view session_id, uint64_t version, uint64_t num_elements,
                  uint64_t first);
// A search gives generations up: from this version on no pair counts.
void LogGivenUp(absl::string_view session_id, uint64_t version, uint64_t num_non_finite);
// The threads for inverses beside the steps have begun. `kernels` names those of the BLAS.
void LogBackgroundPool(size_t num_threads, bool is_idle_priority, absl::string_view kernels);
void LogRefusal(const absl::Status& status);  // at level debug
// At level debug: the method, code and reason, seconds, bytes.
void LogCallEnded(absl::string_view method, const absl::Status& status, absl::Duration elapsed,
                  uint64_t bytes_in, uint64_t bytes_out);

}  // namespace talweg::server
