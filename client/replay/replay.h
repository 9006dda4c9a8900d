// SPDX-License-Identifier: Apache-2.0
//
// Replay: the parameters of a session that searches, without downloading them. A client that has
// the parameters of one version takes the losses of the generations behind it (a few bytes for each
// pair), draws the same perturbations, takes the same steps, and so has the same bits as the
// server. A checksum in each record tells at once if it has not.
//
//   Replay replay = Replay::Begin(session.config(), 0, parameters).value();
//   client.WatchGenerations(id, {.follow = true}, [&](const auto& message) {
//     return replay.Apply(message);
//   });
//
// A replay costs as much computing as the server's own update, all of it on the thread that calls
// Apply, and 4 bytes for each loss: proto/NOISE.md says when that is less than a download. This is
// the only client code that links the optimizers of core.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "talweg/v1/search_service.pb.h"
#include "talweg/v1/session.pb.h"

namespace talweg {

// Movable. Thread-compatible.
class Replay {
 public:
  // Begins at `version` with its parameters, [num_elements]. `config` is the session's, as
  // GetSession tells it. Version 0 is always possible. Fails with FAILED_PRECONDITION at a later
  // version if the optimizer keeps state, or the session an average, which no pull brings; and if
  // the session does not search. Fails with the server's error if the configuration is not valid.
  static absl::StatusOr<Replay> Begin(const v1::SessionConfig& config, uint64_t version,
                                      absl::Span<const float> parameters);
  Replay(Replay&&) noexcept;
  Replay& operator=(Replay&&) noexcept;
  ~Replay();

  // Takes the step of the message's generation, on the calling thread; a message without one
  // changes nothing. Fails with FAILED_PRECONDITION if it is not the generation of the next
  // version, with INVALID_ARGUMENT if the record contradicts itself, and with DATA_LOSS if the new
  // parameters do not have the server's checksum. After an error the parameters and the version are
  // those from before; after DATA_LOSS the replay takes no more steps, because the method's state
  // has taken the wrong one. The floating-point environment of the thread does not matter, and
  // stays.
  absl::Status Apply(const v1::WatchGenerationsResponse& message);

  // Of version().
  absl::Span<const float> parameters() const;
  uint64_t version() const;

 private:
  struct State;
  explicit Replay(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace talweg
