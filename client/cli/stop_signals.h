// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C and SIGTERM, for commands that end tidily.
#pragma once

namespace talweg {

enum class SecondSignal {
  kKills,   // the first signal ends the command tidily, the second one at once
  kIgnored  // the first ends it tidily, later ones do nothing: a command that is killed while it
            // redraws the terminal would leave it in disorder
};

// From now on these signals are noted instead of ending the program.
void StopOnSignals(SecondSignal second);
// Whether such a signal came.
bool Stopped();

}  // namespace talweg
