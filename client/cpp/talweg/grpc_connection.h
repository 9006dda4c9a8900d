// SPDX-License-Identifier: Apache-2.0
//
// A connection to a server over gRPC, and what every call on it does alike. Only the files grpc_*
// of this room may include this header: no header that is installed shows a type of gRPC.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "talweg/v1/search_service.grpc.pb.h"
#include "talweg/v1/session_service.grpc.pb.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg {

// A connection: a channel with its stubs.
struct GrpcConnection {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SessionService::Stub> sessions;
  std::unique_ptr<v1::TrainingService::Stub> training;
  std::unique_ptr<v1::SearchService::Stub> search;
};

// A new connection to `address`, which is dialled in the background. Messages either way have at
// most `max_message_bytes`.
std::shared_ptr<GrpcConnection> DialGrpc(const std::string& address, uint64_t max_message_bytes);

// The status that a call ended with, as this library tells it: what gRPC itself says of a
// connection becomes a sentence (told.h).
absl::Status FromGrpc(const grpc::Status& status);

// The operations of a call. The tag of an operation on a queue is its place in an array.
enum GrpcOperation { kStart, kWrite, kRead, kFinish };
void* TagOf(GrpcOperation operation);
GrpcOperation OperationOf(void* tag);

// Takes what is still to come on the queue of a call that is over or was cancelled.
void Empty(grpc::CompletionQueue& queue);

}  // namespace talweg
