// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/grpc_transport.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/status.h"
#include "talweg/v1/session_service.grpc.pb.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg {
namespace {

// gRPC waits 1 s before it dials again and soon minutes; our own backoff stands above this one.
constexpr int kFirstRedialMilliseconds = 100;
constexpr int kLastRedialMilliseconds = 1000;

// A connection: a channel with its stubs.
struct Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SessionService::Stub> sessions;
  std::unique_ptr<v1::TrainingService::Stub> training;
};

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  int code = status.error_code();
  // What gRPC says where the connection broke under a stream that had begun, and where a server
  // that stops ended the call: this side never cancels a call whose status it reads.
  if ((code == grpc::StatusCode::UNKNOWN && status.error_message() == "Stream removed") ||
      code == grpc::StatusCode::CANCELLED) {
    code = grpc::StatusCode::UNAVAILABLE;
  }
  return StatusFromDetails(code, status.error_message(), status.error_details());
}

void SetTimeout(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

// How long a silent watch goes without a look about itself.
constexpr absl::Duration kIdle = absl::Milliseconds(100);

constexpr int kPingMilliseconds = 20000;
constexpr int kPongMilliseconds = 10000;

class GrpcTransport final : public Transport {
 public:
  GrpcTransport(absl::string_view address, uint64_t max_message_bytes)
      : address_(address), max_message_bytes_(max_message_bytes), connection_(Dial()) {}

  bool WaitUntilConnected(absl::Duration timeout) {
    return connection()->channel->WaitForConnected(absl::ToChronoTime(absl::Now() + timeout));
  }

  absl::Status Call(const v1::CreateSessionRequest& request, v1::CreateSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::CreateSession, request, response,
                 timeout);
  }
  absl::Status Call(const v1::GetSessionRequest& request, v1::GetSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::GetSession, request, response,
                 timeout);
  }
  absl::Status Call(const v1::ListSessionsRequest& request, v1::ListSessionsResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::ListSessions, request, response,
                 timeout);
  }
  absl::Status Call(const v1::UpdateSessionRequest& request, v1::UpdateSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::UpdateSession, request, response,
                 timeout);
  }
  absl::Status Call(const v1::DeleteSessionRequest& request, v1::DeleteSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::DeleteSession, request, response,
                 timeout);
  }
  absl::Status Call(const v1::JoinRequest& request, v1::JoinResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::Join, request, response,
                 timeout);
  }
  absl::Status Call(const v1::HeartbeatRequest& request, v1::HeartbeatResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::Heartbeat, request, response,
                 timeout);
  }
  absl::Status Call(const v1::LeaveRequest& request, v1::LeaveResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::Leave, request, response,
                 timeout);
  }
  absl::Status Call(const v1::StepRequest& request, v1::StepResponse& response,
                    absl::Duration timeout) override {
    return Unary(&Connection::training, &v1::TrainingService::Stub::Step, request, response,
                 timeout);
  }

  absl::Status Pull(const v1::PullRequest& request, TakeMessage take,
                    absl::Duration timeout) override {
    const std::shared_ptr<Connection> held = connection();
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    const auto reader = held->training->Pull(&context, request);
    v1::PullResponse message;
    absl::Status taken;
    while (taken.ok() && reader->Read(&message)) taken = take(message);
    if (!taken.ok()) context.TryCancel();
    const grpc::Status status = reader->Finish();
    return taken.ok() ? FromGrpc(status) : taken;
  }

  absl::Status Watch(const v1::WatchSessionRequest& request, TakeSteps take, Idle idle,
                     absl::Duration timeout) override {
    const std::shared_ptr<Connection> held = connection();
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    grpc::CompletionQueue queue;
    const auto reader = held->sessions->PrepareAsyncWatchSession(&context, request, &queue);
    absl::Status ended;  // by this side
    // Whether the operation that was begun worked.
    const auto await = [&] {
      void* tag = nullptr;
      bool ok = false;
      while (queue.AsyncNext(&tag, &ok, absl::ToChronoTime(absl::Now() + kIdle)) ==
             grpc::CompletionQueue::TIMEOUT) {
        if (!ended.ok()) continue;
        ended = idle();
        if (!ended.ok()) context.TryCancel();
      }
      return ok;
    };
    v1::WatchSessionResponse message;
    reader->StartCall(nullptr);
    bool open = await();
    while (open && ended.ok()) {
      reader->Read(&message, nullptr);
      open = await();
      if (open && ended.ok()) ended = take(message);
    }
    if (!ended.ok()) context.TryCancel();
    grpc::Status status;
    reader->Finish(&status, nullptr);
    await();
    queue.Shutdown();
    await();  // the queue's own end
    return ended.ok() ? FromGrpc(status) : ended;
  }

  void Reconnect() override {
    std::shared_ptr<Connection> fresh = Dial();
    const std::lock_guard<std::mutex> lock(mutex_);
    connection_.swap(fresh);
  }

  std::unique_ptr<Transport> Clone() const override {
    return std::make_unique<GrpcTransport>(address_, max_message_bytes_);
  }

 private:
  std::shared_ptr<Connection> Dial() const {
    const int limit =
        static_cast<int>(std::min<uint64_t>(max_message_bytes_, std::numeric_limits<int>::max()));
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(limit);
    arguments.SetMaxSendMessageSize(limit);
    // Calls on a connection whose other end has vanished end as UNAVAILABLE within half a minute.
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMilliseconds);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPongMilliseconds);
    // Channels of one process share connections unless told not to.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstRedialMilliseconds);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLastRedialMilliseconds);
    auto connection = std::make_shared<Connection>();
    connection->channel =
        grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
    connection->sessions = v1::SessionService::NewStub(connection->channel);
    connection->training = v1::TrainingService::NewStub(connection->channel);
    return connection;
  }

  std::shared_ptr<Connection> connection() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return connection_;
  }

  template <class Service, class Stub, class Request, class Response>
  absl::Status Unary(Service service,
                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                     const Request& request, Response& response, absl::Duration timeout) {
    const std::shared_ptr<Connection> held = connection();
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    return FromGrpc((*((*held).*service).*method)(&context, request, &response));
  }

  const std::string address_;
  const uint64_t max_message_bytes_;
  std::mutex mutex_;
  std::shared_ptr<Connection> connection_;  // guarded by mutex_; calls hold the one they began on
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> ConnectGrpc(absl::string_view address,
                                                       uint64_t max_message_bytes,
                                                       absl::Duration timeout) {
  auto transport = std::make_unique<GrpcTransport>(address, max_message_bytes);
  if (!transport->WaitUntilConnected(timeout)) {
    return absl::UnavailableError(absl::StrCat("no talweg-server answers at ", address, " within ",
                                               absl::FormatDuration(timeout)));
  }
  return transport;
}

}  // namespace talweg
