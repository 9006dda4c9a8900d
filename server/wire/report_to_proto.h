// SPDX-License-Identifier: Apache-2.0
//
// Verdicts, refusals and step reports, as the wire tells them.
#pragma once

#include "core/rounds/event.h"
#include "talweg/v1/session.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

v1::StepReport ReportToProto(const core::StepNumbers& report);
v1::StepReport ReportToProto(const core::StepReport& report);
v1::RefusalCounts RefusalsToProto(const core::RefusalCounts& refusals);
v1::Verdict VerdictToProto(core::Verdict verdict);

}  // namespace talweg::server
