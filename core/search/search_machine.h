// SPDX-License-Identifier: Apache-2.0
//
// Generations for one session: which worker evaluates which perturbations, which losses count, and
// when the next version is made of them. A state machine that is handed time with each event and
// touches no arrays of parameters. core/session owns one if its configuration searches; it stands
// on core/members, as rounds do.
//
// Identity is that of every session: HISTORY_CHANGED, WORKER_NOT_JOINED, INCARNATION_FENCED. A
// worker without the role of searching is ROLE_MISSING.
//
// Generations are numbered from 1. One is open at any time, unless the search is finished. It is
// evaluated at the current version, and makes the next one when it closes. If it is lost, because
// every pair was dropped, or because the method needs the loss at the parameters and their
// evaluation was dropped, it makes no version, and the next generation draws other perturbations at
// the same version.
//
// Leases only schedule. An Ask leases the evaluation of the parameters, if that is free, or else
// the first free pairs. A worker holds at most one lease and gets it again when it asks again. A
// lease ends evaluation_seconds after it was given, or when its worker expires, leaves or is
// replaced by a newer incarnation: its pairs are free then. Unless the worker left, the lease is
// lost, and a pair with max_lost_leases of them is dropped. If nothing is free, the Ask waits, in
// turn. A Tell may ask for the next lease too, but never waits: it gets what those that wait leave.
// No lease is saved.
//
// Losses. A pair is named by history, generation and number. The first losses that are told for it
// count, no matter which worker tells them; what is told again, or for a generation that has
// closed, is a verdict and changes nothing. So is a pair that nobody was ever leased (kNotLeased;
// after a restore any pair may have been). A pair beyond the generation, a wrong number of losses,
// and a generation that is not open yet, are FIELD_OUT_OF_RANGE.
//
// A configuration takes effect with the next generation. If the open one has not begun, that is at
// once: another generation opens in its place.
//
// Durable are a join that succeeded, losses that were taken, an accepted configuration, and a
// version that was made.
//
// Cost of an event: O(log n) in the number of workers, and what it releases; a lease and a Tell are
// linear in their pairs, a close is linear in the pairs of the generation. Thread-compatible.
// Between SearchEffects with a step and StepTaken no other event may come.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/byte_io.h"
#include "core/members/attendance.h"
#include "core/members/identity.h"
#include "core/search/generation.h"
#include "core/search/generation_description.h"
#include "core/search/search_event.h"
#include "core/search/search_mutation.h"
#include "core/search/searcher.h"

namespace talweg::core {

class SearchMachine {
 public:
  // At version 0. `history` is random and not 0; the configuration searches.
  SearchMachine(uint64_t history, const ConfigureSearch& configuration);

  // `now` never goes back; an earlier one counts as the latest that was seen.
  SearchEffects Handle(const SearchEvent& event, absl::Time now);

  // When a Tick should come at the latest; InfiniteFuture if nothing is due.
  absl::Time NextTick() const;

  absl::Status CheckHistory(uint64_t history) const {
    return core::CheckHistory(history, history_, version_);
  }

  uint64_t history() const { return history_; }
  uint64_t version() const { return version_; }
  // In force: that of the generation that is open.
  const ConfigureSearch& configuration() const { return configuration_; }
  uint64_t config_version() const { return configuration_.config_version; }
  // Whether a close may come without a further Tell.
  bool has_losses() const { return open_->num_told() > 0; }
  // Generations that were given up since the last version, and the losses in them that were not
  // finite. Forgotten at a restart.
  uint32_t num_given_up() const { return num_given_up_; }
  uint64_t num_given_up_non_finite() const { return num_given_up_non_finite_; }
  bool finished() const { return configuration_.search.IsFinishedAt(version_); }
  GenerationDescription Describe(absl::Time now) const;
  size_t num_workers() const { return workers_.num_members(); }
  size_t num_live_workers() const { return workers_.num_live(); }
  const std::shared_ptr<const StepReport>& last_step() const { return last_step_; }

  // The whole state except the configuration, leases and calls that wait. No step may be under way.
  void Save(ByteWriter& writer) const;
  // Replaces the state of a machine that was made with the configuration in force. `history` 0
  // keeps the saved one.
  absl::Status Load(ByteReader& reader, absl::Time now, uint64_t history = 0);

  // Tests only: a deliberate bug.
  void SwitchOn(SearchMutation mutation) {
    mutation_ = mutation;
    open_->SwitchOn(mutation);
  }

 private:
  // A generation that has closed, while its step is taken.
  struct Closed {
    std::shared_ptr<GenerationRecord> record;
    StepReport report;
    SearchNumbers numbers;
    std::shared_ptr<const ShapedLosses> shaped;
    // The worker that told last, and what it asks for; capacity 0: nothing.
    uint32_t teller = 0;
    uint32_t capacity = 0;
  };

  void On(const Join& join, SearchEffects& effects);
  void On(const Heartbeat& heartbeat, SearchEffects& effects);
  void On(const Leave& leave, SearchEffects& effects);
  void On(const CallEnded& ended, SearchEffects& effects);
  void On(const Tick& tick, SearchEffects& effects);
  void On(const StepTaken& taken, SearchEffects& effects);
  void On(const Ask& ask, SearchEffects& effects);
  void On(const Tell& tell, SearchEffects& effects);
  void On(const ConfigureSearch& configure, SearchEffects& effects);

  SearcherRules Rules() { return {*open_, now_, LeaseEnd(), mutation_}; }
  absl::Time LeaseEnd() const {
    return now_ + absl::Seconds(static_cast<int64_t>(configuration_.lease_seconds));
  }
  absl::StatusOr<uint32_t> FindSearcher(uint64_t history, const std::string& worker,
                                        uint64_t incarnation);
  // The worker's lease, or a new one; not set if there is nothing to lease.
  std::optional<EvaluationLease> LeaseTo(uint32_t index, uint32_t capacity);
  AskAnswer AnswerOf(std::optional<EvaluationLease> lease) const;
  // Leases what is free to the calls that wait, in turn.
  void ServeWaiting(SearchEffects& effects);
  absl::Status CheckTell(const Tell& tell) const;
  void CloseIfDue(SearchEffects& effects);
  void OrderStep(SearchEffects& effects);
  void OpenNext();
  void Open(uint32_t number);
  std::optional<double> SignalToNoise(double gradient_norm) const;

  uint64_t history_;
  uint64_t version_ = 0;
  ConfigureSearch configuration_;
  std::optional<ConfigureSearch> next_;  // from the next generation on
  absl::Time now_ = absl::InfinitePast();

  Attendance<Searcher> workers_;
  std::unique_ptr<Generation> open_;  // never null
  absl::Time opened_;                 // the first lease of the open generation
  uint32_t num_given_up_ = 0;
  uint64_t num_given_up_non_finite_ = 0;
  uint32_t last_lease_ = 0;
  // Workers with calls that wait, in the order in which they came: index and incarnation. Some may
  // have gone.
  std::deque<std::pair<uint32_t, uint64_t>> waiting_;
  std::optional<Closed> closed_;
  std::shared_ptr<const StepReport> last_step_;
  SearchMutation mutation_ = SearchMutation::kNone;
};

}  // namespace talweg::core
