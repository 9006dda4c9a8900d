// SPDX-License-Identifier: Apache-2.0
//
// The log as a doorkeeper: sessions that come and go at level info; at level debug what was refused
// and how every call ended.
#pragma once

#include "server/calls/doorkeeper.h"

namespace talweg::server {

// Thread-safe. It lets every call in.
class CallLog final : public Doorkeeper {
 public:
  void SessionCreated(const CallFacts& call, const SessionIdentity& session,
                      uint64_t num_elements) override;
  void SessionDeleted(const CallFacts& call, const SessionIdentity& session) override;
  void Ended(const CallFacts& call, const CallEnd& end) override;
};

}  // namespace talweg::server
