// SPDX-License-Identifier: Apache-2.0
//
// The answer to a contribution, except for its numbers (those are an OutgoingVector).
#pragma once

#include <cstdint>

#include "server/calls/session_calls.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// `outcome.parameters` must not be null.
void AnswerToProto(const StepOutcome& outcome, uint64_t history, v1::StepResponse& response);

}  // namespace talweg::server
