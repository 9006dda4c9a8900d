// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/grpc_transport.h"

#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/grpc_connection.h"
#include "client/cpp/talweg/grpc_step_stream.h"
#include "client/cpp/talweg/told.h"

namespace talweg {
namespace {

// The end of a long wait: if there is no connection, the call has met no server.
absl::Status ByConnection(const GrpcConnection& held, absl::Status status) {
  if (!absl::IsDeadlineExceeded(status)) return status;
  if (held.channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY) return status;
  return absl::UnavailableError("there is no connection to the server");
}

void SetTimeout(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

// How long a silent call goes without a look about itself.
constexpr absl::Duration kIdle = absl::Milliseconds(100);

// Waits for the next operation of a call, as long as `timeout` and while `idle` says so. An error
// is why this side ends it.
absl::Status Await(grpc::CompletionQueue& queue, absl::Duration timeout, Transport::Idle idle,
                   void** tag, bool* ok) {
  const absl::Time deadline = absl::Now() + timeout;
  for (;;) {
    const absl::Time look = std::min(deadline, absl::Now() + kIdle);
    if (queue.AsyncNext(tag, ok, absl::ToChronoTime(look)) == grpc::CompletionQueue::GOT_EVENT) {
      return absl::OkStatus();
    }
    if (absl::Now() >= deadline) return NothingMoved(timeout);
    absl::Status go_on = idle();
    if (!go_on.ok()) return go_on;
  }
}

class GrpcTransport final : public Transport {
 public:
  GrpcTransport(absl::string_view address, uint64_t max_message_bytes)
      : address_(address),
        max_message_bytes_(max_message_bytes),
        connection_(DialGrpc(address_, max_message_bytes)) {}

  // An error if the connection does not stand in time, or if `idle` says so.
  absl::Status WaitUntilConnected(absl::Duration timeout, Idle idle) {
    const std::shared_ptr<GrpcConnection> held = connection();
    const absl::Time deadline = absl::Now() + timeout;
    for (;;) {
      const absl::Time look = std::min(deadline, absl::Now() + kIdle);
      if (held->channel->WaitForConnected(absl::ToChronoTime(look))) return absl::OkStatus();
      absl::Status go_on = idle();
      if (!go_on.ok()) return go_on;
      if (absl::Now() < deadline) continue;
      return absl::UnavailableError(absl::StrCat("no talweg-server answers at ", address_,
                                                 " within ", DurationText(timeout), WhyNot(*held)));
    }
  }

  absl::Status Call(const v1::CreateSessionRequest& request, v1::CreateSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::CreateSession, request,
                 response, timeout);
  }
  absl::Status Call(const v1::GetSessionRequest& request, v1::GetSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::GetSession, request,
                 response, timeout);
  }
  absl::Status Call(const v1::ListSessionsRequest& request, v1::ListSessionsResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::ListSessions, request,
                 response, timeout);
  }
  absl::Status Call(const v1::UpdateSessionRequest& request, v1::UpdateSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::UpdateSession, request,
                 response, timeout);
  }
  absl::Status Call(const v1::DeleteSessionRequest& request, v1::DeleteSessionResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::DeleteSession, request,
                 response, timeout);
  }
  absl::Status Call(const v1::JoinRequest& request, v1::JoinResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::Join, request, response,
                 timeout);
  }
  absl::Status Call(const v1::HeartbeatRequest& request, v1::HeartbeatResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::Heartbeat, request, response,
                 timeout);
  }
  absl::Status Call(const v1::LeaveRequest& request, v1::LeaveResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::Leave, request, response,
                 timeout);
  }
  absl::Status Call(const v1::StepRequest& request, v1::StepResponse& response,
                    absl::Duration timeout) override {
    return Unary(&GrpcConnection::training, &v1::TrainingService::Stub::Step, request, response,
                 timeout);
  }

  absl::Status Wait(const v1::StepRequest& request, v1::StepResponse& response, Idle idle,
                    absl::Duration timeout) override {
    return Wait(&GrpcConnection::training, &v1::TrainingService::Stub::AsyncStep, request, response,
                idle, timeout);
  }
  absl::Status Wait(const v1::AskRequest& request, v1::AskResponse& response, Idle idle,
                    absl::Duration timeout) override {
    return Wait(&GrpcConnection::search, &v1::SearchService::Stub::AsyncAsk, request, response,
                idle, timeout);
  }
  absl::Status Wait(const v1::TellRequest& request, v1::TellResponse& response, Idle idle,
                    absl::Duration timeout) override {
    return Wait(&GrpcConnection::search, &v1::SearchService::Stub::AsyncTell, request, response,
                idle, timeout);
  }
  absl::Status Call(const v1::ListVersionRecordsRequest& request,
                    v1::ListVersionRecordsResponse& response, absl::Duration timeout) override {
    return Unary(&GrpcConnection::sessions, &v1::SessionService::Stub::ListVersionRecords, request,
                 response, timeout);
  }

  absl::Status Pull(const v1::PullRequest& request, TakeMessage take, Idle idle,
                    absl::Duration timeout) override {
    const std::shared_ptr<GrpcConnection> held = connection();
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto reader = held->training->AsyncPull(&context, request, &queue, TagOf(kStart));
    v1::PullResponse message;
    grpc::Status status;
    absl::Status ours;  // why this side ended it
    void* tag = nullptr;
    bool ok = false;
    for (bool done = false; !done;) {
      ours = ByConnection(*held, Await(queue, timeout, idle, &tag, &ok));
      if (!ours.ok()) break;
      done = tag == TagOf(kFinish);
      if (tag == TagOf(kRead) && ok) ours = take(message);
      if (!ours.ok()) break;
      if (tag == TagOf(kRead) && !ok) reader->Finish(&status, TagOf(kFinish));
      if (tag != TagOf(kFinish) && (tag == TagOf(kStart) || ok)) {
        reader->Read(&message, TagOf(kRead));
      }
    }
    if (!ours.ok()) context.TryCancel();
    Empty(queue);
    return ours.ok() ? FromGrpc(status) : ours;
  }

  absl::Status UploadSession(const v1::CreateSessionRequest& create, TakeGrant take, NextFrame next,
                             v1::CreateSessionResponse& response, absl::Duration timeout) override {
    const std::shared_ptr<GrpcConnection> held = connection();
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto stream = held->sessions->AsyncUploadSession(&context, &queue, TagOf(kStart));
    v1::UploadSessionRequest frame;
    v1::UploadSessionResponse answer;
    grpc::Status status;
    absl::Status ours;  // why this side ended it
    bool writing = false;
    bool granted = false;
    bool created = false;
    for (bool done = false; !done && ours.ok();) {
      void* tag = nullptr;
      bool ok = false;
      ours = ByConnection(*held, Await(
                                     queue, timeout, [] { return absl::OkStatus(); }, &tag, &ok));
      if (!ours.ok()) break;
      switch (OperationOf(tag)) {
        case kStart:
          // A call that could not begin is at its end, which says why.
          if (ok) {
            *frame.mutable_create() = create;
            stream->Write(frame, TagOf(kWrite));
            writing = true;
          }
          stream->Read(&answer, TagOf(kRead));
          break;
        case kWrite:
          // A write that failed is followed by the end of the stream.
          writing = !ok;
          break;
        case kRead:
          if (!ok) {
            stream->Finish(&status, TagOf(kFinish));
            break;
          }
          if (answer.has_grant()) {
            ours = take(answer.grant());
            granted = true;
          }
          if (answer.has_created()) {
            response = answer.created();
            created = true;
          }
          stream->Read(&answer, TagOf(kRead));
          break;
        case kFinish:
          done = true;
          break;
      }
      if (!ours.ok() || done || !granted || writing || created) continue;
      frame.Clear();
      writing = next(frame);
      if (writing) stream->Write(frame, TagOf(kWrite));
    }
    if (!ours.ok()) context.TryCancel();
    Empty(queue);
    if (!ours.ok()) return ours;
    if (status.ok() && !created) return absl::UnavailableError("the upload ended early");
    return FromGrpc(status);
  }

  std::unique_ptr<StepStream> OpenStepStream() override { return OpenGrpcStepStream(connection()); }

  absl::Status Watch(const v1::WatchSessionRequest& request, TakeSteps take, Idle idle,
                     absl::Duration timeout) override {
    return Follow<v1::WatchSessionResponse>(
        [&](GrpcConnection& held, grpc::ClientContext& context, grpc::CompletionQueue& queue) {
          return held.sessions->PrepareAsyncWatchSession(&context, request, &queue);
        },
        take, idle, timeout);
  }
  absl::Status WatchGenerations(const v1::WatchGenerationsRequest& request, TakeGeneration take,
                                Idle idle, absl::Duration timeout) override {
    return Follow<v1::WatchGenerationsResponse>(
        [&](GrpcConnection& held, grpc::ClientContext& context, grpc::CompletionQueue& queue) {
          return held.search->PrepareAsyncWatchGenerations(&context, request, &queue);
        },
        take, idle, timeout);
  }

  bool Rest(absl::Duration duration) override {
    const absl::Time end = absl::Now() + duration;
    const std::shared_ptr<GrpcConnection> held = connection();
    if (held->channel->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY) {
      return held->channel->WaitForConnected(absl::ToChronoTime(end));
    }
    absl::SleepFor(end - absl::Now());
    return false;
  }

  void Reconnect() override {
    std::shared_ptr<GrpcConnection> fresh = DialGrpc(address_, max_message_bytes_);
    const std::lock_guard<std::mutex> lock(mutex_);
    connection_.swap(fresh);
  }

  std::unique_ptr<Transport> Clone() const override {
    return std::make_unique<GrpcTransport>(address_, max_message_bytes_);
  }

 private:
  // A unary call that may take long, looked after meanwhile.
  template <class Stub, class Begin, class Request, class Response>
  absl::Status Wait(std::unique_ptr<Stub> GrpcConnection::*stub, Begin begin,
                    const Request& request, Response& response, Idle idle, absl::Duration timeout) {
    const std::shared_ptr<GrpcConnection> held = connection();
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = (((*held).*stub).get()->*begin)(&context, request, &queue);
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    // Why this side ended it.
    absl::Status ours = ByConnection(*held, Await(queue, timeout, idle, &tag, &ok));
    if (!ours.ok()) context.TryCancel();
    Empty(queue);
    return ours.ok() ? FromGrpc(status) : ours;
  }

  // A stream of messages that goes on for as long as the server and `take` have it go on.
  template <class Message, class Prepare, class Take>
  absl::Status Follow(const Prepare& prepare, const Take& take, Idle idle, absl::Duration timeout) {
    const std::shared_ptr<GrpcConnection> held = connection();
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    grpc::CompletionQueue queue;
    const auto reader = prepare(*held, context, queue);
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
    Message message;
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

  // ": the name of this host is not known ..." from the last attempt to connect; empty if none has
  // ended. gRPC tells it only to a call, and to that at once.
  static std::string WhyNot(const GrpcConnection& held) {
    if (held.channel->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_TRANSIENT_FAILURE) {
      return "";
    }
    grpc::ClientContext context;
    SetTimeout(context, kIdle);  // in case that an attempt is under way by now
    v1::GetSessionResponse response;
    const grpc::Status status = held.sessions->GetSession(&context, {}, &response);
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return "";
    return absl::StrCat(": ", ConnectionText(status.error_message()));
  }

  std::shared_ptr<GrpcConnection> connection() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return connection_;
  }

  template <class Service, class Stub, class Request, class Response>
  absl::Status Unary(Service service,
                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                     const Request& request, Response& response, absl::Duration timeout) {
    const std::shared_ptr<GrpcConnection> held = connection();
    grpc::ClientContext context;
    SetTimeout(context, timeout);
    return FromGrpc((*((*held).*service).*method)(&context, request, &response));
  }

  const std::string address_;
  const uint64_t max_message_bytes_;
  std::mutex mutex_;
  std::shared_ptr<GrpcConnection>
      connection_;  // guarded by mutex_; calls hold the one they began on
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> ConnectGrpc(absl::string_view address,
                                                       uint64_t max_message_bytes,
                                                       absl::Duration timeout,
                                                       Transport::Idle idle) {
  // Kept until the process ends: after a write that had to wait, a thread of gRPC's polls for 10 s
  // more, and its shutdown, which comes with the last channel, would wait for that.
  [[maybe_unused]] static const bool kept = (grpc_init(), true);
  auto transport = std::make_unique<GrpcTransport>(address, max_message_bytes);
  const absl::Status connected = transport->WaitUntilConnected(timeout, idle);
  if (!connected.ok()) return connected;
  return transport;
}

}  // namespace talweg
