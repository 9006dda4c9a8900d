// SPDX-License-Identifier: Apache-2.0
//
// Step: one contribution in one message, its reply in another.
#pragma once

#include "grpcpp/support/message_allocator.h"
#include "server/rpc/service_context.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg::server {

// Makes requests that can be freed before their call is answered: a call that waits for other
// workers needs its gradient no more. Thread-safe.
class StepMessages final : public grpc::MessageAllocator<v1::StepRequest, v1::StepResponse> {
 public:
  grpc::MessageHolder<v1::StepRequest, v1::StepResponse>* AllocateMessages() override;
};

// Starts to serve a Step call. StepMessages must have made its messages. What this returns deletes
// itself when the call is over.
grpc::ServerUnaryReactor* StartUnaryStep(const ServiceContext& context,
                                         grpc::CallbackServerContext& grpc,
                                         const v1::StepRequest& request,
                                         v1::StepResponse& response);

}  // namespace talweg::server
