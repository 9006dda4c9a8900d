// SPDX-License-Identifier: Apache-2.0
//
// StreamStep: many contributions, one after another, over one stream.
#pragma once

#include "server/rpc/service_context.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg::server {

// Starts to serve a StreamStep call. What this returns deletes itself when the call is over.
grpc::ServerBidiReactor<v1::StreamStepRequest, v1::StreamStepResponse>* StartTrainingStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc);

}  // namespace talweg::server
