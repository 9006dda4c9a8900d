// SPDX-License-Identifier: Apache-2.0
#include "server/ops/call_log.h"

#include "core/base/reasons.h"
#include "server/ops/log.h"

namespace talweg::server {

void CallLog::SessionCreated(const CallFacts& /*call*/, const SessionIdentity& session,
                             uint64_t num_elements) {
  LogSessionCreated(session.session_id, num_elements);
}

void CallLog::SessionDeleted(const CallFacts& /*call*/, const SessionIdentity& session) {
  LogSessionDeleted(session.session_id);
}

void CallLog::Ended(const CallFacts& call, const CallEnd& end) {
  // A client that goes before its answer comes was refused nothing.
  const bool gone = absl::IsCancelled(end.status) && core::ReasonName(end.status).empty();
  if (!end.status.ok() && !gone) LogRefusal(end.status);
  LogCallEnded(call.method, end.status, end.elapsed, end.bytes_in, end.bytes_out);
}

}  // namespace talweg::server
