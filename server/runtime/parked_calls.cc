// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/parked_calls.h"

#include "core/base/check.h"

namespace talweg::server {

void ParkedCalls::Park(uint64_t ticket, ParkedCall call) {
  num_for_lookahead_ += call.wants_lookahead;
  TALWEG_CHECK(calls_.emplace(ticket, std::move(call)).second);
}

std::optional<ParkedCall> ParkedCalls::Unpark(uint64_t ticket) {
  const auto found = calls_.find(ticket);
  if (found == calls_.end()) return std::nullopt;
  ParkedCall call = std::move(found->second);
  num_for_lookahead_ -= call.wants_lookahead;
  calls_.erase(found);
  return call;
}

std::optional<std::pair<uint64_t, ParkedCall>> ParkedCalls::UnparkFirst() {
  if (calls_.empty()) return std::nullopt;
  const uint64_t ticket = calls_.begin()->first;
  return std::pair(ticket, *Unpark(ticket));
}

}  // namespace talweg::server
