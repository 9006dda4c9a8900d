// SPDX-License-Identifier: Apache-2.0
//
// What a Session holds, and what it does with one contribution at a time. For session.cc, which
// decides in which order contributions are driven to their answers.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/contribution_stream.h"
#include "client/cpp/talweg/heartbeat.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/session.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

// A contribution that has no answer yet, or whose answer nobody has taken yet.
struct Waiting {
  Contribution contribution;
  int num_attempts = 0;
  bool asks_again = false;  // a caller that is told "pending" may ask later what became of it
  // The gradient and the statistics, once their caller owns the spans again.
  std::vector<float> kept, kept_statistics;
};

struct Session::State {
  std::shared_ptr<Transport> transport;
  ClientOptions options;
  std::string session_id;
  std::string worker;
  JoinOptions join;
  uint64_t history = 0;
  uint64_t incarnation = 0;
  bool replies_wait = false;  // as the answer to the join said
  uint64_t version = 0;
  uint64_t sequence = 0;  // of the last contribution
  double next_learning_rate = 0;
  uint64_t num_overflowed = 0;  // of the parameters that came last
  bool left = false;
  v1::ContributionHeader header;  // what all contributions have in common
  std::list<Waiting> waiting;     // oldest first; at most two
  bool resumable = false;         // `waiting` is one contribution that ResumeStep may ask about
  // Whether one of `waiting` may be part of a version, or become part of one, although its answer
  // has not come.
  bool perhaps_judged = false;
  absl::Status fenced;        // the error that fenced this worker; OK: it is not fenced
  v1::StepRequest request;    // keeps its memory from step to step
  v1::StepResponse response;  // likewise
  std::unique_ptr<ContributionStream> stream;
  std::unique_ptr<Heartbeat> heartbeat;

  // Gives up all contributions that wait.
  void Forget();
  // Says that the data of the answer shall go to `parameters`.
  void Aim(Contribution& contribution, absl::Span<float> parameters) const;
  bool NeedsStream(const Contribution& contribution) const;
  // Makes one attempt at an answer in one message. It takes at most `timeout`, unless the
  // contribution waits for other workers.
  absl::Status CallStep(Contribution& contribution, absl::Duration timeout, const RoundWait& wait);
  // Pulls the part of an answer's data that did not fit its checksums.
  absl::Status Mend(const Contribution& contribution, StepResult& result);
};

}  // namespace talweg
