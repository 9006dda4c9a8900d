// SPDX-License-Identifier: Apache-2.0
#include "server/wire/answer_to_proto.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "core/base/check.h"
#include "server/wire/report_to_proto.h"

namespace talweg::server {
namespace {

const char* AdviceText(core::Advice advice) {
  switch (advice) {
    case core::Advice::kNone:
      return "";
    case core::Advice::kSendHeartbeats:
      return "the worker's lease ended while it computed, so that rounds closed without it: send "
             "heartbeats meanwhile, or set a longer aggregation.lease_seconds";
    case core::Advice::kBeFaster:
      return "rounds close without this worker: let them wait longer (aggregation.close, "
             "progress_seconds), allow a max_staleness, or give the worker less to compute";
    case core::Advice::kAllowStaleness:
      return "others made more versions meanwhile than aggregation.max_staleness allows: raise it, "
             "or pull before each gradient; workers that shall wait for each other want the mode "
             "SYNCHRONOUS, which is chosen when the session is made";
  }
  core::CheckFailed(__FILE__, __LINE__, "every advice has a text");
}

}  // namespace

void AnswerToProto(const StepOutcome& outcome, uint64_t history, v1::StepResponse& response) {
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
  if (outcome.answer.fault.has_value()) {
    v1::GradientFault& fault = *response.mutable_fault();
    fault.set_tensor(outcome.answer.fault->tensor);
    fault.set_element(outcome.answer.fault->element);
    fault.set_may_have_overflowed(outcome.answer.fault->may_have_overflowed);
    fault.set_in_statistics(outcome.answer.fault->in_statistics);
  }
  response.set_missed_rounds(static_cast<uint32_t>(
      std::min<uint64_t>(outcome.answer.missed_rounds, std::numeric_limits<uint32_t>::max())));
  response.set_advice(AdviceText(outcome.answer.advice));
}

}  // namespace talweg::server
