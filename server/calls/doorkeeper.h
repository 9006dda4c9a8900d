// SPDX-License-Identifier: Apache-2.0
//
// What stands at the door of the server. A doorkeeper is asked before a call is let in, may hide
// sessions from the call, and is told how the call ended. The log is a doorkeeper; metrics,
// authentication and quotas are to be others. The door of server/rpc calls them.
//
// A doorkeeper hears of every call that the doorkeepers before it let in, in this order: Admit;
// then, any number of times, MaySee, SessionCreated and SessionDeleted; then Ended, exactly once,
// whatever became of the call. A call that Admit refuses is over for this doorkeeper: it hears no
// more of the call. So Admit counts up only calls that it lets in, and Ended counts down.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/calls/session_calls.h"

namespace talweg::server {

// What is known of a call when it begins. It does not change, and lives as long as the call.
struct CallFacts {
  absl::string_view method;  // "talweg.v1.SessionService/GetSession", points to static storage
  std::string peer;          // as gRPC names it: "ipv4:127.0.0.1:4711"
  std::vector<std::pair<std::string, std::string>> metadata = {};  // names are in lower case

  // The first value of that name; empty if there is none.
  absl::string_view Metadata(absl::string_view name) const {
    for (const auto& [key, value] : metadata) {
      if (key == name) return value;
    }
    return {};
  }
};

// How a call ended.
struct CallEnd {
  absl::Status status = {};     // core::ReasonName tells its reason
  absl::Duration elapsed = {};  // since the call began
  uint64_t bytes_in = 0;        // of all messages that the server took, as protobuf counts them
  uint64_t bytes_out = 0;       // of all messages that the server gave to gRPC
  std::string session_id = {};  // that the call named; empty if it came to none
};

// Thread-safe: calls begin and end on many threads. Nothing here may block.
class Doorkeeper {
 public:
  virtual ~Doorkeeper() = default;

  // Asked before anything of the call is looked at. An error refuses the call, which ends with it.
  virtual absl::Status Admit(const CallFacts& /*call*/) { return absl::OkStatus(); }

  // Whether the call may know that the session is there. If not, the session is not found.
  virtual bool MaySee(const CallFacts& /*call*/, const SessionIdentity& /*session*/) {
    return true;
  }

  // The call made this session, or deleted it.
  virtual void SessionCreated(const CallFacts& /*call*/, const SessionIdentity& /*session*/,
                              uint64_t /*num_elements*/) {}
  virtual void SessionDeleted(const CallFacts& /*call*/, const SessionIdentity& /*session*/) {}

  virtual void Ended(const CallFacts& /*call*/, const CallEnd& /*end*/) {}
};

}  // namespace talweg::server
