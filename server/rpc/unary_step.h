// SPDX-License-Identifier: Apache-2.0
//
// TrainingService.Step: one message each way. For training_service.cc alone.
#pragma once

#include "grpcpp/support/message_allocator.h"
#include "server/rpc/service_context.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg::server {

// Makes requests that can be freed before their call is answered: a call that waits for other
// workers has no use for its gradient. Thread-safe.
class StepMessages final : public grpc::MessageAllocator<v1::StepRequest, v1::StepResponse> {
 public:
  grpc::MessageHolder<v1::StepRequest, v1::StepResponse>* AllocateMessages() override;
};

// The call's reactor, which deletes itself. Its messages are of a StepMessages.
grpc::ServerUnaryReactor* StartStep(const ServiceContext& context,
                                    grpc::CallbackServerContext& call,
                                    const v1::StepRequest& request, v1::StepResponse& response);

}  // namespace talweg::server
