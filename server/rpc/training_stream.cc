// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/training_stream.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "server/rpc/grpc_call.h"
#include "server/rpc/stream_machine.h"
#include "server/rpc/stream_ports.h"
#include "server/runtime/clock.h"
#include "server/runtime/mutex.h"
#include "server/runtime/operation_queue.h"

namespace talweg::server {
namespace {

using Request = v1::StreamStepRequest;
using Response = v1::StreamStepResponse;

constexpr size_t kMaxFrames = 2;                        // received and not looked at yet
constexpr uint64_t kMaxFrameBytes = uint64_t{8} << 20;  // of all these, except for the last

// One call: at most one read and one write under way, and the end after the last write. The machine
// decides what the frames mean. gRPC's threads only move pointers; everything else runs on the
// pool: the machine in a queue of operations and, beside it, the making of a reply's next frame
// while the frame before goes out.
class TrainingStream final : public grpc::ServerBidiReactor<Request, Response>,
                             public StreamOutput,
                             public std::enable_shared_from_this<TrainingStream> {
 public:
  TrainingStream(const ServiceContext& context, const grpc::CallbackServerContext& grpc)
      : context_(context),
        grpc_(grpc),
        call_(context.door, FactsOf("talweg.v1.TrainingService/StreamStep", grpc)),
        queue_({.post = [this](OperationQueue::Task task) { context_.pool.Post(std::move(task)); },
                .hold = [this] { return weak_from_this().lock(); },
                .when_empty = [this] { return NextOperation(); }}) {}

  ~TrainingStream() override { context_.stop.stopping.Forget(stop_listener_); }

  // The stream lives until OnDone, and as long as anything else holds it.
  void Start() {
    self_ = shared_from_this();
    memory_.emplace(context_.budgets.staging, Poster());
    machine_.emplace(StreamMachine::World{
        *this, *memory_, [this](const std::string& session_id) { return FindSession(session_id); },
        [this] { return context_.stop.gate.Check(); }, [] { return MonotonicNow(); }});
    stop_listener_ = context_.stop.stopping.Listen(
        [post = Poster()] { post([](StreamMachine& machine) { machine.Stop(); }); });
    if (!call_.let_in().ok()) return End(call_.let_in());
    Drive();
  }

  // --- gRPC's side.

  void OnReadDone(bool ok) override {
    const uint64_t bytes = ok ? incoming_->ByteSizeLong() : 0;
    call_.CountIn(bytes);
    {
      MutexLock lock(mutex_);
      reading_ = false;
      if (ok && !ending_) {
        frames_.push_back({std::move(incoming_), bytes});
        frame_bytes_ += bytes;
      }
      if (!ok) reads_ended_ = true;
    }
    queue_.Wake();
    Drive();
  }

  void OnWriteDone(bool ok) override {
    bool rests = false;
    {
      MutexLock lock(mutex_);
      writing_ = false;
      if (spare_ == nullptr) spare_ = std::move(outgoing_);
      rests = to_write_.empty();
    }
    if (!ok) return Gone();
    if (rests) queue_.Wake();
    Drive();
  }

  void OnCancel() override { Gone(); }

  void OnDone() override {
    call_.Over(grpc_.IsCancelled());
    self_.reset();
  }

  // --- The machine's side.

  void SendGrant(uint64_t num_elements) override {
    std::unique_ptr<Response> frame = NewFrame();
    GrantToProto(num_elements, *frame);
    {
      MutexLock lock(mutex_);
      if (!ending_) to_write_.push_back(std::move(frame));
    }
    Drive();
  }

  void SendReply(ReplyFrames reply) override {
    reply_ = std::move(reply);
    {
      MutexLock lock(mutex_);
      making_reply_ = true;
    }
    Drive();
  }

  // From any thread. The first end counts.
  void End(const absl::Status& status) override {
    std::deque<Frame> frames;  // go after the lock
    std::deque<std::unique_ptr<Response>> unwritten;
    {
      MutexLock lock(mutex_);
      if (!ending_) {
        ending_ = true;
        status_ = status;
        frames.swap(frames_);
        unwritten.swap(to_write_);
      }
    }
    queue_.Clear();
    queue_.Wake();  // to let go
    Drive();
  }

 private:
  using Event = absl::AnyInvocable<void(StreamMachine&)>;
  struct Frame {
    std::unique_ptr<Request> message;
    uint64_t bytes = 0;
  };

  void Gone() { End(absl::CancelledError("the client has gone")); }

  // --- The queue: events, and frames when there are no events, one at a time on the pool.

  PostToStream Poster() {
    return [weak = weak_from_this()](Event event) {
      if (const auto self = weak.lock()) self->queue_.Add(self->Operation(std::move(event)));
    };
  }

  // Once the stream is over nothing happens any more, except that it lets go.
  OperationQueue::Operation Operation(Event event) {
    return [this, event = std::move(event)](OperationQueue::Task finished) mutable {
      if (IsEnding()) {
        LetGo();
      } else {
        event(*machine_);
      }
      event = nullptr;  // it may hold memory that others wait for
      finished();
    };
  }

  // What there is to do if no event waits: look at the next frame, end, or let go.
  OperationQueue::Operation NextOperation() {
    MutexLock lock(mutex_);
    if (ending_) {
      if (has_let_go_) return nullptr;
      return Operation([](StreamMachine&) {});
    }
    if (!frames_.empty() && machine_->TakesFrames()) {
      Frame frame = std::move(frames_.front());
      frames_.pop_front();
      frame_bytes_ -= frame.bytes;
      return Operation([this, frame = std::move(frame)](StreamMachine& machine) {
        Drive();  // there is room for another
        machine.Take(*frame.message);
      });
    }
    if (making_reply_ || writing_ || !to_write_.empty()) return nullptr;
    const std::optional<absl::Status> end = machine_->EndAtRest(reads_ended_ && frames_.empty());
    if (!end.has_value()) return nullptr;
    return Operation([this, status = *end](StreamMachine&) { End(status); });
  }

  absl::StatusOr<std::unique_ptr<StreamSession>> FindSession(const std::string& session_id) {
    absl::StatusOr<std::shared_ptr<SessionHost>> host = call_.Find(session_id);
    if (!host.ok()) return host.status();
    return std::make_unique<HostedSession>(*std::move(host), Poster(), [this] {
      MutexLock lock(mutex_);
      return !reads_ended_ || !frames_.empty();
    });
  }

  bool IsEnding() {
    MutexLock lock(mutex_);
    return ending_;
  }

  // What the stream holds goes at once, whether or not the client still reads.
  void LetGo() {
    machine_->LetGo();
    ReplyFrames unsaid;  // goes after the lock
    MutexLock lock(mutex_);
    has_let_go_ = true;
    // A frame that is being made takes the reply along when it is made.
    if (!making_frame_) std::swap(unsaid, reply_);
  }

  // --- The reply: one frame ahead of the write, on the pool.

  void MakeFrame() {
    std::unique_ptr<Response> frame = NewFrame();
    const bool last = reply_.MakeNext(*frame);
    ReplyFrames unsaid;  // goes after the lock: its versions have a pool, which has one too
    bool over = false;
    {
      MutexLock lock(mutex_);
      making_frame_ = false;
      over = ending_;
      if (last) making_reply_ = false;
      if (over) {
        std::swap(unsaid, reply_);
      } else {
        to_write_.push_back(std::move(frame));
      }
    }
    if (over) return;
    if (last) queue_.Add(Operation([](StreamMachine& machine) { machine.ReplyMade(); }));
    Drive();
  }

  std::unique_ptr<Response> NewFrame() {
    MutexLock lock(mutex_);
    return spare_ != nullptr ? std::move(spare_) : std::make_unique<Response>();
  }

  // --- Starts whatever may start now.

  void Drive() {
    Starts starts;
    {
      MutexLock lock(mutex_);
      starts = WhatMayStart();
    }
    if (starts.finish) return Finish(Ending(call_, starts.status));
    if (starts.make) context_.pool.Post([self = shared_from_this()] { self->MakeFrame(); });
    if (starts.write) {
      call_.CountOut(outgoing_->ByteSizeLong());
      StartWrite(outgoing_.get());
    }
    if (!starts.read) return;
    StartRead(incoming_.get());
    bool ended = false;
    {
      MutexLock lock(mutex_);
      --starting_reads_;
      ended = ending_;
    }
    if (ended) Drive();  // the end waited for this
  }

  struct Starts {
    bool read = false, write = false, make = false, finish = false;
    absl::Status status;  // to finish with
  };

  Starts WhatMayStart() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Starts starts;
    if (ending_) {
      starts.status = status_;
      starts.finish = !finished_ && !writing_ && starting_reads_ == 0;
      finished_ = finished_ || starts.finish;
      return starts;
    }
    starts.read =
        !reading_ && !reads_ended_ && frames_.size() < kMaxFrames && frame_bytes_ < kMaxFrameBytes;
    if (starts.read) {
      reading_ = true;
      ++starting_reads_;
      incoming_ = std::make_unique<Request>();
    }
    starts.write = !writing_ && !to_write_.empty();
    if (starts.write) {
      writing_ = true;
      outgoing_ = std::move(to_write_.front());
      to_write_.pop_front();
    }
    starts.make = making_reply_ && !making_frame_ && to_write_.empty();
    making_frame_ = making_frame_ || starts.make;
    return starts;
  }

  const ServiceContext context_;
  const grpc::CallbackServerContext& grpc_;  // until OnDone
  Call call_;
  std::shared_ptr<TrainingStream> self_;  // until OnDone
  uint64_t stop_listener_ = 0;

  // These belong to the queue, which runs one operation at a time.
  std::optional<StagingMemory> memory_;
  std::optional<StreamMachine> machine_;

  // Belongs to MakeFrame while a reply is to be made, else to the queue.
  ReplyFrames reply_;

  // The messages of the read and the write under way.
  std::unique_ptr<Request> incoming_;
  std::unique_ptr<Response> outgoing_;

  Mutex mutex_;
  std::deque<Frame> frames_ ABSL_GUARDED_BY(mutex_);
  uint64_t frame_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::unique_ptr<Response>> to_write_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Response> spare_ ABSL_GUARDED_BY(mutex_);  // keeps its memory for another frame
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_ended_ ABSL_GUARDED_BY(mutex_) = false;
  int starting_reads_ ABSL_GUARDED_BY(mutex_) = 0;  // Finish must not overtake them
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool making_reply_ ABSL_GUARDED_BY(mutex_) = false;  // frames of a reply are still to be made
  bool making_frame_ ABSL_GUARDED_BY(mutex_) = false;  // one of them is being made now
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_let_go_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);

  OperationQueue queue_;
};

}  // namespace

grpc::ServerBidiReactor<Request, Response>* StartTrainingStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc) {
  const auto stream = std::make_shared<TrainingStream>(context, grpc);
  stream->Start();
  return stream.get();
}

}  // namespace talweg::server
