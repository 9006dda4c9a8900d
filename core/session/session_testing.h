// SPDX-License-Identifier: Apache-2.0
//
// For tests only: a session's step on one thread.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/time/time.h"
#include "core/session/session.h"

namespace talweg::core {

// A pointer to what outlives it.
inline std::shared_ptr<StagedGradient> Borrow(StagedGradient& gradient) {
  return {std::shared_ptr<void>(), &gradient};
}

// Begins what `effects` order for the contribution that has this gradient: a step, or a fold.
inline void BeginWork(Session& session, const Effects& effects, StagedGradient& gradient) {
  session.Take(effects, Borrow(gradient));
  if (!effects.step.has_value()) return session.BeginFold();
  session.BeginStep(effects, effects.fold ? nullptr : Borrow(gradient),
                    std::make_shared<Parameters>(session.num_elements()));
}

// The same, and does it, one piece after the other.
inline Effects DoWork(Session& session, const Effects& effects, StagedGradient& gradient,
                      absl::Time now) {
  BeginWork(session, effects, gradient);
  for (size_t stage = 0; stage < session.NumStages(); ++stage) {
    for (size_t piece = 0; piece < session.NumPieces(stage); ++piece) {
      session.RunPiece(stage, piece);
    }
    session.EndStage(stage);
  }
  return session.End(now);
}

}  // namespace talweg::core
