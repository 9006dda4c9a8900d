// SPDX-License-Identifier: Apache-2.0
//
// What a session that searches tells, as messages.
#pragma once

#include "core/members/answer.h"
#include "core/search/generation_description.h"
#include "server/calls/session_calls.h"
#include "talweg/v1/search_service.pb.h"

namespace talweg::server {

void AskToProto(const AskOutcome& outcome, v1::AskResponse& proto);
void TellToProto(const TellOutcome& outcome, v1::TellResponse& proto);
v1::SearchReport SearchReportToProto(const core::SearchNumbers& numbers);
v1::OpenGeneration GenerationToProto(const core::GenerationDescription& description);
v1::GenerationRecord GenerationRecordToProto(const core::GenerationRecord& record);

}  // namespace talweg::server
