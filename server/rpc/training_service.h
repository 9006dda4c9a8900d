// SPDX-License-Identifier: Apache-2.0
//
// TrainingService over gRPC: check, convert, hand to the session's host, answer.
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

// Thread-safe.
class TrainingService final : public v1::TrainingService::CallbackService {
 public:
  explicit TrainingService(ServiceContext context);

  grpc::ServerUnaryReactor* Step(grpc::CallbackServerContext* call, const v1::StepRequest* request,
                                 v1::StepResponse* response) override;
  grpc::ServerBidiReactor<v1::StreamStepRequest, v1::StreamStepResponse>* StreamStep(
      grpc::CallbackServerContext* call) override;
  grpc::ServerWriteReactor<v1::PullResponse>* Pull(grpc::CallbackServerContext* call,
                                                   const v1::PullRequest* request) override;

 private:
  ServiceContext context_;
  StepMessages step_messages_;
};

}  // namespace talweg::server
