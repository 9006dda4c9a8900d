// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/runs/own_session.h"

#include <random>

#include "absl/strings/str_format.h"

namespace talweg {

std::string OwnSessionId(absl::string_view prefix) {
  return absl::StrFormat("%s-%08x", prefix, std::random_device{}());
}

absl::Status InOwnSession(const Client& client, const v1::CreateSessionRequest& request,
                          absl::FunctionRef<absl::Status(Session& session)> work) {
  const absl::StatusOr<v1::Session> created = client.CreateSession(request);
  if (!created.ok()) return created.status();
  absl::StatusOr<Session> session = client.Join(request.session_id(), "trainer");
  absl::Status status = session.status();
  if (session.ok()) status = work(*session);
  // Its worker goes with it.
  status.Update(client.DeleteSession(request.session_id(), created->history()));
  return status;
}

}  // namespace talweg
