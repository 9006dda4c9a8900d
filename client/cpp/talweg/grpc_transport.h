// SPDX-License-Identifier: Apache-2.0
//
// The transport over gRPC. No header that is installed shows a type of gRPC, so neither does this.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

// Opens a plaintext connection to `address` ("host:port", or any name that gRPC resolves) and waits
// at most `timeout` until it stands; UNAVAILABLE if it does not. Messages of up to
// `max_message_bytes` pass both ways. `idle` is asked about ten times a second meanwhile; an error
// ends the wait and is returned.
absl::StatusOr<std::unique_ptr<Transport>> ConnectGrpc(
    absl::string_view address, uint64_t max_message_bytes, absl::Duration timeout,
    Transport::Idle idle = [] { return absl::OkStatus(); });

}  // namespace talweg
