// SPDX-License-Identifier: Apache-2.0
//
// What may happen to a search, and what follows from it: values, without arrays of parameters,
// clock or thread.
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
#include "core/schedules/schedule.h"
#include "core/search/fitness_shaping.h"
#include "core/search/search_config.h"

namespace talweg::core {

// A worker wants something to evaluate.
struct Ask {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
  uint32_t capacity = 1;  // pairs, >= 1
  uint64_t ticket = 0;    // names the call that asks, in GivenLease and CallEnded; new, never 0
  bool may_wait = true;   // If not, it is told that there is nothing, instead of waiting.
};

// How the evaluation of a pair ended.
enum class PairStatus : uint8_t { kOk, kFailed, kNonFinite };

// A worker tells losses: of consecutive pairs, or of the parameters themselves.
struct Tell {
  uint64_t history = 0;
  std::string worker;
  uint64_t incarnation = 0;
  uint32_t generation = 0;  // >= 1
  uint32_t lease = 0;       // that the pairs were evaluated for
  uint32_t first_pair = 0;
  bool evaluate = false;             // The loss is that of the parameters themselves.
  std::vector<double> losses;        // at least one; as SearchConfig::losses_per_pair for each pair
  std::vector<PairStatus> statuses;  // one for each pair, or empty: all are kOk
  uint64_t num_examples = 0;
  uint32_t capacity = 0;  // pairs that the worker wants next; 0: it asks for nothing
};

// The configuration changes with the next generation. If the open generation has not begun, the
// next one opens in its place.
struct ConfigureSearch {
  Schedule schedule;
  SearchConfig search;
  uint64_t lease_seconds = 30;  // after which a silent worker has expired
  uint64_t worker_limit = 0;    // workers that may take part
  uint64_t num_trained = 0;     // elements of the parameters that are not frozen
  uint64_t config_version = 1;  // told in the records of generations
};

using SearchEvent =
    std::variant<Join, Heartbeat, Leave, CallEnded, Tick, StepTaken, Ask, Tell, ConfigureSearch>;

// What a worker is to evaluate.
struct EvaluationLease {
  uint32_t lease = 0;  // its number, above 0
  uint32_t generation = 0;
  uint64_t version = 0;
  uint32_t first_pair = 0;
  uint32_t num_pairs = 0;  // 0: the parameters themselves
  float sigma = 0;
  absl::Duration expires_in;
  bool held = false;  // The worker held it before it asked.
};

// The answer to an Ask.
struct AskAnswer {
  std::optional<EvaluationLease> lease;  // not set: there is nothing to lease
  bool finished = false;                 // and never will be
  uint64_t version = 0;                  // the current one
  uint32_t generation = 0;               // the open one
};

// The wait of an Ask is over.
struct GivenLease {
  uint64_t ticket = 0;
  AskAnswer answer;
};

enum class TellVerdict : uint8_t { kAccepted, kRepeated, kLate, kNotLeased };

// What became of the pairs that were told.
struct TellCounts {
  uint32_t num_accepted = 0;  // told for the first time, and they count
  // Told or dropped before; or failed, and that was told before, or another worker evaluates it.
  uint32_t num_repeated = 0;
  uint32_t num_to_retry = 0;  // to be evaluated again
  uint32_t num_dropped = 0;   // now
};

// The answer to a Tell. Generation and version are those after the step, if it ordered one.
struct TellAnswer {
  TellVerdict verdict = TellVerdict::kAccepted;
  TellCounts counts;
  uint64_t version = 0;
  uint32_t generation = 0;
  bool finished = false;
  std::optional<EvaluationLease> next;  // what it asked for, if there is something at once
};

// A generation that made a version, and everything that the estimate is a function of beside the
// parameters and the configuration.
struct GenerationRecord {
  uint64_t version = 0;  // that it made
  uint32_t generation = 0;
  uint32_t num_pairs = 0;
  uint64_t config_version = 0;
  double learning_rate = 0;
  float sigma = 0;
  std::vector<uint32_t> pairs;  // that counted, ascending
  std::vector<double> losses;   // of these, as ToldLosses has them
  std::optional<double> evaluated;
  uint32_t parameters_checksum = 0;  // of the version that was made
  absl::Time opened;                 // first lease
  absl::Time closed;
};

// The step to take, and the estimate that it steps with.
struct SearchOrder {
  StepOrder step;
  uint32_t generation = 0;
  float sigma = 0;
  std::shared_ptr<const ShapedLosses> shaped;
};

// What must survive a crash before anybody is told what follows from the event. Leases need not.

// Losses were taken; what they were taken from.
struct LossesTold {
  Tell tell;
};
// Another configuration was accepted.
struct SearchConfigured {
  uint64_t config_version = 0;
};
// A generation closed, and its version was made.
struct GenerationMade {
  std::shared_ptr<const GenerationRecord> record;
};

using SearchDurable = std::variant<MemberAdmitted, LossesTold, SearchConfigured, GenerationMade>;

// What follows from an event. If `status` is an error nothing has changed, except what `released`
// says.
struct SearchEffects {
  absl::Status status;
  uint64_t incarnation = 0;         // with Join: the one that its worker has now
  std::optional<AskAnswer> asked;   // for the Ask that caused the event, at once
  bool waits = false;               // or its call waits, and a later event releases its ticket
  std::optional<TellAnswer> told;   // for the Tell that caused the event
  std::optional<SearchOrder> step;  // take this step, then say StepTaken
  // With StepTaken: what the Tell that closed the generation asked for.
  std::optional<EvaluationLease> next;
  std::vector<GivenLease> given;                 // calls that waited, and have an answer
  std::vector<Released> released;                // calls that waited, and fail
  std::shared_ptr<const GenerationRecord> made;  // with StepTaken
  std::vector<SearchDurable> durable;  // empty if everything that happened may be forgotten
};

}  // namespace talweg::core
