// SPDX-License-Identifier: Apache-2.0
//
// StreamStep: contributions one after the other over a stream that stays open.
#pragma once

#include "server/rpc/service_context.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg::server {

// Starts the answer to a StreamStep call; it ends with the call.
grpc::ServerBidiReactor<v1::StreamStepRequest, v1::StreamStepResponse>* StartTrainingStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc);

}  // namespace talweg::server
