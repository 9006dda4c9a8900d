// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C and SIGTERM, for commands that end tidily.
#pragma once

namespace talweg {

enum class SecondSignal {
  kKills,   // the first one ends the command tidily, the second one at once
  kIgnored  // as many as come: for what leaves a terminal in disorder when it is killed
};

// From now on these signals are noted instead of ending the program.
void StopOnSignals(SecondSignal second);
// Whether one came.
bool Stopped();

}  // namespace talweg
