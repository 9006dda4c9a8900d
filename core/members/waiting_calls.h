// SPDX-License-Identifier: Apache-2.0
//
// The calls that wait for an answer: each is answered once, fails once, or is forgotten once. A
// call that waits keeps its member's lease, so the lease begins anew when the call ends.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/members/member.h"

namespace talweg::core {

// Thread-compatible. The calls themselves are kept in their members.
class WaitingCalls {
 public:
  void Add(Member& member, const WaitingCall& call) {
    member.calls.push_back(call);
    ++size_;
  }
  // Answers all calls of a member. Its lease ends at `lease_end` at the earliest.
  void AnswerAll(Member& member, Answer answer, absl::Time lease_end,
                 std::vector<Released>& released) {
    if (member.calls.empty()) return;
    member.lease_end = std::max(member.lease_end, lease_end);
    size_ -= member.calls.size();
    const WaitingCall last = member.calls.back();
    member.calls.pop_back();
    for (const WaitingCall& call : member.calls) Release(call, answer, released);
    Release(last, std::move(answer), released);
    member.calls.clear();
  }
  // Answers the calls that may not wait for other members. Their member's lease ends at
  // `lease_end`.
  void AnswerImpatient(Member& member, const Answer& answer, absl::Time lease_end,
                       std::vector<Released>& released);
  // All calls of a member fail, because the member has gone.
  void FailAll(Member& member, const absl::Status& status, std::vector<Released>& released);
  // The connection of a call broke. Its member's lease ends at `lease_end`. Does nothing if the
  // call does not wait.
  void Forget(Member& member, uint64_t ticket, absl::Time lease_end);

  size_t size() const { return size_; }

 private:
  static void Release(const WaitingCall& call, Answer answer, std::vector<Released>& released) {
    Released& one = released.emplace_back();
    one.ticket = call.ticket;
    one.answer = std::move(answer);
    one.answer.replayed = call.repeats;
  }

  size_t size_ = 0;  // of all members together
};

}  // namespace talweg::core
