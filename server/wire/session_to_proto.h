// SPDX-License-Identifier: Apache-2.0
//
// What a session tells of itself, as the wire tells it.
#pragma once

#include "server/calls/session_calls.h"
#include "talweg/v1/session.pb.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

// The whole description, with the resolved configuration. `description.config` must be there.
void SessionToProto(const SessionDescription& description, v1::Session& proto);

// What a list of sessions tells of each. `description.config` must be there.
void SummaryToProto(const SessionDescription& description, v1::SessionSummary& proto);

}  // namespace talweg::server
