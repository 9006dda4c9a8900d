// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/grpc_connection.h"

#include <algorithm>
#include <limits>

#include "client/cpp/talweg/status.h"
#include "client/cpp/talweg/told.h"

namespace talweg {
namespace {

// gRPC waits 1 s before it dials again and soon minutes; our own backoff stands above this one.
constexpr int kFirstRedialMilliseconds = 100;
constexpr int kLastRedialMilliseconds = 1000;

// How long one dial may take, instead of 20 s. If packets vanish on the way, the kernel dials 1, 3
// and 7 s after the first time, and so on; begun anew after 5 s, no two tries are more than 2 s
// apart.
constexpr int kDialMilliseconds = 5000;

constexpr int kPingMilliseconds = 20000;
constexpr int kPongMilliseconds = 10000;

// That much of a stream may come before it is read: over a line with 50 ms there and back, 80 MB/s.
constexpr int kLookaheadBytes = 4 << 20;

GrpcOperation operations[] = {kStart, kWrite, kRead, kFinish};

}  // namespace

std::shared_ptr<GrpcConnection> DialGrpc(const std::string& address, uint64_t max_message_bytes) {
  const int limit =
      static_cast<int>(std::min<uint64_t>(max_message_bytes, std::numeric_limits<int>::max()));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(limit);
  arguments.SetMaxSendMessageSize(limit);
  // Calls on a connection whose other end has vanished end as UNAVAILABLE within half a minute.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMilliseconds);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPongMilliseconds);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Also while a call waits for other workers and nothing is sent: two pings are all by default.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Otherwise gRPC pings with every burst of data that it receives, to measure the line, and a
  // worker that tells a few floats sends more pings than floats. What a stream may receive ahead is
  // fixed.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  // Channels of one process share connections unless told not to.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstRedialMilliseconds);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLastRedialMilliseconds);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kDialMilliseconds);
  auto connection = std::make_shared<GrpcConnection>();
  connection->channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  connection->sessions = v1::SessionService::NewStub(connection->channel);
  connection->training = v1::TrainingService::NewStub(connection->channel);
  connection->search = v1::SearchService::NewStub(connection->channel);
  return connection;
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  int code = status.error_code();
  // What gRPC says if the connection broke under a stream that had begun, or if a server that stops
  // ended the call: this side never cancels a call whose status it reads.
  if ((code == grpc::StatusCode::UNKNOWN && status.error_message() == "Stream removed") ||
      code == grpc::StatusCode::CANCELLED) {
    code = grpc::StatusCode::UNAVAILABLE;
  }
  // What the server says comes with details; the rest is gRPC's.
  const std::string message = status.error_details().empty()
                                  ? ConnectionText(status.error_message())
                                  : status.error_message();
  return StatusFromDetails(code, message, status.error_details());
}

void* TagOf(GrpcOperation operation) { return &operations[operation]; }
GrpcOperation OperationOf(void* tag) { return *static_cast<const GrpcOperation*>(tag); }

void Empty(grpc::CompletionQueue& queue) {
  queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
  }
}

}  // namespace talweg
