// SPDX-License-Identifier: Apache-2.0
#include "client/cli/stop_signals.h"

#include <signal.h>

#include <atomic>

namespace talweg {
namespace {

std::atomic<bool> g_stop{false};

}  // namespace

void StopOnSignals(SecondSignal second) {
  struct sigaction action = {};
  action.sa_handler = [](int) { g_stop = true; };
  if (second == SecondSignal::kKills) action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool Stopped() { return g_stop; }

}  // namespace talweg
