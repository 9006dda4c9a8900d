// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/network.h"

#include <utility>

namespace talweg::simulation {

bool Network::Strikes(double probability) {
  if (calm_ || probability == 0 || !random_.Chance(probability)) return false;
  ++num_faults_;
  return true;
}

Nanoseconds Network::Delay() {
  const double mean =
      Strikes(world_.faults.slow_share) ? world_.faults.slow_seconds : world_.delay_seconds;
  return 1 + Seconds(random_.LongTailed(mean));
}

void Network::Send(const Request& request) {
  // A copy has a way of its own: the first may be lost and the second arrive, or both in any order.
  const int copies = Strikes(world_.faults.duplicates) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    if (Strikes(world_.faults.request_loss)) continue;
    agenda_.In(Delay(), Happening::kRequest, Put(requests_, request));
  }
}

void Network::Answer(Reply reply) {
  if (Strikes(world_.faults.reply_loss)) return;
  agenda_.In(Delay(), Happening::kReply, Put(replies_, std::move(reply)));
}

}  // namespace talweg::simulation
