// SPDX-License-Identifier: Apache-2.0
#include "tests/support/swarm.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "client/cpp/talweg/status.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "talweg/v1/session_service.grpc.pb.h"
#include "talweg/v1/training_service.grpc.pb.h"
#include "tests/support/health.grpc.pb.h"

namespace talweg::testing {
namespace {

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return StatusFromDetails(status.error_code(), status.error_message(), status.error_details());
}

grpc::ByteBuffer BufferOf(const v1::StreamStepRequest& frame) {
  const grpc::Slice slice(frame.SerializeAsString());
  return {&slice, 1};
}

// What stands for an operation on the queue.
using Operation = std::function<void(bool ok)>;

}  // namespace

struct Swarm::Frames {
  std::vector<grpc::ByteBuffer> buffers;
};

struct Swarm::Parts {
  struct Connection {
    std::unique_ptr<v1::SessionService::Stub> sessions;
    std::unique_ptr<v1::TrainingService::Stub> training;
    std::unique_ptr<grpc::health::v1::Health::Stub> health;
    std::unique_ptr<grpc::GenericStub> generic;
  };
  // A call with one answer, while it is under way.
  template <class Response>
  struct Call {
    grpc::ClientContext context;
    Response response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
    Operation finished;
  };

  Connection& ConnectionOf(size_t worker) { return connections[worker % connections.size()]; }

  template <class Stub, class Request, class Response>
  void Unary(Stub& stub,
             std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> (Stub::*prepare)(
                 grpc::ClientContext*, const Request&, grpc::CompletionQueue*),
             const Request& request, Done<Response> done) {
    auto* call = new Call<Response>;
    call->reader = (stub.*prepare)(&call->context, request, &queue);
    call->finished = [this, call, done = std::move(done)](bool) {
      const std::unique_ptr<Call<Response>> over(call);
      Ended(&call->context);
      done(FromGrpc(call->status), call->response);
      Rests();
    };
    Begun(&call->context);
    Works();
    call->reader->StartCall();
    call->reader->Finish(&call->response, &call->status, &call->finished);
  }

  void Begun(grpc::ClientContext* context) {
    const std::lock_guard<std::mutex> lock(mutex);
    contexts.insert(context);
    if (ending) context->TryCancel();
  }
  void Ended(grpc::ClientContext* context) {
    const std::lock_guard<std::mutex> lock(mutex);
    contexts.erase(context);
    changed.notify_all();
  }
  void Works() {
    const std::lock_guard<std::mutex> lock(mutex);
    ++num_working;
  }
  void Rests() {
    const std::lock_guard<std::mutex> lock(mutex);
    --num_working;
    changed.notify_all();
  }

  std::vector<Connection> connections;
  grpc::CompletionQueue queue;
  std::mutex mutex;
  std::condition_variable changed;
  bool ending = false;                          // guarded by mutex
  size_t num_working = 0;                       // likewise
  std::set<grpc::ClientContext*> contexts;      // likewise; of calls and streams that are open
  std::deque<std::unique_ptr<Stream>> streams;  // likewise
  std::thread thread;
};

// One read is always under way, and at most one write.
class Swarm::WireStream final : public Swarm::Stream {
 public:
  WireStream(Parts& parts, size_t worker) : parts_(parts) {
    call_ = parts.ConnectionOf(worker).generic->PrepareCall(
        &context_, "/talweg.v1.TrainingService/StreamStep", &parts.queue);
    parts.Begun(&context_);
    call_->StartCall(&started_);
  }

  void Contribute(const v1::StreamHeader& header, std::shared_ptr<const Frames> chunks,
                  Done<v1::StepResponse> done) override {
    parts_.Works();
    v1::StreamStepRequest frame;
    *frame.mutable_header() = header;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      done_ = std::move(done);
      chunks_ = std::move(chunks);
      header_ = BufferOf(frame);
      next_ = kHeader;
      Write();
    }
    Settle();
  }

 private:
  static constexpr int kNothing = -2;  // to write
  static constexpr int kHeader = -1;   // then the chunks from 0 on, then the commit

  void Started(bool ok) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      open_ = ok;
      if (ok) Write();
    }
    if (ok) return call_->Read(&message_, &read_);
    call_->Finish(&status_, &finished_);
  }

  // Writes the next frame if one may go out now.
  void Write() {
    const bool waits_for_grant = next_ >= 0 && !granted_;
    if (!open_ || writing_ || next_ == kNothing || waits_for_grant) return;
    writing_ = true;
    if (next_ == kHeader) {
      ++next_;
      return call_->Write(header_, &written_);
    }
    const size_t index = static_cast<size_t>(next_);
    if (index < chunks_->buffers.size()) {
      ++next_;
      return call_->Write(chunks_->buffers[index], &written_);
    }
    next_ = kNothing;
    granted_ = false;
    v1::StreamStepRequest commit;
    commit.mutable_commit();
    call_->Write(BufferOf(commit), &written_);
  }

  void Written(bool ok) {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    if (ok) Write();
  }

  void Read(bool ok) {
    if (!ok) return call_->Finish(&status_, &finished_);
    grpc::ProtoBufferReader reader(&message_);
    if (!reader.status().ok() || !frame_.ParseFromZeroCopyStream(&reader)) context_.TryCancel();
    message_.Clear();
    if (frame_.has_grant()) {
      const std::lock_guard<std::mutex> lock(mutex_);
      granted_ = true;
      Write();
    }
    if (frame_.has_trailer()) Tell(absl::OkStatus(), *frame_.mutable_trailer()->mutable_response());
    call_->Read(&message_, &read_);
  }

  void Finished() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
      open_ = false;
    }
    Settle();
    parts_.Ended(&context_);
  }

  // Tells a contribution on a stream that is over why it is.
  void Settle() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!over_) return;
    }
    v1::StepResponse none;
    Tell(FromGrpc(status_), none);
  }

  void Tell(const absl::Status& status, v1::StepResponse& response) {
    Done<v1::StepResponse> done;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      done.swap(done_);
    }
    if (!done) return;
    done(status, response);
    parts_.Rests();
  }

  Parts& parts_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  Operation started_ = [this](bool ok) { Started(ok); };
  Operation written_ = [this](bool ok) { Written(ok); };
  Operation read_ = [this](bool ok) { Read(ok); };
  Operation finished_ = [this](bool) { Finished(); };
  grpc::ByteBuffer message_;
  v1::StreamStepResponse frame_;
  grpc::Status status_;

  std::mutex mutex_;
  bool open_ = false;
  bool over_ = false;
  bool writing_ = false;
  bool granted_ = false;
  int next_ = kNothing;
  grpc::ByteBuffer header_;
  std::shared_ptr<const Frames> chunks_;
  Done<v1::StepResponse> done_;
};

Swarm::Swarm(const std::string& address, size_t num_connections)
    : parts_(std::make_unique<Parts>()) {
  for (size_t index = 0; index < num_connections; ++index) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel =
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    Parts::Connection& connection = parts_->connections.emplace_back();
    connection.sessions = v1::SessionService::NewStub(channel);
    connection.training = v1::TrainingService::NewStub(channel);
    connection.health = grpc::health::v1::Health::NewStub(channel);
    connection.generic = std::make_unique<grpc::GenericStub>(channel);
  }
  parts_->thread = std::thread([parts = parts_.get()] {
    void* tag = nullptr;
    bool ok = false;
    while (parts->queue.Next(&tag, &ok)) (*static_cast<Operation*>(tag))(ok);
  });
}

Swarm::~Swarm() {
  {
    std::unique_lock<std::mutex> lock(parts_->mutex);
    parts_->ending = true;
    for (grpc::ClientContext* context : parts_->contexts) context->TryCancel();
    parts_->changed.wait(lock,
                         [this] { return parts_->contexts.empty() && parts_->num_working == 0; });
  }
  parts_->queue.Shutdown();
  parts_->thread.join();
}

void Swarm::Join(size_t worker, const v1::JoinRequest& request, Done<v1::JoinResponse> done) {
  parts_->Unary(*parts_->ConnectionOf(worker).sessions, &v1::SessionService::Stub::PrepareAsyncJoin,
                request, std::move(done));
}

void Swarm::Heartbeat(size_t worker, const v1::HeartbeatRequest& request,
                      Done<v1::HeartbeatResponse> done) {
  parts_->Unary(*parts_->ConnectionOf(worker).sessions,
                &v1::SessionService::Stub::PrepareAsyncHeartbeat, request, std::move(done));
}

void Swarm::Leave(size_t worker, const v1::LeaveRequest& request, Done<v1::LeaveResponse> done) {
  parts_->Unary(*parts_->ConnectionOf(worker).sessions,
                &v1::SessionService::Stub::PrepareAsyncLeave, request, std::move(done));
}

void Swarm::Step(size_t worker, const v1::StepRequest& request, Done<v1::StepResponse> done) {
  parts_->Unary(*parts_->ConnectionOf(worker).training,
                &v1::TrainingService::Stub::PrepareAsyncStep, request, std::move(done));
}

void Swarm::Check(size_t worker, std::function<void(const absl::Status& status)> done) {
  const Done<grpc::health::v1::HealthCheckResponse> told =
      [done = std::move(done)](const absl::Status& status, auto&) { done(status); };
  parts_->Unary(*parts_->ConnectionOf(worker).health,
                &grpc::health::v1::Health::Stub::PrepareAsyncCheck,
                grpc::health::v1::HealthCheckRequest(), told);
}

std::shared_ptr<const Swarm::Frames> Swarm::Serialize(
    const std::vector<v1::StreamStepRequest>& chunks) {
  auto frames = std::make_shared<Frames>();
  for (const v1::StreamStepRequest& chunk : chunks) frames->buffers.push_back(BufferOf(chunk));
  return frames;
}

Swarm::Stream& Swarm::OpenStream(size_t worker) {
  auto stream = std::make_unique<WireStream>(*parts_, worker);
  const std::lock_guard<std::mutex> lock(parts_->mutex);
  return *parts_->streams.emplace_back(std::move(stream));
}

void Swarm::Wait() {
  std::unique_lock<std::mutex> lock(parts_->mutex);
  parts_->changed.wait(lock, [this] { return parts_->num_working == 0; });
}

}  // namespace talweg::testing
