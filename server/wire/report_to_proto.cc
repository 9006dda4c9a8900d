// SPDX-License-Identifier: Apache-2.0
#include "server/wire/report_to_proto.h"

#include "core/base/check.h"
#include "core/base/sha256.h"
#include "server/wire/search_to_proto.h"

namespace talweg::server {
namespace {

v1::CurvatureReport CurvatureToProto(const core::CurvatureNumbers& numbers) {
  v1::CurvatureReport proto;
  proto.set_damping(numbers.damping);
  if (numbers.reduction_ratio.has_value()) proto.set_reduction_ratio(*numbers.reduction_ratio);
  proto.set_step_clip_factor(numbers.step_clip_factor);
  proto.set_inverse_version(numbers.inverse_version);
  proto.set_inverse_age_steps(numbers.inverse_age_steps);
  proto.set_inverse_age_seconds(numbers.inverse_age_seconds);
  proto.set_num_statistics(numbers.num_statistics);
  proto.set_num_samples(numbers.num_samples);
  proto.set_num_layers_without_inverse(numbers.num_layers_without_inverse);
  proto.set_num_raised_dampings(numbers.num_raised_dampings);
  proto.set_num_failed_inverses(numbers.num_failed_inverses);
  proto.set_num_unclipped_steps(numbers.num_unclipped_steps);
  proto.set_num_too_long_steps(numbers.num_too_long_steps);
  return proto;
}

}  // namespace

v1::StepReport ReportToProto(const core::StepNumbers& report) {
  v1::StepReport proto;
  proto.set_learning_rate(report.learning_rate);
  proto.set_gradient_norm(report.gradient_norm);
  proto.set_clip_factor(report.clip_factor);
  proto.set_update_norm(report.update_norm);
  proto.set_staleness(report.staleness);
  proto.set_contributors(report.contributors);
  if (report.loss.has_value()) proto.set_loss(*report.loss);
  proto.set_total_weight(report.total_weight);
  proto.set_num_late(report.num_late);
  proto.set_num_losses_left_out(report.num_losses_left_out);
  proto.set_num_expired(report.num_expired);
  proto.set_num_abstained(report.num_abstained);
  proto.set_num_non_finite(report.num_non_finite);
  if (report.num_non_finite > 0) proto.set_first_non_finite(report.first_non_finite);
  if (report.state_digest.has_value()) proto.set_state_digest(core::HexOf(*report.state_digest));
  if (report.search != nullptr) *proto.mutable_search() = SearchReportToProto(*report.search);
  if (report.curvature != nullptr) *proto.mutable_curvature() = CurvatureToProto(*report.curvature);
  return proto;
}

v1::StepReport ReportToProto(const core::StepReport& report) {
  v1::StepReport proto = ReportToProto(static_cast<const core::StepNumbers&>(report));
  *proto.mutable_late_workers() = {report.late_workers.begin(), report.late_workers.end()};
  *proto.mutable_expired_workers() = {report.expired_workers.begin(), report.expired_workers.end()};
  *proto.mutable_abstained_workers() = {report.abstained_workers.begin(),
                                        report.abstained_workers.end()};
  return proto;
}

v1::RefusalCounts RefusalsToProto(const core::RefusalCounts& refusals) {
  v1::RefusalCounts proto;
  proto.set_too_stale(refusals.too_stale);
  proto.set_rejected_non_finite(refusals.rejected_non_finite);
  proto.set_round_closed(refusals.round_closed);
  return proto;
}

v1::Verdict VerdictToProto(core::Verdict verdict) {
  switch (verdict) {
    case core::Verdict::kApplied:
      return v1::VERDICT_APPLIED;
    case core::Verdict::kTooStale:
      return v1::VERDICT_TOO_STALE;
    case core::Verdict::kRejectedNonFinite:
      return v1::VERDICT_REJECTED_NON_FINITE;
    case core::Verdict::kRoundClosed:
      return v1::VERDICT_ROUND_CLOSED;
    case core::Verdict::kAbstained:
      return v1::VERDICT_ABSTAINED;
    case core::Verdict::kPending:
      return v1::VERDICT_PENDING;
  }
  core::CheckFailed(__FILE__, __LINE__, "a verdict has a name on the wire");
}

}  // namespace talweg::server
