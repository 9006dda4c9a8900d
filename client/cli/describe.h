// SPDX-License-Identifier: Apache-2.0
//
// Sessions, steps and versions as tables that a person reads, and what a verdict means. For the
// command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/session.h"
#include "talweg/v1/session.pb.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

std::string SessionTable(const v1::Session& session);
// What the open round waits for, as pairs of a name and a text, such as "waits for" and "2: b c".
std::vector<std::pair<std::string, std::string>> OpenRoundTexts(const v1::OpenRound& round);
// The same on one line: "waiting  round 8: 2 of 3 contributed (a b), expected: c, since 12 s,
// closes when all have contributed", without line end.
std::string OpenRoundLine(const v1::OpenRound& round);

// What makes the next version of a session: a round or, if it searches, a generation.
using OpenWork = std::variant<v1::OpenRound, v1::OpenGeneration>;
// Not set if nothing waits.
std::optional<OpenWork> OpenWorkOf(const v1::Session& session);
// As the two functions above, for either.
std::vector<std::pair<std::string, std::string>> OpenWorkTexts(const OpenWork& open);
std::string OpenWorkLine(const OpenWork& open);

std::string SessionsTable(absl::Span<const v1::SessionSummary> sessions);
std::string StepTable(const StepResult& result);
// One line per version: which workers made it, with which weights, how stale they were, which
// workers were late, and when it was made.
// If a closing rule was changed while its round was open: also which configuration the rule came
// from.
std::string VersionRecordsTable(absl::Span<const v1::VersionRecord> records);
// The name of a verdict, such as "APPLIED", or "verdict 9" if this program does not know it.
std::string VerdictText(v1::Verdict verdict);
// FAILED_PRECONDITION if the contribution is neither part of a version nor waits to become part of
// one; else OK.
absl::Status VerdictError(v1::Verdict verdict);
// FAILED_PRECONDITION if the contribution was refused, or if it is part of a version whose
// parameters, as its report says, are not all finite; then tensor and element are named. Else OK.
absl::Status StepError(const StepResult& result, const v1::Layout& layout);
// FAILED_PRECONDITION, naming tensor and element, if some of the `parameters` that came are not
// finite and this is no overflow of the dtype that was asked for; else OK. Behind the first
// overflow only what is not a number is found: an infinity there may be an overflow too.
absl::Status NonFiniteError(absl::Span<const float> parameters, uint64_t num_overflowed,
                            uint64_t first_overflowed, const v1::Layout& layout);
// FAILED_PRECONDITION, naming tensor and element, if some of the parameters that came are infinite
// only in the dtype that was asked for; else OK.
absl::Status OverflowError(uint64_t num_overflowed, uint64_t first_overflowed,
                           const v1::Layout& layout);
// What to set for several workers, as a line, if the configuration of a session suits only one;
// else empty.
std::string OneWorkerNote(const v1::SessionConfig& config);

}  // namespace talweg
