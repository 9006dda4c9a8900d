// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/run_contributions.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/check.h"
#include "core/base/dtype.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "core/session/staged_gradient.h"
#include "server/wire/answer_to_proto.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/contribution_from_proto.h"
#include "server/wire/outgoing_vector.h"
#include "server/wire/reply_from_proto.h"
#include "server/wire/section_codec.h"
#include "server/wire/unknown_fields.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/hostile_contributions.h"

namespace talweg::testing {
namespace {

constexpr uint64_t kHistory = 0x1234'5678'9abc'def0;

// A session, and the way of a message through the parts that Step is made of.
class Bench {
 public:
  // There is one worker, so rounds give the same versions, only made in another way.
  Bench(uint64_t num_elements, v1::AggregationMode mode, Seen* seen)
      : seen_(seen), staged_(num_elements), model_("s", kHistory, num_elements, mode) {
    v1::SessionConfig config;
    v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name("w");
    tensor.add_shape(num_elements);
    config.mutable_optimizer()->mutable_momentum();
    config.mutable_schedule()->set_learning_rate(SessionModel::kRate);
    config.mutable_aggregation()->set_mode(mode);
    session_ = std::make_unique<core::Session>(*server::ConfigFromProto(config), kHistory,
                                               std::make_shared<core::Parameters>(num_elements));
    Join();
    Join();  // Now there is an incarnation that was fenced.
  }

  void Join() {
    session_->Handle(core::Join{"a", ++incarnation_}, absl::UnixEpoch());
    model_.Join(incarnation_);
  }

  std::string Run(const v1::StepRequest& request) {
    const Complaints wrong = model_.AboutStep(request, Taker::kChecks);
    const uint32_t before = session_->Checksum();
    v1::StepResponse answer;
    const absl::Status taken = Take(request, answer);
    const std::string judged = JudgeAnswer(wrong, !taken.ok(), ComplaintOf(taken));
    if (!judged.empty()) return absl::StrCat(judged, ": ", taken.ToString());
    if (seen_ != nullptr) {
      ++(*seen_)[taken.ok() ? v1::Verdict_Name(answer.verdict()) : core::ReasonName(taken)];
    }
    const bool changed = session_->Checksum() != before;
    if (!taken.ok()) return changed ? "an error changed something" : "";
    const v1::StepResponse due = model_.Take(request.header(), request.reply(), SentIn(request));
    if (changed == due.replayed()) return "a repeat changed something, or a verdict nothing";
    if (model_.exhausted()) Join();
    return CompareAnswers(due, answer);
  }

  const SessionModel& model() const { return model_; }

 private:
  absl::Status Take(const v1::StepRequest& request, v1::StepResponse& answer) {
    TALWEG_RETURN_IF_ERROR(server::CheckNoUnknownFields(request));
    TALWEG_RETURN_IF_ERROR(server::CheckHeader(request.header()));
    TALWEG_RETURN_IF_ERROR(session_->machine().CheckHistory(request.header().history()));
    TALWEG_ASSIGN_OR_RETURN(const server::ReplySpec reply, server::ReplyFromProto(request.reply()));
    const absl::Status shape =
        server::StatisticsShapeOf(request.header(), *session_->config().layer_table).status();
    if (!shape.ok()) return core::PrefixField(shape, "header");
    TALWEG_ASSIGN_OR_RETURN(
        const server::ContributedVectors vectors,
        server::VectorsOf(request.sections(),
                          server::NumGradientElements(request.header(), session_->num_elements()),
                          0));
    const server::ContributedVector& sent = vectors.gradient;
    const core::EncodedVector gradient = sent.numbers;
    staged_.Begin(session_->config().group_map);
    const bool abstains = request.header().abstain();
    const size_t num_shards = core::NumShards(session_->num_elements());
    for (size_t index = 0; index < num_shards && !abstains; ++index) {
      const core::Shard shard = core::ShardAt(index, session_->num_elements());
      staged_.Stage(shard, gradient.dtype,
                    gradient.bytes.data() + shard.begin * core::DtypeBytes(gradient.dtype));
    }
    server::StepInput input = server::InputOf(request.header(), reply);
    input.contribution.ticket = ++ticket_;
    core::ContributionInput contributed{
        input.contribution,       input.losses,
        sent.is_difference,       abstains ? nullptr : core::Borrow(staged_),
        /*statistics=*/nullptr,
        /*returns_gradient=*/true};
    server::StepOutcome outcome;
    const std::shared_ptr<const core::Parameters> previous = session_->parameters();
    const core::Contributed done =
        core::ContributeAndRun(*session_, std::move(contributed), absl::UnixEpoch());
    TALWEG_RETURN_IF_ERROR(done.judged.status);
    if (done.ended.step.has_value()) {
      const std::vector<core::Released>& released = done.ended.effects.released;
      TALWEG_CHECK(released.size() == 1 && released[0].ticket == ticket_);
      outcome.previous = previous;
      outcome.answer = released[0].answer;
    } else {
      TALWEG_CHECK(done.judged.answer.has_value());  // there is nobody to wait for
      outcome.answer = *done.judged.answer;
    }
    outcome.parameters = session_->parameters();
    outcome.next_learning_rate = session_->NextLearningRate();
    server::AnswerToProto(outcome, session_->machine().history(), answer);
    const server::OutgoingVector vector(outcome, reply);
    if (vector.empty()) return absl::OkStatus();
    v1::Section& section = *answer.add_sections();
    vector.Open(0, vector.num_elements(), section);
    server::OverflowToProto(vector.Write(0, vector.num_elements(), section.mutable_data()->data()),
                            answer);
    return absl::OkStatus();
  }

  Seen* const seen_;
  core::StagedGradient staged_;
  SessionModel model_;
  std::unique_ptr<core::Session> session_;
  uint64_t incarnation_ = 0;
  uint64_t ticket_ = 0;
};

}  // namespace

std::string RunContributions(absl::string_view bytes, Seen* seen) {
  ByteSource source(bytes);
  constexpr uint64_t kSizes[] = {1, 2, 5, 31, 4097};
  const uint64_t num_elements = kSizes[source.Once(32) ? 4 : source.Below(4)];
  Bench bench(num_elements,
              source.Once(2) ? v1::AGGREGATION_MODE_SYNCHRONOUS : v1::AGGREGATION_MODE_ASYNCHRONOUS,
              seen);
  while (!source.empty()) {
    const v1::StepRequest request = HostileStep(source, bench.model());
    const std::string wrong = bench.Run(request);
    if (!wrong.empty()) return absl::StrCat(wrong, "\n", request.ShortDebugString());
  }
  const uint64_t version = bench.model().version();
  v1::StepRequest request;
  *request.mutable_header() = bench.model().NextHeader();
  request.add_sections()->set_kind(v1::SECTION_KIND_GRADIENT);
  SetNumbers(std::vector<float>(bench.model().num_elements(), 0.125f), v1::DTYPE_FLOAT32,
             *request.mutable_sections(0));
  const std::string wrong = bench.Run(request);
  if (!wrong.empty()) return absl::StrCat("without fault: ", wrong);
  return bench.model().version() == version + 1 ? ""
                                                : "a contribution without fault was not applied";
}

}  // namespace talweg::testing
