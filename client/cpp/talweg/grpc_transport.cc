// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/grpc_transport.h"

#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/status.h"
#include "client/cpp/talweg/stream_frames.h"
#include "core/base/checksum.h"
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

// The end of a long wait: where there is no connection it has met no server.
absl::Status ByConnection(const Connection& held, absl::Status status) {
  if (!absl::IsDeadlineExceeded(status)) return status;
  if (held.channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY) return status;
  return absl::UnavailableError("there is no connection to the server");
}

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

// How long a silent call goes without a look about itself.
constexpr absl::Duration kIdle = absl::Milliseconds(100);

constexpr int kPingMilliseconds = 20000;
constexpr int kPongMilliseconds = 10000;

// The operations of a call; what stands for one on its queue is where it stands in the array.
enum Operation { kStart, kWrite, kRead, kFinish };
Operation operations[] = {kStart, kWrite, kRead, kFinish};

void* TagOf(Operation operation) { return &operations[operation]; }
Operation OperationOf(void* tag) { return *static_cast<const Operation*>(tag); }

absl::Status NothingMoved(absl::Duration timeout) {
  return absl::DeadlineExceededError(
      absl::StrCat("nothing moved for ", absl::FormatDuration(timeout)));
}

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

// Takes what is still to come of a call that is over or was cancelled.
void Empty(grpc::CompletionQueue& queue) {
  queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
  }
}

// Memory of chunks on their way out, used over and over. Thread-safe: gRPC gives it back when and
// where it likes.
class ChunkMemory : public std::enable_shared_from_this<ChunkMemory> {
 public:
  explicit ChunkMemory(size_t size) : size_(size) {}

  // `size` bytes at most `size_`; they come back when the last copy of the slice is gone.
  grpc::Slice Take(size_t size) {
    auto* lease = new Lease{shared_from_this(), nullptr};
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        lease->bytes = std::move(free_.back());
        free_.pop_back();
      }
    }
    if (lease->bytes == nullptr) lease->bytes = std::unique_ptr<char[]>(new char[size_]);
    return grpc::Slice(lease->bytes.get(), size, &GiveBack, lease);
  }

 private:
  struct Lease {
    std::shared_ptr<ChunkMemory> memory;
    std::unique_ptr<char[]> bytes;
  };

  static void GiveBack(void* data) {
    const std::unique_ptr<Lease> lease(static_cast<Lease*>(data));
    const std::lock_guard<std::mutex> lock(lease->memory->mutex_);
    lease->memory->free_.push_back(std::move(lease->bytes));
  }

  const size_t size_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<char[]>> free_;  // guarded by mutex_
};

constexpr size_t kChunkMemoryBytes = size_t{4} << 20;  // of the largest chunk

// Its messages are gRPC's slices: numbers are copied once, between them and the caller.
class GrpcStepStream final : public StepStream {
 public:
  explicit GrpcStepStream(std::shared_ptr<Connection> connection)
      : connection_(std::move(connection)), stub_(connection_->channel) {
    call_ = stub_.PrepareCall(&context_, "/talweg.v1.TrainingService/StreamStep", &queue_);
    call_->StartCall(TagOf(kStart));
  }
  ~GrpcStepStream() override {
    context_.TryCancel();
    Empty(queue_);
  }

  void Write(const v1::StreamStepRequest& frame) override {
    const grpc::Slice bytes(frame.SerializeAsString());
    Send(grpc::ByteBuffer(&bytes, 1));
  }
  void WriteChunk(const ChunkHead& head, absl::FunctionRef<void(char* bytes)> fill) override {
    const grpc::Slice data = memory_->Take(head.num_bytes);
    char* const bytes = reinterpret_cast<char*>(const_cast<uint8_t*>(data.begin()));
    fill(bytes);
    std::vector<grpc::Slice> slices = {grpc::Slice(BytesBeforeData(head)), data};
    if (head.checksum) {
      slices.emplace_back(BytesAfterData(core::Crc32c(absl::string_view(bytes, head.num_bytes))));
    }
    Send(grpc::ByteBuffer(slices.data(), slices.size()));
  }

  StreamEvent Next(absl::Duration timeout) override {
    const auto deadline = absl::ToChronoTime(absl::Now() + timeout);
    for (;;) {
      if (started_ && !reading_ && !ending_) {
        call_->Read(&message_, TagOf(kRead));
        reading_ = true;
      }
      void* tag = nullptr;
      bool ok = false;
      if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) {
        return {StreamEvent::Kind::kTimeout, NothingMoved(timeout)};
      }
      switch (OperationOf(tag)) {
        case kStart:
          // A call that could not begin is at its end, which says why.
          started_ = true;
          if (first_message_.Valid()) call_->Write(first_message_, TagOf(kWrite));
          break;
        case kWrite:
          // A write that failed is followed by the end of the stream, which says why.
          if (ok) return {StreamEvent::Kind::kWritten, {}};
          break;
        case kRead:
          reading_ = false;
          if (ok) return TakeMessage();
          ending_ = true;
          call_->Finish(&status_, TagOf(kFinish));
          break;
        case kFinish:
          return {StreamEvent::Kind::kEnded, FromGrpc(status_)};
      }
    }
  }

  const v1::StreamStepResponse& frame() const override { return frame_; }
  size_t data_size() const override { return data_.size; }
  void CopyData(char* bytes) const override {
    size_t skip = data_.offset;
    size_t left = data_.size;
    for (const grpc::Slice& slice : slices_) {
      if (skip >= slice.size()) {
        skip -= slice.size();
        continue;
      }
      const size_t size = std::min(slice.size() - skip, left);
      std::memcpy(bytes, slice.begin() + skip, size);
      bytes += size;
      left -= size;
      skip = 0;
      if (left == 0) return;
    }
  }

 private:
  // A call takes no message before it has begun.
  void Send(const grpc::ByteBuffer& message) {
    if (started_) {
      call_->Write(message, TagOf(kWrite));
    } else {
      first_message_ = message;
    }
  }

  StreamEvent TakeMessage() {
    grpc::ProtoBufferReader reader(&message_);
    slices_.clear();
    if (!reader.status().ok() || !ReadFrame(reader, frame_, data_) ||
        !message_.Dump(&slices_).ok()) {
      return {StreamEvent::Kind::kEnded, absl::InternalError("a frame of the server is malformed")};
    }
    return {StreamEvent::Kind::kFrame, {}};
  }

  const std::shared_ptr<Connection> connection_;
  const std::shared_ptr<ChunkMemory> memory_ = std::make_shared<ChunkMemory>(kChunkMemoryBytes);
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  bool started_ = false;
  bool reading_ = false;
  bool ending_ = false;
  grpc::Status status_;
  grpc::ByteBuffer first_message_;  // that waits for the call to begin
  grpc::ByteBuffer message_;
  std::vector<grpc::Slice> slices_;  // of the last message
  v1::StreamStepResponse frame_;     // likewise, without its data
  DataPosition data_;
};

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

  absl::Status WaitForStep(const v1::StepRequest& request, v1::StepResponse& response, Idle idle,
                           absl::Duration timeout) override {
    const std::shared_ptr<Connection> held = connection();
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = held->training->AsyncStep(&context, request, &queue);
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
  absl::Status Call(const v1::ListVersionRecordsRequest& request,
                    v1::ListVersionRecordsResponse& response, absl::Duration timeout) override {
    return Unary(&Connection::sessions, &v1::SessionService::Stub::ListVersionRecords, request,
                 response, timeout);
  }

  absl::Status Pull(const v1::PullRequest& request, TakeMessage take, Idle idle,
                    absl::Duration timeout) override {
    const std::shared_ptr<Connection> held = connection();
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

  std::unique_ptr<StepStream> OpenStepStream() override {
    return std::make_unique<GrpcStepStream>(connection());
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
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    // Also while a call waits for other workers and nothing is sent: two pings are all by default.
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
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
  // Kept until the process ends: after a write that had to wait, a thread of gRPC's polls for 10 s
  // more, and its shutdown, which comes with the last channel, would wait for that.
  [[maybe_unused]] static const bool kept = (grpc_init(), true);
  auto transport = std::make_unique<GrpcTransport>(address, max_message_bytes);
  if (!transport->WaitUntilConnected(timeout)) {
    return absl::UnavailableError(absl::StrCat("no talweg-server answers at ", address, " within ",
                                               absl::FormatDuration(timeout)));
  }
  return transport;
}

}  // namespace talweg
