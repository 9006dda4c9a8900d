// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/step_reply.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "core/kernels/subtract.h"
#include "server/wire/names.h"
#include "server/wire/report_to_proto.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr int kMaxLosses = 16;

absl::Status Required(absl::string_view field) {
  return MakeError(Reason::kFieldRequired, absl::StrCat(field, " is required"), field);
}

core::Dtype DtypeOf(const v1::ReplyOptions& reply) {
  return DtypeFromProto(reply.dtype(), "reply.dtype").value_or(core::Dtype::kFloat32);
}

}  // namespace

absl::Status CheckHeader(const v1::ContributionHeader& header) {
  TALWEG_RETURN_IF_ERROR(CheckName(header.session_id(), "header.session_id"));
  TALWEG_RETURN_IF_ERROR(CheckName(header.worker(), "header.worker"));
  if (header.history() == 0) return Required("header.history");
  if (header.incarnation() == 0) return Required("header.incarnation");
  if (header.sequence() == 0) return Required("header.sequence");
  if (header.has_weight() && !(std::isfinite(header.weight()) && header.weight() > 0)) {
    return MakeError(
        Reason::kFieldOutOfRange,
        absl::StrCat("header.weight is ", header.weight(), ", allowed: finite numbers above 0"),
        "header.weight");
  }
  if (header.losses_size() > kMaxLosses) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("header.losses has ", header.losses_size(),
                                  " values, allowed: 0 to ", kMaxLosses),
                     "header.losses");
  }
  return absl::OkStatus();
}

absl::Status CheckReply(const v1::ReplyOptions& reply) {
  if (!v1::ReplyData_IsValid(reply.data())) {
    return MakeError(
        Reason::kFieldOutOfRange,
        absl::StrCat("reply.data has the unknown value ", static_cast<int>(reply.data())),
        "reply.data");
  }
  return DtypeFromProto(reply.dtype(), "reply.dtype").status();
}

StepInput InputOf(const v1::ContributionHeader& header, const v1::ReplyOptions& reply) {
  StepInput input;
  input.contribution.history = header.history();
  input.contribution.worker = header.worker();
  input.contribution.incarnation = header.incarnation();
  input.contribution.sequence = header.sequence();
  input.contribution.base_version = header.base_version();
  if (header.has_weight()) {
    input.has_weight = true;
    input.contribution.weight = header.weight();
  }
  input.contribution.may_wait = !reply.return_pending();
  input.losses.assign(header.losses().begin(), header.losses().end());
  input.wants_lookahead = reply.data() == v1::REPLY_DATA_LOOKAHEAD;
  return input;
}

void FillResponse(const StepOutcome& outcome, uint64_t history, v1::StepResponse& response) {
  response.set_history(history);
  response.set_verdict(VerdictToProto(outcome.answer.verdict));
  response.set_replayed(outcome.answer.replayed);
  response.set_will_not_count(outcome.answer.will_not_count);
  response.set_applied_version(outcome.answer.applied_version);
  response.set_data_version(outcome.parameters->version);
  response.set_next_learning_rate(outcome.next_learning_rate);
  if (outcome.answer.report != nullptr) {
    *response.mutable_report() = ReportToProto(*outcome.answer.report);
  }
}

OutgoingVector::OutgoingVector(const StepOutcome& outcome, const v1::ReplyOptions& reply)
    : dtype_(DtypeOf(reply)) {
  if (reply.data() == v1::REPLY_DATA_NONE) return;
  values_ = outcome.parameters;
  if (reply.data() == v1::REPLY_DATA_UPDATE && outcome.previous != nullptr) {
    previous_ = outcome.previous;
    kind_ = v1::SECTION_KIND_UPDATE;
  } else if (reply.data() == v1::REPLY_DATA_LOOKAHEAD && outcome.lookahead != nullptr) {
    values_ = outcome.lookahead;
    kind_ = v1::SECTION_KIND_LOOKAHEAD;
  }
}

OutgoingVector::OutgoingVector(const PointOutcome& point, v1::SectionKind kind_of_point,
                               core::Dtype dtype)
    : values_(point.values),
      kind_(point.is_parameters ? v1::SECTION_KIND_PARAMETERS : kind_of_point),
      dtype_(dtype) {}

void OutgoingVector::Open(uint64_t begin, uint64_t count, v1::Section& section) const {
  section.set_kind(kind_);
  section.set_dtype(DtypeToProto(dtype_));
  section.set_begin_element(begin);
  section.mutable_data()->resize(count * element_bytes());
}

void OutgoingVector::Write(uint64_t begin, uint64_t count, char* bytes) const {
  const absl::Span<const float> values = values_->values.span().subspan(begin, count);
  if (previous_ == nullptr) return core::FromFloat32(dtype_, values, bytes);
  const absl::Span<const float> previous = previous_->values.span().subspan(begin, count);
  alignas(core::AlignedBuffer::kAlignment) float update[core::kBlock];
  for (size_t done = 0; done < count; done += core::kBlock) {
    const absl::Span<float> block(update, std::min<size_t>(core::kBlock, count - done));
    core::Subtract(core::Stores::kCached, values.subspan(done, block.size()),
                   previous.subspan(done, block.size()), block);
    core::FromFloat32(dtype_, block, bytes + done * element_bytes());
  }
}

}  // namespace talweg::server
