// SPDX-License-Identifier: Apache-2.0
//
// What may happen to a session, and what follows from it: values, without arrays, clock or thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/members/answer.h"
#include "core/members/member_events.h"
#include "core/members/step.h"
#include "core/rounds/aggregation_config.h"
#include "core/schedules/schedule.h"

namespace talweg::core {

// A gradient arrived whole, or a worker says that it has none. Whatever the decision needs to know
// of a gradient was measured while it was staged.
struct Contribution {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;  // >= 1
  uint64_t base_version = 0;
  bool finite = false;  // It has no NaN and no infinity.
  uint32_t digest = 0;  // of everything that the worker sent, see PayloadDigest
  std::optional<double> loss = {};
  float weight = 1;            // finite, > 0
  bool closes_round = false;   // The round shall close with it, however many have contributed.
  bool abstains = false;       // There is no gradient: the round shall not wait for this worker.
  bool is_statistics = false;  // There is no gradient: it brings statistics alone.
  std::optional<LossChange> loss_change = {};  // finite
  uint64_t num_samples = 0;  // that its statistics are the mean of; 0: it has no statistics
  uint64_t ticket = 0;       // names the call that asks, in Released and CallEnded; new, never 0
  bool may_wait = true;      // If not, the answer is kPending instead of a wait for other workers.
};

// The schedule and the policy change from the next version on: once the round that is open, if
// there is one, has closed. A closing rule that changed holds for the open round too.
struct Configure {
  Schedule schedule;
  AggregationConfig aggregation;
  uint64_t config_version = 1;  // told in the records of the versions that it makes
};

// Inverses of the factors of version `factors_version` are ready, and the next version is made with
// them.
struct InversesReady {
  uint64_t factors_version = 0;
};

using Event = std::variant<Join, Heartbeat, Leave, Contribution, CallEnded, Tick, StepTaken,
                           Configure, InversesReady>;

// One contribution of a version.
struct RoundMember {
  std::string worker;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  uint64_t base_version = 0;
  float weight = 1;  // as counted, stale scaling included
  absl::Time time;   // when it was judged
};

// Statistics that are part of a version.
struct StatisticsMember {
  std::string worker;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  uint64_t base_version = 0;
  uint64_t num_samples = 0;
  absl::Time time;  // when they were judged
};

// Which contributions made a version. The state of the version is a function of this record and of
// the inputs alone.
struct VersionRecord {
  uint64_t version = 0;
  uint64_t config_version = 0;
  // The number of the configuration that the closing rule came from, if it is newer; otherwise 0.
  uint64_t close_config_version = 0;
  absl::Time opened;  // first contribution
  absl::Time closed;
  std::vector<RoundMember> members;  // in the order of their arrival
  double total_weight = 0;
  uint32_t num_late = 0;                       // as in StepReport
  std::vector<std::string> late_workers;       // at most kMaxLateNames
  uint32_t num_expired = 0;                    // likewise
  std::vector<std::string> expired_workers;    // at most kMaxLateNames
  uint32_t num_abstained = 0;                  // likewise
  std::vector<std::string> abstained_workers;  // at most kMaxLateNames
  std::vector<StatisticsMember> statistics;    // in the order of their arrival
  std::optional<LossChange> loss_change;       // of the first member by name that told one
  // The version of the factors whose inverses came for this version; 0: none came.
  uint64_t installed_inverses = 0;
  // The version of the factors whose inverses the step used, the oldest of them; 0: none.
  uint64_t inverse_version = 0;
};

// What must survive a crash before anybody is told what follows from the event.

// A contribution got a final verdict and is part of no version.
struct ContributionSettled {
  std::string worker;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  uint32_t digest = 0;
  Verdict verdict = Verdict::kRoundClosed;
  uint64_t version = 0;  // the version that was current
};
// Another configuration was accepted.
struct ConfigurationAccepted {
  uint64_t config_version = 0;
};
// A version was made.
struct VersionMade {
  std::shared_ptr<const VersionRecord> record;
};

// Inverses were installed, and version `version` is made with them.
struct InversesInstalled {
  uint64_t factors_version = 0;
  uint64_t version = 0;
};

using DurableChange = std::variant<MemberAdmitted, ContributionSettled, ConfigurationAccepted,
                                   VersionMade, InversesInstalled>;

// What follows from an event. If `status` is an error nothing has changed, except what `released`
// says.
struct Effects {
  absl::Status status;
  std::optional<Answer> answer;  // for the contribution that caused the event, at once
  bool waits = false;            // or its call waits, and a later event releases its ticket
  bool will_not_count = false;   // while it waits: as in Answer
  uint64_t incarnation = 0;      // with Join: the one that its worker has now
  bool fold = false;             // its gradient is part of the open round, with this weight:
  float weight = 1;
  bool takes_statistics = false;              // its statistics are part of the coming version
  std::optional<StepOrder> step;              // take this step, then say StepTaken
  std::vector<Released> released;             // calls that waited
  std::shared_ptr<const VersionRecord> made;  // with StepTaken: the version that was made
  // Empty if everything that happened may be forgotten. A pending contribution may: it was not
  // acknowledged.
  std::vector<DurableChange> durable;
};

}  // namespace talweg::core
