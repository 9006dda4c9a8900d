// SPDX-License-Identifier: Apache-2.0
//
// What the open round waits for, as the wire tells it.
#pragma once

#include "core/rounds/round_description.h"
#include "talweg/v1/session.pb.h"

namespace talweg::server {

v1::OpenRound RoundToProto(const core::RoundDescription& round);

}  // namespace talweg::server
