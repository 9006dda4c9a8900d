// SPDX-License-Identifier: Apache-2.0
//
// The only place that makes an error for the wire: google.rpc.ErrorInfo with the domain "talweg"
// and, if they apply, BadRequest, PreconditionFailure, RetryInfo and QuotaFailure. Message and
// details together stay under 2 KiB.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace talweg::server {

// The status as gRPC sends it. An error without a reason gets no ErrorInfo.
grpc::Status StatusToGrpc(const absl::Status& status);

}  // namespace talweg::server
