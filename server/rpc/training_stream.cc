// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/training_stream.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/session/staged_gradient.h"
#include "server/rpc/grpc_call.h"
#include "server/runtime/clock.h"
#include "server/runtime/mutex.h"
#include "server/wire/contribution_assembler.h"
#include "server/wire/contribution_from_proto.h"
#include "server/wire/reply_frames.h"
#include "server/wire/reply_from_proto.h"
#include "server/wire/unknown_fields.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;
using Request = v1::StreamStepRequest;
using Response = v1::StreamStepResponse;

constexpr size_t kMaxFrames = 2;                          // received and not looked at yet
constexpr uint64_t kMaxFrameBytes = uint64_t{8} << 20;    // of all these, but for the last
constexpr absl::Duration kSignOfLife = absl::Seconds(1);  // between two of a sender's

// Where a contribution is put together, and the memory it was granted. Whoever holds it last, the
// stream or the step, gives both back.
struct Staging {
  Staging(MemoryBudget::Reservation granted, uint64_t num_elements)
      : memory(std::move(granted)), gradient(num_elements) {}
  MemoryBudget::Reservation memory;
  core::StagedGradient gradient;
};

// One call. gRPC's threads only move pointers; everything else runs on the pool: frames and events
// in a line of their own, one after the other, and beside it the next frame of a reply while the
// one before goes out. Members below "the line's" belong to the former, "the reply's" to the
// latter.
class TrainingStream final : public grpc::ServerBidiReactor<Request, Response>,
                             public std::enable_shared_from_this<TrainingStream> {
 public:
  TrainingStream(const ServiceContext& context, const grpc::CallbackServerContext& grpc)
      : context_(context),
        call_(context.door, FactsOf("talweg.v1.TrainingService/StreamStep", grpc)) {}

  ~TrainingStream() override {
    context_.stop.stopping.Forget(stop_listener_);
    context_.budgets.staging.wanted().Forget(wanted_listener_);
    if (host_ != nullptr) host_->deletion().Forget(deletion_listener_);
  }

  // Lives until OnDone, and as long as anybody else holds it.
  void Start() {
    self_ = shared_from_this();
    stop_listener_ = context_.stop.stopping.Listen(Told([this] { stopping_ = true; }));
    if (!call_.let_in().ok()) return End(call_.let_in());
    Drive();
  }

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
    Wake();
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
    if (rests) Wake();
    Drive();
  }

  void OnCancel() override { Gone(); }

  void OnDone() override {
    call_.Over();
    self_.reset();
  }

 private:
  using Event = absl::AnyInvocable<void()>;
  enum class Phase {
    kIdle,     // a header may come
    kOpen,     // chunks and the commit may come, once there is memory for them
    kWhole,    // all came; the host gets it when the reply before is made
    kJudging,  // the host has it
  };
  struct Frame {
    std::unique_ptr<Request> message;
    uint64_t bytes = 0;
  };

  // --- The line: events and frames, one at a time on the pool.

  // Runs `event` in the line, unless the stream is over by then.
  void Post(Event event) {
    {
      MutexLock lock(mutex_);
      events_.push_back(std::move(event));
    }
    Wake();
  }

  // The same for somebody who does not hold the stream.
  std::function<void()> Told(std::function<void()> event) {
    return [weak = weak_from_this(), event = std::move(event)] {
      if (const auto self = weak.lock()) self->Post(event);
    };
  }

  void Wake() {
    {
      MutexLock lock(mutex_);
      if (running_) {
        again_ = true;
        return;
      }
      running_ = true;
    }
    context_.pool.Post([self = shared_from_this()] { self->RunNext(); });
  }

  void RunNext() {
    Event event;
    Frame frame;
    std::optional<absl::Status> end;
    std::deque<Event> dropped;  // goes after the lock: an event may hold memory, which has one too
    bool over = false;
    {
      MutexLock lock(mutex_);
      again_ = false;
      over = ending_;
      if (over) {
        dropped.swap(events_);
      } else if (!events_.empty()) {
        event = std::move(events_.front());
        events_.pop_front();
      } else if (!frames_.empty() && TakesFrames()) {
        frame = std::move(frames_.front());
        frames_.pop_front();
        frame_bytes_ -= frame.bytes;
      } else {
        end = EndHere();
      }
    }
    if (over) LetGo();
    if (event) event();
    if (frame.message != nullptr) {
      Drive();  // there is room for another
      const absl::Status taken = Take(*frame.message);
      if (!taken.ok()) Fail(taken);
    }
    if (end.has_value()) Fail(*end);
    const bool worked = event || frame.message != nullptr || end.has_value();
    {
      MutexLock lock(mutex_);
      if (!worked && !again_) {
        running_ = false;
        return;
      }
    }
    // Back of the pool's line: other sessions' work goes first.
    context_.pool.Post([self = shared_from_this()] { self->RunNext(); });
  }

  // Before the grant as well: what comes then must not. After a grant that was given up (Yield) it
  // may come, and waits.
  bool TakesFrames() const {
    return phase_ == Phase::kIdle ||
           (phase_ == Phase::kOpen && (staging_ != nullptr || !grant_is_out_));
  }

  // How the stream ends where it stands, if it does: nothing waits to be looked at.
  std::optional<absl::Status> EndHere() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (phase_ == Phase::kWhole || phase_ == Phase::kJudging || replying_ || writing_ ||
        !to_write_.empty())
      return {};
    const bool granted = phase_ == Phase::kOpen && staging_ != nullptr;
    if (stopping_ && !granted) return context_.stop.gate.Check();
    if (!reads_ended_ || !frames_.empty()) return {};
    if (phase_ == Phase::kIdle) return absl::OkStatus();
    return MakeError(Reason::kFrameUnexpected, "the stream ended within a contribution", "frame");
  }

  // A frame that may come now.
  absl::Status Take(const Request& frame) {
    TALWEG_RETURN_IF_ERROR(CheckNoUnknownFields(frame));
    TALWEG_RETURN_IF_ERROR(assembler_.CheckOrder(frame.frame_case()));
    if (frame.has_header()) return core::PrefixField(TakeHeader(frame.header()), "header");
    if (staging_ == nullptr) {
      return MakeError(Reason::kFrameUnexpected, "a frame came before the grant", "frame");
    }
    if (frame.has_commit()) {
      TALWEG_RETURN_IF_ERROR(assembler_.Commit());
      phase_ = Phase::kWhole;
      grant_is_out_ = false;
      Step();
      return absl::OkStatus();
    }
    ShowLife();
    core::StagedGradient& gradient = staging_->gradient;
    if (assembler_.next_element() == 0) gradient.Begin(host_->group_map());
    TALWEG_ASSIGN_OR_RETURN(const core::EncodedVector numbers, assembler_.Add(frame.chunk()));
    gradient.Append(numbers);
    return absl::OkStatus();
  }

  absl::Status TakeHeader(const v1::StreamHeader& header) {
    TALWEG_RETURN_IF_ERROR(context_.stop.gate.Check());
    if (!header.has_header()) {
      return MakeError(Reason::kFieldRequired, "header.header is required", "header");
    }
    TALWEG_RETURN_IF_ERROR(CheckHeader(header.header()));
    const std::string& session_id = header.header().session_id();
    if (host_ != nullptr && session_id != host_->identity().session_id) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("this stream is for session \"", host_->identity().session_id,
                                    "\", the header names \"", session_id, "\""),
                       "header.session_id");
    }
    const bool first = host_ == nullptr;
    if (first) TALWEG_RETURN_IF_ERROR(Attach(session_id));
    // Before its shape is judged: a worker of a lost history may well have another layout.
    TALWEG_RETURN_IF_ERROR(host_->CheckHistory(header.header().history()));
    TALWEG_ASSIGN_OR_RETURN(reply_spec_, StreamReplyFromProto(header.reply()));
    TALWEG_RETURN_IF_ERROR(assembler_.Open(host_->num_elements()));
    header_ = header.header();
    phase_ = Phase::kOpen;
    context_.budgets.staging.wanted().Forget(wanted_listener_);
    if (!first) {
      if (staging_ == nullptr && grant_is_out_) AskForMemory();  // what it gave up at rest
      return absl::OkStatus();
    }
    // Answers when the session is made.
    host_->Read(std::nullopt,
                [self = shared_from_this()](const absl::StatusOr<PointOutcome>& made) {
                  self->Post([stream = self.get(), status = made.status()] {
                    if (!status.ok()) return stream->Fail(status);
                    stream->AskForMemory();
                  });
                });
    return absl::OkStatus();
  }

  // Chunks renew their sender's lease: now and then, whatever becomes of it.
  void ShowLife() {
    const absl::Time now = MonotonicNow();
    if (now < last_sign_of_life_ + kSignOfLife) return;
    last_sign_of_life_ = now;
    const v1::ContributionHeader& header = header_;
    host_->Heartbeat({header.history(), header.worker(), header.incarnation()},
                     [](const absl::StatusOr<JoinOutcome>&) {});
  }

  absl::Status Attach(const std::string& session_id) {
    TALWEG_ASSIGN_OR_RETURN(host_, call_.Find(session_id));
    deletion_listener_ = host_->deletion().Listen(Told([this] {
      Fail(MakeError(Reason::kSessionDeleted,
                     absl::StrCat("session \"", host_->identity().session_id, "\" was deleted")));
    }));
    return absl::OkStatus();
  }

  void AskForMemory() {
    const auto granted = [weak = weak_from_this()](MemoryBudget::Reservation memory) {
      const auto self = weak.lock();
      if (self == nullptr) return;
      self->Post([stream = self.get(), memory = std::move(memory)]() mutable {
        stream->Grant(std::move(memory));
      });
    };
    const absl::StatusOr<uint64_t> place =
        context_.budgets.staging.ReserveLater(host_->num_elements() * sizeof(float), granted);
    if (!place.ok()) return Fail(place.status());
    place_ = *place;
  }

  void Grant(MemoryBudget::Reservation memory) {
    try {
      staging_ = std::make_shared<Staging>(std::move(memory), host_->num_elements());
      staging_->gradient.Begin(host_->group_map());
    } catch (const std::bad_alloc&) {
      return Fail(MakeError(Reason::kMemoryQuota, "the system has no memory for a contribution"));
    }
    SendGrant();
    if (phase_ == Phase::kIdle) Rest();
  }

  // Holds memory, and nothing to put there: whoever waits may have it. At rest, and while the host
  // has the contribution, whose own hold ends when it is folded.
  void Rest() {
    context_.budgets.staging.wanted().Forget(wanted_listener_);
    wanted_listener_ = context_.budgets.staging.wanted().Listen(Told([this] { Yield(); }));
    if (context_.budgets.staging.AnyoneWaits()) Yield();
  }

  // A client at rest need not know: with its next header the stream stands in the line again, and
  // what follows stands in the connection meanwhile.
  void Yield() {
    if (phase_ == Phase::kIdle || phase_ == Phase::kJudging) staging_.reset();
  }

  // Tells the client, unless it has a grant that it has not used.
  void SendGrant() {
    if (grant_is_out_) return;
    grant_is_out_ = true;
    std::unique_ptr<Response> frame = NewFrame();
    frame->mutable_grant()->set_num_elements(host_->num_elements());
    Write(std::move(frame));
  }

  // Hands the contribution to the host, once nothing is left to be made of the reply before.
  void Step() {
    if (phase_ != Phase::kWhole || Replying()) return;
    phase_ = Phase::kJudging;
    StepInput input = InputOf(header_, reply_spec_);
    input.staged = {staging_, &staging_->gradient};
    input.is_difference = assembler_.is_difference();
    const auto self = shared_from_this();
    ticket_ = host_->Step(std::move(input), [self](absl::StatusOr<StepOutcome> outcome) {
      self->Post([stream = self.get(), outcome = std::move(outcome)] { stream->Answer(outcome); });
    });
    Rest();
  }

  void Answer(const absl::StatusOr<StepOutcome>& outcome) {
    phase_ = Phase::kIdle;
    if (!outcome.ok()) return Fail(core::PrefixField(outcome.status(), "header"));
    bool more = false;
    {
      MutexLock lock(mutex_);
      more = !reads_ended_ || !frames_.empty();
    }
    // A pending one may still wait to be folded: its memory is the session's until then.
    const bool may_be_read = outcome->answer.verdict == core::Verdict::kPending;
    if (!more || stopping_) {
      staging_.reset();
    } else if (staging_ == nullptr || may_be_read || context_.budgets.staging.AnyoneWaits()) {
      staging_.reset();
      AskForMemory();
    } else {
      SendGrant();
      Rest();
    }
    reply_ = ReplyFrames(*outcome, host_->identity().history, reply_spec_);
    {
      MutexLock lock(mutex_);
      replying_ = true;
    }
    Drive();
  }

  void Fail(const absl::Status& status) { End(status); }

  // After the end: what the line holds goes at once, whether or not the client still reads.
  void LetGo() {
    if (phase_ == Phase::kJudging) host_->Abandon(ticket_);
    phase_ = Phase::kIdle;
    staging_.reset();
    context_.budgets.staging.Forget(place_);
    // What is being made takes it along when it is over.
    ReplyFrames unsaid;  // goes after the lock
    MutexLock lock(mutex_);
    if (!making_) std::swap(unsaid, reply_);
  }

  // --- The reply: one frame ahead of the write, on the pool.

  void MakeNext() {
    std::unique_ptr<Response> frame = NewFrame();
    const bool last = reply_.MakeNext(*frame);
    ReplyFrames unsaid;  // goes after the lock: its versions have a pool, which has one too
    bool over = false;
    {
      MutexLock lock(mutex_);
      making_ = false;
      over = ending_;
      if (last) replying_ = false;
      if (over) {
        std::swap(unsaid, reply_);
      } else {
        to_write_.push_back(std::move(frame));
      }
    }
    if (over) return;
    if (last) Post([this] { Step(); });
    Drive();
  }

  // --- gRPC: at most one read and one write at a time, and the end after the last write.

  std::unique_ptr<Response> NewFrame() {
    MutexLock lock(mutex_);
    return spare_ != nullptr ? std::move(spare_) : std::make_unique<Response>();
  }

  void Write(std::unique_ptr<Response> frame) {
    {
      MutexLock lock(mutex_);
      if (!ending_) to_write_.push_back(std::move(frame));
    }
    Drive();
  }

  bool Replying() {
    MutexLock lock(mutex_);
    return replying_;
  }

  void Gone() { End(absl::CancelledError("the client has gone")); }

  void End(const absl::Status& status) {
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
    Wake();  // to let go
    Drive();
  }

  // Starts whatever may start now.
  void Drive() {
    bool read = false;
    bool write = false;
    bool finish = false;
    bool make = false;
    absl::Status status;
    {
      MutexLock lock(mutex_);
      if (ending_) {
        status = status_;
        finish = !finished_ && !writing_ && starting_reads_ == 0;
        finished_ = finished_ || finish;
      } else {
        read = !reading_ && !reads_ended_ && frames_.size() < kMaxFrames &&
               frame_bytes_ < kMaxFrameBytes;
        if (read) {
          reading_ = true;
          ++starting_reads_;
          incoming_ = std::make_unique<Request>();
        }
        write = !writing_ && !to_write_.empty();
        if (write) {
          writing_ = true;
          outgoing_ = std::move(to_write_.front());
          to_write_.pop_front();
        }
        make = replying_ && !making_ && to_write_.empty();
        making_ = making_ || make;
      }
    }
    if (finish) return Finish(Ending(call_, status));
    if (make) context_.pool.Post([self = shared_from_this()] { self->MakeNext(); });
    if (write) {
      call_.CountOut(outgoing_->ByteSizeLong());
      StartWrite(outgoing_.get());
    }
    if (!read) return;
    StartRead(incoming_.get());
    bool ended = false;
    {
      MutexLock lock(mutex_);
      --starting_reads_;
      ended = ending_;
    }
    if (ended) Drive();  // the end waited for this
  }

  const ServiceContext context_;
  Call call_;
  std::shared_ptr<TrainingStream> self_;  // until OnDone
  uint64_t stop_listener_ = 0;

  // The line's.
  ContributionAssembler assembler_;
  Phase phase_ = Phase::kIdle;
  bool stopping_ = false;
  std::shared_ptr<SessionHost> host_;  // of the first header
  uint64_t deletion_listener_ = 0;
  uint64_t place_ = 0;  // in the line for memory
  uint64_t wanted_listener_ = 0;
  bool grant_is_out_ = false;  // the client was told, and has not committed since
  std::shared_ptr<Staging> staging_;
  v1::ContributionHeader header_;
  ReplySpec reply_spec_;
  uint64_t ticket_ = 0;  // of the contribution that the host has
  absl::Time last_sign_of_life_ = absl::InfinitePast();

  // The reply's, while replying_.
  ReplyFrames reply_;

  // Of the call under way in each direction.
  std::unique_ptr<Request> incoming_;
  std::unique_ptr<Response> outgoing_;

  Mutex mutex_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
  std::deque<Frame> frames_ ABSL_GUARDED_BY(mutex_);
  uint64_t frame_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::unique_ptr<Response>> to_write_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Response> spare_ ABSL_GUARDED_BY(mutex_);  // keeps its memory for another frame
  bool running_ ABSL_GUARDED_BY(mutex_) = false;             // the line
  bool again_ ABSL_GUARDED_BY(mutex_) = false;               // woken meanwhile
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_ended_ ABSL_GUARDED_BY(mutex_) = false;
  int starting_reads_ ABSL_GUARDED_BY(mutex_) = 0;  // Finish must not overtake them
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool replying_ ABSL_GUARDED_BY(mutex_) = false;  // frames of the reply are still to be made
  bool making_ ABSL_GUARDED_BY(mutex_) = false;    // one just now
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerBidiReactor<Request, Response>* StartTrainingStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc) {
  const auto stream = std::make_shared<TrainingStream>(context, grpc);
  stream->Start();
  return stream.get();
}

}  // namespace talweg::server
