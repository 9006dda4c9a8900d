// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/stream_machine.h"

#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/contribution_from_proto.h"
#include "server/wire/reply_from_proto.h"
#include "server/wire/unknown_fields.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

struct StreamMachine::Staging {
  Staging(MemoryBudget::Reservation granted, uint64_t num_bytes, uint64_t num_elements)
      : memory(std::move(granted)), bytes(num_bytes), gradient(num_elements) {}
  MemoryBudget::Reservation memory;
  uint64_t bytes;
  core::StagedGradient gradient;
  std::unique_ptr<core::StagedStatistics> statistics;  // null: the contribution has none
};

bool StreamMachine::TakesFrames() const {
  // Frames are looked at before the grant too: none may come then.
  return phase_ == Phase::kResting ||
         (phase_ == Phase::kOpen && (staging_ != nullptr || !grant_is_out_ || header_.abstain()));
}

void StreamMachine::Take(const v1::StreamStepRequest& frame) {
  const absl::Status taken = TakeFrame(frame);
  if (!taken.ok()) world_.output.End(taken);
}

absl::Status StreamMachine::TakeFrame(const v1::StreamStepRequest& frame) {
  TALWEG_RETURN_IF_ERROR(CheckNoUnknownFields(frame));
  TALWEG_RETURN_IF_ERROR(assembler_.CheckOrder(frame.frame_case()));
  if (frame.has_header()) return core::PrefixField(TakeHeader(frame.header()), "header");
  if (staging_ == nullptr && !header_.abstain()) {
    return MakeError(Reason::kFrameUnexpected, "a frame came before the grant", "frame");
  }
  return frame.has_commit() ? TakeCommit() : TakeChunk(frame.chunk());
}

absl::Status StreamMachine::TakeHeader(const v1::StreamHeader& header) {
  TALWEG_RETURN_IF_ERROR(world_.check_open());
  if (!header.has_header()) {
    return MakeError(Reason::kFieldRequired, "header.header is required", "header");
  }
  TALWEG_RETURN_IF_ERROR(CheckHeader(header.header()));
  const std::string& session_id = header.header().session_id();
  if (session_ != nullptr && session_id != session_->id()) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("this stream is for session \"", session_->id(),
                                  "\", the header names \"", session_id, "\""),
                     "header.session_id");
  }
  const bool first = session_ == nullptr;
  if (first) {
    TALWEG_ASSIGN_OR_RETURN(session_, world_.find(session_id));
  }
  // Before its shape is judged: a worker of a lost history may well have another layout.
  TALWEG_RETURN_IF_ERROR(session_->CheckHistory(header.header().history()));
  TALWEG_ASSIGN_OR_RETURN(reply_spec_, StreamReplyFromProto(header.reply()));
  absl::StatusOr<std::optional<core::StatisticsShape>> shape =
      StatisticsShapeOf(header.header(), *session_->layers());
  if (!shape.ok()) return core::PrefixField(shape.status(), "header");
  const uint64_t num_statistics =
      shape->has_value() ? (*shape)->NumSent(session_->layers()->layers) : 0;
  const bool abstains = header.header().abstain();
  TALWEG_RETURN_IF_ERROR(assembler_.Open(
      NumGradientElements(header.header(), session_->num_elements()), num_statistics));
  header_ = header.header();
  statistics_shape_ = *std::move(shape);
  phase_ = Phase::kOpen;
  world_.memory.StopWatching();
  // What was granted may be too little for these statistics.
  if (staging_ != nullptr && staging_->bytes < BytesNeeded()) staging_.reset();
  if (first) {
    session_->AwaitMade();
  } else if (staging_ != nullptr) {
    return PlaceStatistics();
  } else if (grant_is_out_ && !abstains) {
    AskForMemory();  // for what it gave up
  }
  return absl::OkStatus();
}

uint64_t StreamMachine::BytesNeeded() const {
  const uint64_t gradient = session_->num_elements() * sizeof(float);
  if (phase_ != Phase::kOpen || !statistics_shape_.has_value()) return gradient;
  return gradient +
         core::StagedStatistics::MemoryBytes(session_->layers()->layers, *statistics_shape_);
}

absl::Status StreamMachine::PlaceStatistics() {
  staging_->statistics.reset();
  if (!statistics_shape_.has_value()) return absl::OkStatus();
  try {
    staging_->statistics =
        std::make_unique<core::StagedStatistics>(session_->layers(), *statistics_shape_);
  } catch (const std::bad_alloc&) {
    return MakeError(Reason::kMemoryQuota, "the system has no memory for the statistics");
  }
  staging_->statistics->sent().Begin(staging_->statistics->map_of_sent());
  return absl::OkStatus();
}

absl::Status StreamMachine::TakeChunk(const v1::Chunk& chunk) {
  ShowLife();
  core::StagedGradient& gradient = staging_->gradient;
  if (assembler_.next_element() == 0) gradient.Begin(session_->group_map());
  TALWEG_ASSIGN_OR_RETURN(const ContributionAssembler::Numbers numbers, assembler_.Add(chunk));
  (numbers.are_statistics ? staging_->statistics->sent() : gradient).Append(numbers.numbers);
  return absl::OkStatus();
}

absl::Status StreamMachine::TakeCommit() {
  TALWEG_RETURN_IF_ERROR(assembler_.Commit());
  phase_ = Phase::kWhole;
  if (!header_.abstain()) grant_is_out_ = false;
  StepIfWhole();
  return absl::OkStatus();
}

void StreamMachine::ShowLife() {
  const absl::Time now = world_.now();
  if (now < last_sign_of_life_ + kSignOfLife) return;
  last_sign_of_life_ = now;
  session_->ShowLife(LifeOf(header_));
}

void StreamMachine::SessionMade(const absl::Status& made) {
  if (!made.ok()) return world_.output.End(made);
  // If the worker has abstained and committed, its memory is for the next contribution.
  if (phase_ == Phase::kOpen && staging_ == nullptr) AskForMemory();
}

void StreamMachine::AskForMemory() {
  if (asking_) return;
  asking_ = true;
  asked_bytes_ = BytesNeeded();
  const absl::Status asked = world_.memory.Ask(asked_bytes_);
  if (!asked.ok()) world_.output.End(asked);
}

void StreamMachine::Granted(MemoryBudget::Reservation memory) {
  asking_ = false;
  try {
    staging_ = std::make_shared<Staging>(std::move(memory), asked_bytes_, session_->num_elements());
    staging_->gradient.Begin(session_->group_map());
  } catch (const std::bad_alloc&) {
    return world_.output.End(
        MakeError(Reason::kMemoryQuota, "the system has no memory for a contribution"));
  }
  if (phase_ == Phase::kOpen) {
    // The header may have come while the memory was asked for.
    if (asked_bytes_ < BytesNeeded()) {
      staging_.reset();
      return AskForMemory();
    }
    const absl::Status placed = PlaceStatistics();
    if (!placed.ok()) return world_.output.End(placed);
  }
  SendGrant();
  // While an abstention is judged there is nothing to put there either; and the worker that its
  // round waits for may be the next in the line.
  if (phase_ == Phase::kResting || phase_ == Phase::kJudging) Rest();
}

void StreamMachine::SendGrant() {
  if (grant_is_out_) return;
  grant_is_out_ = true;
  world_.output.SendGrant(session_->num_elements());
}

void StreamMachine::Rest() {
  world_.memory.WatchForOthers();
  if (world_.memory.OthersWait()) Wanted();
}

void StreamMachine::Wanted() {
  // While it is judged, the step holds the staging too, until it is folded.
  if (phase_ == Phase::kResting || phase_ == Phase::kJudging) staging_.reset();
}

void StreamMachine::StepIfWhole() {
  if (phase_ != Phase::kWhole || replying_) return;
  phase_ = Phase::kJudging;
  StepInput input = InputOf(header_, reply_spec_);
  if (!header_.abstain() && !header_.statistics().alone()) {
    input.staged = {staging_, &staging_->gradient};
    input.is_difference = assembler_.is_difference();
  }
  if (statistics_shape_.has_value()) {
    input.staged_statistics = {staging_, staging_->statistics.get()};
  }
  session_->Step(std::move(input));
  Rest();
}

void StreamMachine::Judged(const absl::StatusOr<StepOutcome>& outcome, bool more_may_come) {
  phase_ = Phase::kResting;
  if (!outcome.ok()) return world_.output.End(core::PrefixField(outcome.status(), "header"));
  // A pending contribution may still wait to be folded: its memory is the session's until then.
  const bool may_be_read = outcome->answer.verdict == core::Verdict::kPending;
  if (!more_may_come || stopping_) {
    staging_.reset();
  } else if (grant_is_out_) {
    // The worker abstained and did not use its grant. Every reply brings a grant, so it hears
    // again.
    world_.output.SendGrant(session_->num_elements());
    Rest();
  } else if (staging_ == nullptr || may_be_read || world_.memory.OthersWait()) {
    staging_.reset();
    AskForMemory();
  } else {
    SendGrant();
    Rest();
  }
  replying_ = true;
  world_.output.SendReply(ReplyFrames(*outcome, session_->history(), reply_spec_));
}

void StreamMachine::ReplyMade() {
  replying_ = false;
  StepIfWhole();
}

void StreamMachine::SessionDeleted() {
  world_.output.End(MakeError(Reason::kSessionDeleted,
                              absl::StrCat("session \"", session_->id(), "\" was deleted")));
}

void StreamMachine::LetGo() {
  if (phase_ == Phase::kJudging) session_->Abandon();
  phase_ = Phase::kResting;
  staging_.reset();
  world_.memory.StopAsking();
  world_.memory.StopWatching();
}

std::optional<absl::Status> StreamMachine::EndAtRest(bool no_more_frames) const {
  if (phase_ == Phase::kWhole || phase_ == Phase::kJudging || replying_) return {};
  const bool granted = phase_ == Phase::kOpen && staging_ != nullptr;
  if (stopping_ && !granted) return world_.check_open();
  if (!no_more_frames) return {};
  if (phase_ == Phase::kResting) return absl::OkStatus();
  return MakeError(Reason::kFrameUnexpected, "the stream ended within a contribution", "frame");
}

}  // namespace talweg::server
