// SPDX-License-Identifier: Apache-2.0
#include "server/wire/answer_to_proto.h"

#include "server/wire/report_to_proto.h"

namespace talweg::server {

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
}

}  // namespace talweg::server
