// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/training_service.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/kernels/subtract.h"
#include "server/wire/names.h"
#include "server/wire/report_to_proto.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr uint64_t kDefaultMaxReplyBytes = 4194304;  // of gRPC's clients
constexpr uint64_t kReplyOverheadBytes = 1024;       // all of a reply but its data, rounded up
constexpr int kMaxLosses = 16;
constexpr int kMaxSections = 16;
constexpr uint64_t kPullElements = (1 << 20) / sizeof(float);

absl::Status Required(absl::string_view field) {
  return MakeError(Reason::kFieldRequired, absl::StrCat(field, " is required"), field);
}

absl::Status CheckHeader(const v1::ContributionHeader& header) {
  TALWEG_RETURN_IF_ERROR(CheckName(header.session_id(), "header.session_id"));
  TALWEG_RETURN_IF_ERROR(CheckName(header.worker(), "header.worker"));
  if (header.history() == 0) return Required("header.history");
  if (header.incarnation() == 0) return Required("header.incarnation");
  if (header.sequence() == 0) return Required("header.sequence");
  if (header.losses_size() > kMaxLosses) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("header.losses has ", header.losses_size(),
                                  " values, allowed: 0 to ", kMaxLosses),
                     "header.losses");
  }
  return absl::OkStatus();
}

absl::Status CheckReply(const v1::ReplyOptions& reply, uint64_t num_elements) {
  if (!v1::ReplyData_IsValid(reply.data())) {
    return MakeError(
        Reason::kFieldOutOfRange,
        absl::StrCat("reply.data has the unknown value ", static_cast<int>(reply.data())),
        "reply.data");
  }
  if (reply.data() == v1::REPLY_DATA_NONE) return absl::OkStatus();
  const uint64_t allowed =
      reply.max_reply_bytes() == 0 ? kDefaultMaxReplyBytes : reply.max_reply_bytes();
  const uint64_t needed = num_elements * sizeof(float) + kReplyOverheadBytes;
  if (needed <= allowed) return absl::OkStatus();
  return MakeError(
      Reason::kReplyTooLarge,
      absl::StrCat("the reply needs up to ", needed, " bytes, max_reply_bytes is ", allowed),
      "reply.max_reply_bytes");
}

core::Contribution ContributionFrom(const v1::ContributionHeader& header) {
  core::Contribution contribution;
  contribution.history = header.history();
  contribution.worker = header.worker();
  contribution.incarnation = header.incarnation();
  contribution.sequence = header.sequence();
  contribution.base_version = header.base_version();
  return contribution;
}

// Writes the answer, then its data shard by shard on the pool, then ends the call.
void Answer(const StepOutcome& outcome, uint64_t history, v1::ReplyData wanted, ComputePool& pool,
            v1::StepResponse* response, grpc::ServerUnaryReactor* reactor) {
  response->set_history(history);
  response->set_verdict(VerdictToProto(outcome.answer.verdict));
  response->set_replayed(outcome.answer.replayed);
  response->set_applied_version(outcome.answer.applied_version);
  response->set_data_version(outcome.parameters->version);
  if (outcome.answer.report.has_value()) {
    *response->mutable_report() = ReportToProto(*outcome.answer.report);
  }
  if (wanted == v1::REPLY_DATA_NONE) return reactor->Finish(grpc::Status::OK);

  const bool update = wanted == v1::REPLY_DATA_UPDATE && outcome.previous != nullptr;
  v1::Section& section = *response->add_sections();
  section.set_kind(update ? v1::SECTION_KIND_UPDATE : v1::SECTION_KIND_PARAMETERS);
  section.set_dtype(v1::DTYPE_FLOAT32);
  const size_t num_elements = outcome.parameters->values.size();
  section.mutable_data()->resize(num_elements * sizeof(float));
  // Long strings lie on the heap and short ones inside the object: aligned for float either way.
  auto* data = reinterpret_cast<float*>(section.mutable_data()->data());
  pool.RunPieces(
      core::NumShards(num_elements),
      [data, update, num_elements, parameters = outcome.parameters,
       previous = outcome.previous](size_t index) {
        const core::Shard shard = core::ShardAt(index, num_elements);
        const auto now = parameters->values.span().subspan(shard.begin, shard.size());
        float* to = data + shard.begin;
        if (update) {
          core::Subtract(core::Stores::kCached, now,
                         previous->values.span().subspan(shard.begin, shard.size()),
                         {to, shard.size()});
        } else {
          std::memcpy(to, now.data(), shard.size() * sizeof(float));
        }
      },
      [reactor] { reactor->Finish(grpc::Status::OK); });
}

// Streams one version, a message at a time; each is made on the pool when the one before has gone
// out, so a slow reader costs one message and holds one version.
class PullReactor final : public grpc::ServerWriteReactor<v1::PullResponse> {
 public:
  explicit PullReactor(ComputePool& pool) : pool_(pool) {}

  void Fail(const absl::Status& status) { Finish(Refusal(status)); }

  void Start(std::shared_ptr<SessionHost> host, const v1::PullRequest& request) {
    host_ = std::move(host);
    if (request.history() != 0) {
      const absl::Status current = host_->CheckHistory(request.history());
      if (!current.ok()) return Fail(current);
    }
    if (request.begin_element() > host_->num_elements()) {
      return Fail(MakeError(Reason::kFieldOutOfRange,
                            absl::StrCat("begin_element is ", request.begin_element(),
                                         ", the layout has ", host_->num_elements(), " elements"),
                            "begin_element"));
    }
    next_element_ = request.begin_element();
    if (request.has_version()) pinned_ = request.version();
    host_->Read([this](absl::StatusOr<std::shared_ptr<const core::Parameters>> parameters) {
      if (!parameters.ok()) return Fail(parameters.status());
      parameters_ = *std::move(parameters);
      Begin();
    });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the reader has gone"));
    if (next_element_ == parameters_->values.size()) return Finish(grpc::Status::OK);
    pool_.Post([this] { WriteNext(); });
  }

  void OnDone() override { delete this; }

 private:
  void Begin() {
    const uint64_t history = host_->identity().history;
    const core::ErrorMetadata current = {{"history", absl::StrCat(history)},
                                         {"version", absl::StrCat(parameters_->version)}};
    if (pinned_.has_value() && *pinned_ != parameters_->version) {
      return Fail(MakeError(Reason::kVersionGone,
                            absl::StrCat("version ", *pinned_, " is not held, the session is at ",
                                         parameters_->version),
                            "version", current));
    }
    pool_.Post([this] { WriteNext(); });
  }

  void WriteNext() {
    if (host_->deleted()) {
      return Fail(MakeError(Reason::kSessionDeleted, "the session was deleted"));
    }
    const uint64_t num_elements = parameters_->values.size();
    const uint64_t count = std::min(kPullElements, num_elements - next_element_);
    message_.set_history(host_->identity().history);
    message_.set_version(parameters_->version);
    message_.set_num_elements(num_elements);
    FillSection(v1::SECTION_KIND_PARAMETERS, parameters_->values.span(), next_element_, count,
                *message_.mutable_section());
    next_element_ += count;
    StartWrite(&message_);
  }

  ComputePool& pool_;
  std::shared_ptr<SessionHost> host_;
  std::shared_ptr<const core::Parameters> parameters_;
  std::optional<uint64_t> pinned_;
  uint64_t next_element_ = 0;
  v1::PullResponse message_;
};

}  // namespace

grpc::ServerUnaryReactor* TrainingService::Step(grpc::CallbackServerContext* call,
                                                const v1::StepRequest* request,
                                                v1::StepResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const auto start = [&]() -> absl::Status {
    // Before anything walks them: a message may hold millions of empty sections.
    if (request->sections_size() > kMaxSections) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("sections has ", request->sections_size(),
                                    " entries, allowed: 1 to ", kMaxSections),
                       "sections");
    }
    TALWEG_RETURN_IF_ERROR(context_.Admit(*request));
    if (!request->has_header()) return Required("header");
    TALWEG_RETURN_IF_ERROR(CheckHeader(request->header()));
    TALWEG_ASSIGN_OR_RETURN(std::shared_ptr<SessionHost> host,
                            context_.sessions.Find(request->header().session_id()));
    // Before its shape is judged: a worker of a lost history may well have another layout.
    TALWEG_RETURN_IF_ERROR(host->CheckHistory(request->header().history()));
    TALWEG_ASSIGN_OR_RETURN(const absl::string_view gradient,
                            GradientBytes(request->sections(), host->num_elements()));
    TALWEG_RETURN_IF_ERROR(CheckReply(request->reply(), host->num_elements()));
    // Until its turn the message stands in memory that no session was charged for.
    TALWEG_ASSIGN_OR_RETURN(MemoryBudget::Reservation waiting,
                            context_.messages.Reserve(gradient.size()));
    StepInput input{ContributionFrom(request->header()),
                    {request->header().losses().begin(), request->header().losses().end()},
                    gradient,
                    [call] { return call->IsCancelled(); }};
    host->Step(
        std::move(input), [this, history = host->identity().history, request, response, reactor,
                           waiting = std::move(waiting)](absl::StatusOr<StepOutcome> outcome) {
          if (!outcome.ok()) return reactor->Finish(Refusal(outcome.status()));
          Answer(*outcome, history, request->reply().data(), context_.pool, response, reactor);
        });
    return absl::OkStatus();
  };
  const absl::Status started = start();
  if (!started.ok()) reactor->Finish(Refusal(started));
  return reactor;
}

grpc::ServerWriteReactor<v1::PullResponse>* TrainingService::Pull(
    grpc::CallbackServerContext* /*call*/, const v1::PullRequest* request) {
  auto* reactor = new PullReactor(context_.pool);
  const auto find = [&]() -> absl::StatusOr<std::shared_ptr<SessionHost>> {
    TALWEG_RETURN_IF_ERROR(context_.Admit(*request));
    TALWEG_RETURN_IF_ERROR(CheckName(request->session_id(), "session_id"));
    return context_.sessions.Find(request->session_id());
  };
  absl::StatusOr<std::shared_ptr<SessionHost>> host = find();
  if (host.ok()) {
    reactor->Start(*std::move(host), *request);
  } else {
    reactor->Fail(host.status());
  }
  return reactor;
}

}  // namespace talweg::server
