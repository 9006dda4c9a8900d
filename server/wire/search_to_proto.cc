// SPDX-License-Identifier: Apache-2.0
#include "server/wire/search_to_proto.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "core/base/check.h"
#include "core/noise/perturbation.h"
#include "server/wire/report_to_proto.h"

namespace talweg::server {
namespace {

v1::Differences DifferencesToProto(core::Differences differences) {
  switch (differences) {
    case core::Differences::kCentral:
      return v1::DIFFERENCES_CENTRAL;
    case core::Differences::kOneSided:
      return v1::DIFFERENCES_ONE_SIDED;
    case core::Differences::kDirectional:
      return v1::DIFFERENCES_DIRECTIONAL;
  }
  core::CheckFailed(__FILE__, __LINE__, "differences have a name on the wire");
}

v1::TellVerdict VerdictToProto(core::TellVerdict verdict) {
  switch (verdict) {
    case core::TellVerdict::kAccepted:
      return v1::TELL_VERDICT_ACCEPTED;
    case core::TellVerdict::kRepeated:
      return v1::TELL_VERDICT_REPEATED;
    case core::TellVerdict::kLate:
      return v1::TELL_VERDICT_LATE;
    case core::TellVerdict::kNotLeased:
      return v1::TELL_VERDICT_NOT_LEASED;
  }
  core::CheckFailed(__FILE__, __LINE__, "a verdict has a name on the wire");
}

// `outcome` is that of an ask or of a tell.
template <class Outcome>
void LeaseToProto(const core::EvaluationLease& lease, const Outcome& outcome,
                  v1::EvaluationLease& told) {
  told.set_history(outcome.history);
  told.set_generation(lease.generation);
  told.set_version(lease.version);
  told.set_point(outcome.at_lookahead ? v1::POINT_LOOKAHEAD : v1::POINT_PARAMETERS);
  told.set_first_pair(lease.first_pair);
  told.set_num_pairs(lease.num_pairs);
  told.set_evaluate(lease.num_pairs == 0);
  told.set_sigma(lease.sigma);
  told.set_seed(outcome.config.seed);
  told.set_noise(outcome.config.noise == core::SearchNoise::kNormal ? v1::NOISE_SCHEME_NORMAL
                                                                    : v1::NOISE_SCHEME_RADEMACHER);
  told.set_rank(static_cast<uint32_t>(outcome.config.rank));
  told.set_differences(DifferencesToProto(outcome.config.told_differences()));
  told.set_data_seed(core::DataSeed(outcome.config.seed, lease.generation));
  told.set_expires_in_seconds(std::max(0.0, absl::ToDoubleSeconds(lease.expires_in)));
  told.set_held(lease.held);
  told.set_lease(lease.lease);
}

}  // namespace

void AskToProto(const AskOutcome& outcome, v1::AskResponse& proto) {
  const core::AskAnswer& answer = outcome.answer;
  if (!answer.lease.has_value() && answer.finished) {
    proto.mutable_finished()->set_history(outcome.history);
    proto.mutable_finished()->set_version(answer.version);
    return;
  }
  if (!answer.lease.has_value()) {
    v1::NothingToLease& nothing = *proto.mutable_nothing();
    nothing.set_history(outcome.history);
    nothing.set_version(answer.version);
    nothing.set_generation(answer.generation);
    return;
  }
  LeaseToProto(*answer.lease, outcome, *proto.mutable_lease());
}

void TellToProto(const TellOutcome& outcome, v1::TellResponse& proto) {
  const core::TellAnswer& answer = outcome.answer;
  proto.set_history(outcome.history);
  proto.set_verdict(VerdictToProto(answer.verdict));
  proto.set_num_accepted(answer.counts.num_accepted);
  proto.set_num_repeated(answer.counts.num_repeated);
  proto.set_num_to_retry(answer.counts.num_to_retry);
  proto.set_num_dropped(answer.counts.num_dropped);
  proto.set_generation(answer.generation);
  proto.set_version(answer.version);
  proto.set_finished(answer.finished);
  if (outcome.report != nullptr) *proto.mutable_report() = ReportToProto(*outcome.report);
  if (answer.next.has_value()) LeaseToProto(*answer.next, outcome, *proto.mutable_lease());
}

v1::SearchReport SearchReportToProto(const core::SearchNumbers& numbers) {
  v1::SearchReport proto;
  proto.set_generation(numbers.generation);
  proto.set_num_pairs(numbers.num_pairs);
  proto.set_num_counted(numbers.num_counted);
  proto.set_num_dropped(numbers.num_dropped);
  proto.set_num_non_finite(numbers.num_non_finite);
  proto.set_num_ties(numbers.num_ties);
  proto.set_loss_mean(numbers.loss_mean);
  proto.set_loss_deviation(numbers.loss_deviation);
  proto.set_loss_min(numbers.loss_min);
  proto.set_loss_max(numbers.loss_max);
  if (numbers.evaluated_loss.has_value()) proto.set_evaluated_loss(*numbers.evaluated_loss);
  proto.set_sigma(numbers.sigma);
  proto.set_weight_norm(numbers.weight_norm);
  if (numbers.signal_to_noise.has_value()) proto.set_signal_to_noise(*numbers.signal_to_noise);
  if (numbers.gradient_learning_rate.has_value()) {
    proto.set_gradient_learning_rate(*numbers.gradient_learning_rate);
  }
  proto.set_num_examples(numbers.num_examples);
  if (numbers.accepted.has_value()) proto.set_accepted(*numbers.accepted);
  return proto;
}

v1::OpenGeneration GenerationToProto(const core::GenerationDescription& description) {
  v1::OpenGeneration proto;
  proto.set_generation(description.generation);
  proto.set_version(description.version);
  proto.set_num_pairs(description.num_pairs);
  proto.set_num_told(description.num_told);
  proto.set_num_leased(description.num_leased);
  proto.set_num_dropped(description.num_dropped);
  proto.set_num_given_up(description.num_given_up);
  proto.set_num_given_up_non_finite(description.num_given_up_non_finite);
  proto.set_needs_evaluation(description.needs_evaluation);
  proto.set_num_leases(description.num_leases);
  proto.set_num_waiting(description.num_waiting);
  if (description.open.has_value()) {
    proto.set_open_seconds(absl::ToDoubleSeconds(*description.open));
  }
  if (description.closes_in.has_value()) {
    proto.set_closes_in_seconds(absl::ToDoubleSeconds(*description.closes_in));
  }
  return proto;
}

v1::GenerationRecord GenerationRecordToProto(const core::GenerationRecord& record) {
  v1::GenerationRecord proto;
  proto.set_version(record.version);
  proto.set_generation(record.generation);
  proto.set_num_pairs(record.num_pairs);
  if (record.pairs.size() < record.num_pairs) {
    std::string counted((record.num_pairs + 7) / 8, '\0');
    for (const uint32_t pair : record.pairs) {
      counted[pair / 8] = static_cast<char>(counted[pair / 8] | 1 << (pair % 8));
    }
    proto.set_counted(std::move(counted));
  }
  const auto fits = [](double loss) {
    return static_cast<double>(static_cast<float>(loss)) == loss;
  };
  if (std::all_of(record.losses.begin(), record.losses.end(), fits)) {
    proto.mutable_losses()->Reserve(static_cast<int>(record.losses.size()));
    for (const double loss : record.losses) proto.add_losses(static_cast<float>(loss));
  } else {
    proto.mutable_double_losses()->Add(record.losses.begin(), record.losses.end());
  }
  if (record.evaluated.has_value()) proto.set_evaluated_loss(*record.evaluated);
  proto.set_sigma(record.sigma);
  proto.set_learning_rate(record.learning_rate);
  proto.set_config_version(record.config_version);
  proto.set_parameters_checksum(record.parameters_checksum);
  return proto;
}

}  // namespace talweg::server
