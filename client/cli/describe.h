// SPDX-License-Identifier: Apache-2.0
//
// Sessions and steps as tables for a person.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cpp/talweg/session.h"
#include "talweg/v1/session.pb.h"

namespace talweg {

std::string SessionTable(const v1::Session& session);
std::string SessionsTable(absl::Span<const v1::SessionSummary> sessions);
std::string StepTable(const StepResult& result);
// "APPLIED".
std::string VerdictText(v1::Verdict verdict);

}  // namespace talweg
