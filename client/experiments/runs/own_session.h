// SPDX-License-Identifier: Apache-2.0
//
// A session that lives as long as the work on it. Nothing stays on the server.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

// "PREFIX-1b2c3d4e", drawn at random, so that two runs at the same time do not meet.
std::string OwnSessionId(absl::string_view prefix);

// Makes the session that `request` asks for, joins it, runs `work`, and deletes the session,
// whatever happened. Returns the first error.
absl::Status InOwnSession(const Client& client, const v1::CreateSessionRequest& request,
                          absl::FunctionRef<absl::Status(Session& session)> work);

}  // namespace talweg
