// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a session's step on one thread.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/time/time.h"
#include "core/session/session.h"

namespace talweg::core {

// Takes the step that `effects` order, one piece after the other.
inline Effects TakeStep(Session& session, const Effects& effects, StagedGradient& gradient,
                        absl::Time now) {
  session.Begin(effects, gradient, std::make_shared<Parameters>(session.num_elements()));
  for (size_t stage = 0; stage < session.NumStages(); ++stage) {
    for (size_t piece = 0; piece < session.NumPieces(stage); ++piece) {
      session.RunPiece(stage, piece);
    }
    session.EndStage(stage);
  }
  return session.End(now);
}

}  // namespace talweg::core
