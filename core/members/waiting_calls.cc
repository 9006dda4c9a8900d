// SPDX-License-Identifier: Apache-2.0
#include "core/members/waiting_calls.h"

#include <algorithm>

namespace talweg::core {
void WaitingCalls::AnswerImpatient(Member& member, const Answer& answer, absl::Time lease_end,
                                   std::vector<Released>& released) {
  const auto impatient =
      std::stable_partition(member.calls.begin(), member.calls.end(),
                            [](const WaitingCall& call) { return call.may_wait; });
  for (auto call = impatient; call != member.calls.end(); ++call) {
    member.lease_end = lease_end;
    Release(*call, answer, released);
    --size_;
  }
  member.calls.erase(impatient, member.calls.end());
}

void WaitingCalls::FailAll(Member& member, const absl::Status& status,
                           std::vector<Released>& released) {
  for (const WaitingCall& call : member.calls) released.push_back({call.ticket, status, {}});
  size_ -= member.calls.size();
  member.calls.clear();
}

void WaitingCalls::Forget(Member& member, uint64_t ticket, absl::Time lease_end) {
  const auto found = std::find_if(member.calls.begin(), member.calls.end(),
                                  [&](const WaitingCall& call) { return call.ticket == ticket; });
  if (found == member.calls.end()) return;
  member.calls.erase(found);
  --size_;
  member.lease_end = lease_end;
}

}  // namespace talweg::core
