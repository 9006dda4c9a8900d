// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/session_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/dtype.h"
#include "client/cpp/talweg/pull.h"

namespace talweg {
namespace {

// No gradient above it fits into one message.
constexpr uint64_t kMaxUnaryBytes = uint64_t{64} << 20;

}  // namespace

void Session::State::Forget() {
  const bool under_way = std::any_of(waiting.begin(), waiting.end(), [](const Waiting& one) {
    return !one.contribution.answer.has_value();
  });
  if (stream != nullptr && under_way) stream->Close();
  waiting.clear();
  resumable = false;
}

void Session::State::Aim(Contribution& contribution, absl::Span<float> parameters) const {
  const StepOptions& step = contribution.options;
  contribution.parameters = parameters;
  contribution.num_good = 0;
  v1::ReplyOptions& reply = *contribution.header.mutable_reply();
  reply.set_data(parameters.empty()                  ? v1::REPLY_DATA_NONE
                 : step.point == v1::POINT_LOOKAHEAD ? v1::REPLY_DATA_LOOKAHEAD
                                                     : v1::REPLY_DATA_PARAMETERS);
  reply.set_dtype(step.reply_dtype);
  reply.set_checksums(step.checksums);
  reply.set_return_pending(step.return_pending);
  contribution.waits = replies_wait && !step.return_pending;
}

bool Session::State::NeedsStream(const Contribution& contribution) const {
  const StepOptions& step = contribution.options;
  const uint64_t up = contribution.gradient.size() * DtypeBytes(step.gradient_dtype) +
                      contribution.statistics.bytes();
  const uint64_t bytes =
      std::max<uint64_t>(up, contribution.parameters.size() * DtypeBytes(step.reply_dtype));
  return step.checksums || bytes > std::min(options.stream_threshold_bytes, kMaxUnaryBytes);
}

absl::Status Session::State::CallStep(Contribution& contribution, absl::Duration timeout,
                                      const RoundWait& wait) {
  const StepOptions& step = contribution.options;
  *request.mutable_header() = contribution.header.header();
  *request.mutable_reply() = contribution.header.reply();
  request.mutable_reply()->set_max_reply_bytes(options.max_message_bytes);
  const uint64_t gradient_bytes = contribution.gradient.size() * DtypeBytes(step.gradient_dtype);
  int num_sections = 0;
  // Sections keep their memory from step to step.
  const auto next_section = [&](v1::SectionKind kind, v1::Dtype dtype, uint64_t bytes) -> char* {
    if (request.sections_size() == num_sections) request.add_sections();
    v1::Section& section = *request.mutable_sections(num_sections++);
    section.set_kind(kind);
    section.set_dtype(dtype);
    section.mutable_data()->resize(bytes);
    return section.mutable_data()->data();
  };
  const StatisticsVector& statistics = contribution.statistics;
  if (!step.abstain && !contribution.header.header().statistics().alone()) {
    EncodeFloats(step.gradient_dtype, contribution.gradient,
                 next_section(KindOf(step), step.gradient_dtype, gradient_bytes));
  }
  if (contribution.header.header().has_statistics()) {
    statistics.Encode(
        0, statistics.size(),
        next_section(v1::SECTION_KIND_STATISTICS, statistics.dtype(), statistics.bytes()));
  }
  request.mutable_sections()->DeleteSubrange(num_sections, request.sections_size() - num_sections);
  absl::Status status = contribution.waits ? transport->Wait(
                                                 request, response, [&] { return wait.Look(); },
                                                 wait.attempt_timeout())
                                           : transport->Call(request, response, timeout);
  if (!status.ok()) return status;
  const absl::Span<float> parameters = contribution.parameters;
  if (!parameters.empty()) {
    const v1::SectionKind kind =
        response.sections_size() == 1 ? response.sections(0).kind() : v1::SECTION_KIND_UNSPECIFIED;
    const bool asked = kind == v1::SECTION_KIND_PARAMETERS ||
                       (kind == v1::SECTION_KIND_LOOKAHEAD && step.point == v1::POINT_LOOKAHEAD);
    if (!asked ||
        response.sections(0).data().size() != parameters.size() * DtypeBytes(step.reply_dtype)) {
      return absl::InternalError(absl::StrCat("the server's reply to step ",
                                              response.applied_version(), " does not hold ",
                                              parameters.size(), " parameters"));
    }
    DecodeFloats(step.reply_dtype, response.sections(0).data().data(), parameters);
  }
  // All but the sections, which stay for the memory of the next.
  google::protobuf::RepeatedPtrField<v1::Section> sections;
  sections.Swap(response.mutable_sections());
  contribution.answer = response;
  sections.Swap(response.mutable_sections());
  contribution.num_good = parameters.size();
  if (step.progress) {
    const uint64_t bytes =
        gradient_bytes + statistics.bytes() + parameters.size() * DtypeBytes(step.reply_dtype);
    step.progress(bytes, bytes);
  }
  return absl::OkStatus();
}

absl::Status Session::State::Mend(const Contribution& contribution, StepResult& result) {
  if (contribution.num_good == contribution.parameters.size()) return absl::OkStatus();
  PullOptions pull;
  pull.point = contribution.options.point;
  pull.dtype = contribution.options.reply_dtype;
  pull.checksums = true;
  const PullStart start = {result.data_version, result.next_learning_rate, contribution.num_good};
  const absl::StatusOr<PulledVersion> pulled = PullParameters(
      *transport, options.retry, session_id, history, contribution.parameters, pull, &start);
  if (!pulled.ok()) return pulled.status();
  // The answer told the overflow of its own version, whole; the pull tells that of what it pulled.
  if (pulled->version != result.data_version) {
    result.num_overflowed = pulled->num_overflowed;
    result.first_overflowed = pulled->first_overflowed;
  }
  result.data_version = pulled->version;
  result.next_learning_rate = pulled->next_learning_rate;
  return absl::OkStatus();
}

}  // namespace talweg
