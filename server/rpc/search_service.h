// SPDX-License-Identifier: Apache-2.0
//
// SearchService over gRPC: each call is checked, converted, handed to the session's host and
// answered.
#pragma once

#include "server/rpc/service_context.h"
#include "talweg/v1/search_service.grpc.pb.h"

namespace talweg::server {

// Thread-safe.
class SearchService final : public v1::SearchService::CallbackService {
 public:
  explicit SearchService(ServiceContext context) : context_(context) {}

  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context, const v1::AskRequest* request,
                                v1::AskResponse* response) override;
  grpc::ServerUnaryReactor* Tell(grpc::CallbackServerContext* context,
                                 const v1::TellRequest* request,
                                 v1::TellResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchGenerationsResponse>* WatchGenerations(
      grpc::CallbackServerContext* context, const v1::WatchGenerationsRequest* request) override;

 private:
  ServiceContext context_;
};

}  // namespace talweg::server
