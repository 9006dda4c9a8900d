// SPDX-License-Identifier: Apache-2.0
//
// Connects gRPC's calls to the door's. For the services of this room.
#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/door.h"
#include "server/wire/status_to_grpc.h"

namespace talweg::server {

// What the door is told of a call when it begins. `method` must point to static storage.
inline CallFacts FactsOf(absl::string_view method, const grpc::CallbackServerContext& context) {
  CallFacts facts = {method, context.peer(), {}};
  for (const auto& [name, value] : context.client_metadata()) {
    facts.metadata.emplace_back(std::string(name.data(), name.size()),
                                std::string(value.data(), value.size()));
  }
  return facts;
}

// Decides how `call` ends, and says it as gRPC takes it.
inline grpc::Status Ending(Call& call, const absl::Status& status) {
  call.Decide(status);
  return StatusToGrpc(status);
}

// A call with one message each way. It deletes itself when it is over.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // `response` belongs to gRPC, and lives as long as the call.
  UnaryCall(const Door& door, absl::string_view method, const grpc::CallbackServerContext& context,
            const google::protobuf::Message& response)
      : context_(context), door_call_(door, FactsOf(method, context)), response_(response) {}

  Call& call() { return door_call_; }

  // Ends the call, with the response if `status` is OK. Returns the call, for the service to
  // return.
  UnaryCall* End(const absl::Status& status) {
    if (status.ok()) door_call_.CountOut(response_.ByteSizeLong());
    Finish(Ending(door_call_, status));
    return this;
  }

  void OnDone() override {
    door_call_.Over(context_.IsCancelled());
    delete this;
  }

 private:
  const grpc::CallbackServerContext& context_;
  Call door_call_;
  const google::protobuf::Message& response_;
};

}  // namespace talweg::server
