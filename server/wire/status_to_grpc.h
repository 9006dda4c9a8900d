// SPDX-License-Identifier: Apache-2.0
//
// The only place that makes an error for the wire: google.rpc.ErrorInfo with domain "talweg" and,
// where they fit, BadRequest, RetryInfo and QuotaFailure; message and details under 2 KiB together.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace talweg::server {

grpc::Status StatusToGrpc(const absl::Status& status);

}  // namespace talweg::server
