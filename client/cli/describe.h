// SPDX-License-Identifier: Apache-2.0
//
// Sessions, steps and versions as tables for a person, and what a verdict means.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/session.h"
#include "talweg/v1/session.pb.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

std::string SessionTable(const v1::Session& session);
// What the open round waits for: a name and a text each, "waits for" and "2: b c".
std::vector<std::pair<std::string, std::string>> OpenRoundTexts(const v1::OpenRound& round);
std::string SessionsTable(absl::Span<const v1::SessionSummary> sessions);
std::string StepTable(const StepResult& result);
// A line a version: who made it, with which weights, how stale, who was late, and when.
std::string VersionRecordsTable(absl::Span<const v1::VersionRecord> records);
// "APPLIED"; "verdict 9" where this program does not know it.
std::string VerdictText(v1::Verdict verdict);
// An error, FAILED_PRECONDITION, where the contribution is neither part of a version nor waiting to
// become so.
absl::Status VerdictError(v1::Verdict verdict);

}  // namespace talweg
