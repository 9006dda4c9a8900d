// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/unary_step.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "server/rpc/step_reply.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr uint64_t kDefaultMaxReplyBytes = 4194304;  // of gRPC's clients
constexpr uint64_t kReplyOverheadBytes = 4096;       // all of a reply but its data, rounded up
constexpr int kMaxSections = 16;

absl::Status CheckReplySize(const v1::ReplyOptions& reply, uint64_t num_elements) {
  if (reply.data() == v1::REPLY_DATA_NONE) return absl::OkStatus();
  TALWEG_ASSIGN_OR_RETURN(const core::Dtype dtype, DtypeFromProto(reply.dtype(), "reply.dtype"));
  const uint64_t allowed =
      reply.max_reply_bytes() == 0 ? kDefaultMaxReplyBytes : reply.max_reply_bytes();
  const uint64_t needed = num_elements * core::DtypeBytes(dtype) + kReplyOverheadBytes;
  if (needed <= allowed) return absl::OkStatus();
  return MakeError(
      Reason::kReplyTooLarge,
      absl::StrCat("the reply needs up to ", needed, " bytes, max_reply_bytes is ", allowed),
      "reply.max_reply_bytes");
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

class StepReactor final : public grpc::ServerUnaryReactor {
 public:
  StepReactor(const ServiceContext& context, grpc::CallbackServerContext& call,
              v1::StepResponse& response)
      : context_(context), call_(call), response_(response) {}

  void Start(const v1::StepRequest& request) {
    const absl::Status started = Hand(request);
    if (!started.ok()) Finish(Refusal(started));
  }

  void OnCancel() override {
    if (ticket_ != 0) host_->Abandon(ticket_);
  }
  void OnDone() override { delete this; }

 private:
  // Hands the contribution to its session's host.
  absl::Status Hand(const v1::StepRequest& request) {
    // Before anything walks them: a message may hold millions of empty sections.
    if (request.sections_size() > kMaxSections) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("sections has ", request.sections_size(),
                                    " entries, allowed: 1 to ", kMaxSections),
                       "sections");
    }
    TALWEG_RETURN_IF_ERROR(context_.Admit(request));
    if (!request.has_header()) {
      return MakeError(Reason::kFieldRequired, "header is required", "header");
    }
    TALWEG_RETURN_IF_ERROR(CheckHeader(request.header()));
    TALWEG_ASSIGN_OR_RETURN(host_, context_.sessions.Find(request.header().session_id()));
    // Before its shape is judged: a worker of a lost history may well have another layout.
    TALWEG_RETURN_IF_ERROR(host_->CheckHistory(request.header().history()));
    TALWEG_RETURN_IF_ERROR(CheckReply(request.reply()));
    if (request.reply().checksums()) {
      return MakeError(Reason::kFieldOutOfRange, "checksums are of StreamStep: a message has none",
                       "reply.checksums");
    }
    TALWEG_ASSIGN_OR_RETURN(const ContributedVector gradient,
                            GradientOf(request.sections(), host_->num_elements()));
    TALWEG_RETURN_IF_ERROR(CheckReplySize(request.reply(), host_->num_elements()));
    // Until it is staged the message stands in memory that no session was charged for.
    TALWEG_ASSIGN_OR_RETURN(standing_, context_.messages.Reserve(gradient.numbers.bytes.size()));
    reply_ = request.reply();
    StepInput input = InputOf(request.header(), request.reply());
    input.gradient = gradient.numbers;
    input.is_difference = gradient.is_difference;
    input.let_go = [this] {
      call_.GetRpcAllocatorState()->FreeRequest();
      standing_ = MemoryBudget::Reservation();
    };
    ticket_ = host_->Step(std::move(input), [this](absl::StatusOr<StepOutcome> outcome) {
      standing_ = MemoryBudget::Reservation();
      if (!outcome.ok()) return Finish(Refusal(outcome.status()));
      Answer(*outcome);
    });
    return absl::OkStatus();
  }

  // Writes the answer, then its data shard by shard on the pool, then ends the call.
  void Answer(const StepOutcome& outcome) {
    FillResponse(outcome, host_->identity().history, response_);
    const OutgoingVector vector(outcome, reply_);
    if (vector.empty()) return Finish(grpc::Status::OK);
    v1::Section& section = *response_.add_sections();
    vector.Open(0, vector.num_elements(), section);
    char* data = section.mutable_data()->data();
    context_.pool.RunPieces(
        core::NumShards(vector.num_elements()),
        [data, vector](size_t index) {
          const core::Shard shard = core::ShardAt(index, vector.num_elements());
          vector.Write(shard.begin, shard.size(), data + shard.begin * vector.element_bytes());
        },
        [this] { Finish(grpc::Status::OK); });
  }

  const ServiceContext context_;
  grpc::CallbackServerContext& call_;
  v1::StepResponse& response_;
  // What is still needed where the request was freed.
  std::shared_ptr<SessionHost> host_;
  v1::ReplyOptions reply_;
  uint64_t ticket_ = 0;
  MemoryBudget::Reservation standing_;
};

}  // namespace

grpc::MessageHolder<v1::StepRequest, v1::StepResponse>* StepMessages::AllocateMessages() {
  return new Messages;
}

grpc::ServerUnaryReactor* StartStep(const ServiceContext& context,
                                    grpc::CallbackServerContext& call,
                                    const v1::StepRequest& request, v1::StepResponse& response) {
  auto* reactor = new StepReactor(context, call, response);
  reactor->Start(request);
  return reactor;
}

}  // namespace talweg::server
