// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/unary_step.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/bytes_text.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "server/rpc/grpc_call.h"
#include "server/runtime/clock.h"
#include "server/runtime/mutex.h"
#include "server/wire/answer_to_proto.h"
#include "server/wire/contribution_from_proto.h"
#include "server/wire/outgoing_vector.h"
#include "server/wire/reply_from_proto.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr uint64_t kReplyOverheadBytes = 4096;  // all of a reply except its data, rounded up
constexpr absl::Duration kPatience = absl::Seconds(60);  // with the reader of a reply
constexpr int kMaxSections = 16;

uint64_t ReplyBytes(uint64_t num_elements, uint64_t element_bytes) {
  return num_elements * element_bytes + kReplyOverheadBytes;
}
// A reply is in memory twice while it goes out: as a message, and as the bytes that gRPC makes of
// it.
uint64_t ReplyMemory(uint64_t reply_bytes) { return 2 * reply_bytes; }

absl::Status CheckReplySize(const ReplySpec& reply, uint64_t num_elements,
                            const MemoryBudget& replies) {
  if (reply.data == ReplySpec::Data::kNone) return absl::OkStatus();
  const uint64_t needed = ReplyBytes(num_elements, core::DtypeBytes(reply.dtype));
  if (needed > reply.max_bytes) {
    return MakeError(Reason::kReplyTooLarge,
                     absl::StrCat("the reply needs up to ", needed, " bytes for ", num_elements,
                                  " elements, max_reply_bytes is ", reply.max_bytes),
                     "reply.max_reply_bytes");
  }
  if (ReplyMemory(needed) > replies.limit()) {
    return MakeError(
        Reason::kReplyTooLarge,
        absl::StrCat("the reply needs up to ", core::BytesText(needed), " for ", num_elements,
                     " elements, the server has ", core::BytesText(replies.limit() / 2),
                     " for all replies; StreamStep needs less"),
        "reply.data");
  }
  return absl::OkStatus();
}

class Messages final : public grpc::MessageHolder<v1::StepRequest, v1::StepResponse> {
 public:
  Messages() {
    set_request(owned_request_.get());
    set_response(&owned_response_);
  }
  void FreeRequest() override {
    set_request(nullptr);
    owned_request_.reset();
  }
  void Release() override { delete this; }

 private:
  std::unique_ptr<v1::StepRequest> owned_request_ = std::make_unique<v1::StepRequest>();
  v1::StepResponse owned_response_;
};

// A call that other threads may cancel for as long as it exists.
class Handle {
 public:
  explicit Handle(grpc::CallbackServerContext& call) : call_(&call) {}
  void Cancel() {
    MutexLock lock(mutex_);
    if (call_ != nullptr) call_->TryCancel();
  }
  bool IsOver() {
    MutexLock lock(mutex_);
    return call_ == nullptr;
  }
  void Over() {
    MutexLock lock(mutex_);
    call_ = nullptr;
  }
  // `place` is the reply's place in the line for memory; 0: it stands in none. The reply begins to
  // wait and the client goes, in either order: the second of the two calls learns of the first.
  bool BeginToWait(uint64_t place) {
    MutexLock lock(mutex_);
    place_ = place;
    return !gone_;
  }
  uint64_t ClientHasGone() {
    MutexLock lock(mutex_);
    gone_ = true;
    return place_;
  }

 private:
  Mutex mutex_;
  grpc::CallbackServerContext* call_ ABSL_GUARDED_BY(mutex_);
  uint64_t place_ ABSL_GUARDED_BY(mutex_) = 0;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
};

class StepReactor final : public grpc::ServerUnaryReactor {
 public:
  StepReactor(const ServiceContext& context, grpc::CallbackServerContext& grpc,
              v1::StepResponse& response)
      : context_(context),
        grpc_(grpc),
        call_(context.door, FactsOf("talweg.v1.TrainingService/Step", grpc)),
        response_(response) {}

  void Start(const v1::StepRequest& request) {
    const absl::Status started = Hand(request);
    if (!started.ok()) End(started);
  }

  void OnCancel() override {
    if (ticket_ != 0) host_->Abandon(ticket_);
    const uint64_t place = handle_->ClientHasGone();
    if (place != 0 && context_.budgets.replies.Forget(place)) End(Gone());
  }
  void OnDone() override {
    handle_->Over();
    call_.Over(grpc_.IsCancelled());
    context_.pool.timers().Cancel(patience_);
    response_.clear_sections();  // before other replies get its memory
    delete this;
  }

 private:
  void End(const absl::Status& status) {
    if (status.ok()) call_.CountOut(response_.ByteSizeLong());
    Finish(Ending(call_, status));
  }

  // Hands the contribution to the host of its session.
  absl::Status Hand(const v1::StepRequest& request) {
    TALWEG_RETURN_IF_ERROR(call_.let_in());
    // Checked before anything walks them: a message may hold millions of empty sections.
    if (request.sections_size() > kMaxSections) {
      call_.CountIn(uint64_t{2} * request.sections_size());  // the least that they took on the wire
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("sections has ", request.sections_size(),
                                    " entries, allowed: 1 to ", kMaxSections),
                       "sections");
    }
    TALWEG_RETURN_IF_ERROR(call_.Admit(request));
    if (!request.has_header()) {
      return MakeError(Reason::kFieldRequired, "header is required", "header");
    }
    TALWEG_RETURN_IF_ERROR(CheckHeader(request.header()));
    TALWEG_ASSIGN_OR_RETURN(host_, call_.Find(request.header().session_id()));
    // Checked before the shape: a worker of a lost history may well have another layout.
    TALWEG_RETURN_IF_ERROR(host_->CheckHistory(request.header().history()));
    TALWEG_ASSIGN_OR_RETURN(reply_, MessageReplyFromProto(request.reply()));
    const absl::StatusOr<std::optional<core::StatisticsShape>> shape =
        StatisticsShapeOf(request.header(), *host_->layers());
    if (!shape.ok()) return core::PrefixField(shape.status(), "header");
    const std::vector<core::KroneckerLayer>& layers = host_->layers()->layers;
    TALWEG_ASSIGN_OR_RETURN(
        const ContributedVectors vectors,
        VectorsOf(request.sections(), NumGradientElements(request.header(), host_->num_elements()),
                  shape->has_value() ? (*shape)->NumSent(layers) : 0));
    TALWEG_RETURN_IF_ERROR(CheckReplySize(reply_, host_->num_elements(), context_.budgets.replies));
    // Until the gradient is staged, the message takes memory that no session was charged for, and
    // so does what becomes of its statistics.
    uint64_t bytes = vectors.gradient.numbers.bytes.size() + vectors.statistics.bytes.size();
    if (shape->has_value()) bytes += core::StagedStatistics::MemoryBytes(layers, **shape);
    TALWEG_ASSIGN_OR_RETURN(standing_, context_.budgets.messages.Reserve(bytes));
    StepInput input = InputOf(request.header(), reply_);
    input.gradient = vectors.gradient.numbers;
    input.is_difference = vectors.gradient.is_difference;
    input.statistics_shape = *shape;
    input.statistics = vectors.statistics;
    input.let_go = [this] {
      grpc_.GetRpcAllocatorState()->FreeRequest();
      standing_ = MemoryBudget::Reservation();
    };
    ticket_ = host_->Step(std::move(input), [this](absl::StatusOr<StepOutcome> outcome) {
      grpc_.GetRpcAllocatorState()->FreeRequest();
      standing_ = MemoryBudget::Reservation();
      if (!outcome.ok()) return End(outcome.status());
      Answer(*outcome);
    });
    return absl::OkStatus();
  }

  // Writes the answer, then its data once there is room for them: a round may release thousands of
  // calls at once.
  void Answer(const StepOutcome& outcome) {
    AnswerToProto(outcome, host_->identity().history, response_);
    OutgoingVector vector(outcome, reply_);
    if (vector.empty()) return End(absl::OkStatus());
    const uint64_t bytes = ReplyBytes(vector.num_elements(), vector.element_bytes());
    MemoryBudget& replies = context_.budgets.replies;
    const std::shared_ptr<Handle> handle = handle_;
    const absl::StatusOr<uint64_t> place = replies.ReserveLater(
        ReplyMemory(bytes), [this, vector, &replies](MemoryBudget::Reservation room) {
          standing_ = std::move(room);
          if (grpc_.IsCancelled()) return End(Gone());
          if (replies.used() > replies.limit() / 2) {
            patience_ = ArmPatience(context_.pool.timers(), replies, handle_);
          }
          WriteData(vector);
        });
    if (!place.ok()) return End(AskAgain(place.status()));
    // If the reply has left the line, this object may be gone by now.
    if (!handle->BeginToWait(*place) && replies.Forget(*place)) End(Gone());
  }

  static absl::Status Gone() { return absl::CancelledError("nobody waits for this step"); }

  // A client that takes its reply more slowly than kPatience is cut off if others wait for the
  // memory; its retry gets the same answer.
  static uint64_t ArmPatience(Timers& timers, MemoryBudget& replies,
                              const std::shared_ptr<Handle>& handle) {
    return timers.Arm(MonotonicNow() + kPatience, [&timers, &replies, handle] {
      if (replies.AnyoneWaits()) return handle->Cancel();
      if (!handle->IsOver()) ArmPatience(timers, replies, handle);
    });
  }

  // Writes the data shard by shard on the pool; then the call ends.
  void WriteData(const OutgoingVector& vector) {
    v1::Section& section = *response_.add_sections();
    vector.Open(0, vector.num_elements(), section);
    char* data = section.mutable_data()->data();
    context_.pool.RunPieces(
        core::NumShards(vector.num_elements()),
        [this, data, vector](size_t index) {
          const core::Shard shard = core::ShardAt(index, vector.num_elements());
          const core::Overflow overflow =
              vector.Write(shard.begin, shard.size(), data + shard.begin * vector.element_bytes());
          if (overflow.count == 0) return;
          MutexLock lock(overflow_mutex_);
          overflow_.Add(overflow, 0);
        },
        [this] {
          {
            MutexLock lock(overflow_mutex_);
            OverflowToProto(overflow_, response_);
          }
          End(absl::OkStatus());
        });
  }

  const ServiceContext context_;
  grpc::CallbackServerContext& grpc_;
  Call call_;
  v1::StepResponse& response_;
  // What is needed after the request was freed.
  std::shared_ptr<SessionHost> host_;
  ReplySpec reply_;
  uint64_t ticket_ = 0;
  MemoryBudget::Reservation standing_;  // for the request, and then for the reply
  const std::shared_ptr<Handle> handle_ = std::make_shared<Handle>(grpc_);
  uint64_t patience_ = 0;  // the alarm of ArmPatience
  Mutex overflow_mutex_;
  core::Overflow overflow_ ABSL_GUARDED_BY(overflow_mutex_);  // of the data written so far
};

}  // namespace

grpc::MessageHolder<v1::StepRequest, v1::StepResponse>* StepMessages::AllocateMessages() {
  return new Messages;
}

grpc::ServerUnaryReactor* StartUnaryStep(const ServiceContext& context,
                                         grpc::CallbackServerContext& grpc,
                                         const v1::StepRequest& request,
                                         v1::StepResponse& response) {
  auto* reactor = new StepReactor(context, grpc, response);
  reactor->Start(request);
  return reactor;
}

}  // namespace talweg::server
