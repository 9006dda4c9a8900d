// SPDX-License-Identifier: Apache-2.0
//
// TrainingService over gRPC: each call is checked, converted, handed to the session's host and
// answered.
#pragma once

#include "server/rpc/service_context.h"
#include "server/rpc/unary_step.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg::server {

// Thread-safe.
class TrainingService final : public v1::TrainingService::CallbackService {
 public:
  explicit TrainingService(ServiceContext context);

  grpc::ServerUnaryReactor* Step(grpc::CallbackServerContext* context,
                                 const v1::StepRequest* request,
                                 v1::StepResponse* response) override;
  grpc::ServerBidiReactor<v1::StreamStepRequest, v1::StreamStepResponse>* StreamStep(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::PullResponse>* Pull(grpc::CallbackServerContext* context,
                                                   const v1::PullRequest* request) override;

 private:
  ServiceContext context_;
  StepMessages step_messages_;
};

}  // namespace talweg::server
