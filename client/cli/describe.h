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
// The same on one line: "waiting  round 8: 2 of 3 contributed (a b), expected: c, since 12 s,
// closes when all have contributed", without line end.
std::string OpenRoundLine(const v1::OpenRound& round);
std::string SessionsTable(absl::Span<const v1::SessionSummary> sessions);
std::string StepTable(const StepResult& result);
// One line per version: who made it, with which weights, how stale, who was late, and when. If a
// closing rule was changed while its round was open: also which configuration the rule came from.
std::string VersionRecordsTable(absl::Span<const v1::VersionRecord> records);
// "APPLIED"; "verdict 9" where this program does not know it.
std::string VerdictText(v1::Verdict verdict);
// An error, FAILED_PRECONDITION, where the contribution is neither part of a version nor waiting to
// become so.
absl::Status VerdictError(v1::Verdict verdict);

}  // namespace talweg
