// SPDX-License-Identifier: Apache-2.0
//
// For tests only: what a session's caller does, on one thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "core/session/session.h"

namespace talweg::core {

// A pointer that owns nothing: the gradient outlives it.
inline std::shared_ptr<StagedGradient> Borrow(StagedGradient& gradient) {
  return {std::shared_ptr<void>(), &gradient};
}

// Prepares for a contribution, with a new vector for each version.
inline absl::Status PrepareFor(Session& session, bool has_weight = false) {
  return session.Prepare(has_weight, [&]() -> absl::StatusOr<std::shared_ptr<Parameters>> {
    return std::make_shared<Parameters>(session.num_elements());
  });
}

// What came of a contribution.
struct Contributed {
  Effects judged;
  Ended ended;  // of the work that the contribution ordered; empty if it ordered none
};

using Runner = std::function<void(Work&)>;
inline void RunHere(Work& work) { work.RunHere(); }

// Prepares for the contribution, judges it, and runs what it orders.
inline Contributed ContributeAndRun(Session& session, ContributionInput input, absl::Time now,
                                    const Runner& run = RunHere) {
  Contributed contributed;
  contributed.judged.status = PrepareFor(session);
  if (!contributed.judged.status.ok()) return contributed;
  Outcome outcome = session.Contribute(input, now);
  contributed.judged = std::move(outcome.effects);
  if (outcome.work != nullptr) {
    run(*outcome.work);
    contributed.ended = session.End(*outcome.work, now);
  }
  return contributed;
}

// Reads a point at once.
inline std::shared_ptr<const Parameters> ReadHere(Session& session, Session::Point point) {
  auto to = std::make_shared<Parameters>(session.num_elements());
  std::unique_ptr<Work> work = session.BeginRead(point, to);
  work->RunHere();
  session.End(*work, absl::InfinitePast());
  return to;
}

}  // namespace talweg::core
