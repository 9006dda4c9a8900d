// SPDX-License-Identifier: Apache-2.0
//
// Client::WatchSession: a stream of steps that goes on over broken connections.
#include <string>

#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/follow.h"

namespace talweg {

absl::Status Client::WatchSession(
    absl::string_view session_id, const WatchOptions& options,
    absl::FunctionRef<absl::Status(const v1::WatchSessionResponse& message)> take) const {
  v1::WatchSessionRequest request;  // what is still to come
  request.set_session_id(std::string(session_id));
  request.set_history(options.history);
  request.set_after_version(options.after_version);
  request.set_follow(options.follow);
  return Follow(
      *transport_, options_.retry, options,
      [&](Transport::Idle idle, absl::Duration timeout, const auto& take_message) {
        return transport_->Watch(v1::WatchSessionRequest(request), take_message, idle, timeout);
      },
      [&](const v1::WatchSessionResponse& message) -> absl::Status {
        request.set_history(message.history());
        for (const v1::StepRecord& record : message.records()) {
          if (record.version() <= request.after_version()) {
            return absl::InternalError("the server told a step twice");
          }
          request.set_after_version(record.version());
        }
        return take(message);
      });
}

}  // namespace talweg
