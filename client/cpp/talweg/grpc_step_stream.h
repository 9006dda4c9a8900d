// SPDX-License-Identifier: Apache-2.0
//
// A stream of contributions over gRPC. For grpc_transport.cc alone.
#pragma once

#include <memory>

#include "client/cpp/talweg/step_stream.h"

namespace talweg {

struct GrpcConnection;

// Begins a call of StreamStep on `connection`. Never null: the first events tell if there is no
// server.
std::unique_ptr<StepStream> OpenGrpcStepStream(std::shared_ptr<GrpcConnection> connection);

}  // namespace talweg
