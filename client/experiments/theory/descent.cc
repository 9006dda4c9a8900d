// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/descent.h"

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/float_bytes.h"
#include "client/experiments/runs/own_session.h"

namespace talweg {
namespace {

v1::CreateSessionRequest MakeRequest(const Descent& descent) {
  v1::CreateSessionRequest request;
  request.set_session_id(OwnSessionId(descent.name));
  v1::SessionConfig& config = *request.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("x");
  tensor.add_shape(descent.start.size());
  *config.mutable_optimizer() = descent.optimizer;
  *config.mutable_schedule() = descent.schedule;
  v1::Section& values = *request.mutable_initial_values()->mutable_uploaded();
  values.set_kind(v1::SECTION_KIND_PARAMETERS);
  AssignFloats(descent.start, *values.mutable_data());
  return request;
}

// Sends what `descent` wants changed before `step`.
absl::Status Retune(const Client& client, const Descent& descent, const Session& session,
                    uint64_t step) {
  v1::UpdateSessionRequest update;
  update.set_session_id(session.session_id());
  update.set_history(session.history());
  descent.retune(step, update);
  return client.UpdateSession(update).status();
}

absl::Status Loop(const Client& client, const Descent& descent, Session& session) {
  std::vector<float> parameters(descent.start.size());
  std::vector<float> lookahead(descent.lookahead ? descent.start.size() : 0);
  std::vector<float> gradient(descent.start.size());
  PullOptions at_lookahead;
  at_lookahead.point = v1::POINT_LOOKAHEAD;
  const absl::Status first = session.Pull(absl::MakeSpan(parameters)).status();
  if (!first.ok()) return first;
  for (uint64_t step = 0; descent.see(step, parameters) && step < descent.num_steps; ++step) {
    if (descent.stop && descent.stop()) return absl::CancelledError("stopped");
    if (descent.retune) {
      const absl::Status updated = Retune(client, descent, session, step + 1);
      if (!updated.ok()) return updated;
    }
    if (descent.lookahead) {
      const absl::Status pulled = session.Pull(absl::MakeSpan(lookahead), at_lookahead).status();
      if (!pulled.ok()) return pulled;
    }
    descent.gradient(descent.lookahead ? lookahead : parameters, absl::MakeSpan(gradient));
    const absl::StatusOr<StepResult> result = session.Step(gradient, absl::MakeSpan(parameters));
    if (!result.ok()) return result.status();
    if (!result->applied()) {
      return absl::InternalError(absl::StrCat("step ", step + 1, " of ", descent.name, " got ",
                                              v1::Verdict_Name(result->verdict)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Descend(const Client& client, const Descent& descent) {
  return InOwnSession(client, MakeRequest(descent),
                      [&](Session& session) { return Loop(client, descent, session); });
}

}  // namespace talweg
