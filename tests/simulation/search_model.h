// SPDX-License-Identifier: Apache-2.0
//
// What core/search/search_machine.h says must follow from an event, written down a second time and
// as simply as possible, and the parameters as one client would compute them. It is shown every
// decision of a host and names the first broken promise.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "core/noise/perturbation_testing.h"
#include "core/search/search_config.h"
#include "core/search/search_event.h"
#include "server/runtime/env.h"

namespace talweg::simulation {

// What a model knows of a session. A value, so that a saved state has one beside it.
struct SearchKnowledge {
  struct Settings {
    core::SearchConfig search;
    double learning_rate = 0;
    uint64_t lease_seconds = 0;
    uint64_t config_version = 0;
  };
  struct Pair {
    std::optional<std::vector<double>> losses;  // set once they are told
    bool dropped = false;
    bool leased = false;
    uint64_t last_lease = 0;  // that it was given to; 0 once that has failed
    uint64_t failures = 0;
    uint64_t lost = 0;  // leases

    bool is_free() const { return !losses.has_value() && !dropped && !leased; }
    bool is_settled() const { return losses.has_value() || dropped; }
  };
  struct Member {
    uint64_t incarnation = 0;
    absl::Time lease_end;
    bool live = true;
    // Of the evaluation that it was leased last.
    uint64_t lease = 0;
    uint32_t generation = 0;
    uint32_t first = 0;
    uint32_t count = 0;  // 0: the parameters themselves
    absl::Time expires = absl::InfiniteFuture();
    // Of its calls that wait.
    std::vector<uint64_t> tickets;
    uint32_t capacity = 1;
  };

  uint64_t history = 0;
  uint64_t version = 0;
  Settings settings;
  std::optional<Settings> next;  // from the next generation on
  uint32_t generation = 1;
  bool begun = false;
  uint32_t ever_leased = 0;  // all pairs before it were leased at some time
  std::vector<Pair> pairs;
  std::optional<Pair> evaluation;
  absl::Time first_told = absl::InfiniteFuture();
  std::map<std::string, Member> members;
  std::deque<std::pair<std::string, uint64_t>> queue;  // workers and incarnations that wait
  uint64_t last_lease = 0;
  absl::Time now = absl::InfinitePast();
  std::vector<float> parameters;
};

class SearchModel {
 public:
  SearchModel(core::PlainPerturbation perturbation, std::vector<float> first_parameters,
              SearchKnowledge::Settings settings, uint64_t history);

  // Goes on from what was known when a state was saved. `history` 0: that one's.
  void Restore(const SearchKnowledge& known, uint64_t history, absl::Time now);
  const SearchKnowledge& known() const { return known_; }

  // Every decision, in order.
  void Saw(const server::Decision& decision);
  void Violate(const std::string& label, const std::string& text);

  // The label and the text of the first broken promise; empty if none was broken.
  const std::string& label() const { return label_; }
  const std::string& text() const { return text_; }
  uint64_t num_counted() const { return num_counted_; }  // pairs, in all versions
  uint64_t num_refused() const { return num_refused_; }  // asks and tells
  uint64_t num_lost() const { return num_lost_; }        // pairs that lost leases have dropped

 private:
  using Member = SearchKnowledge::Member;
  using Pair = SearchKnowledge::Pair;

  void Check(bool holds, const char* label, const std::string& text);
  void Open(uint32_t generation);
  void OpenNext();
  bool finished() const;
  absl::Time LeaseEnd() const;
  bool Holds(const Member& member) const;
  void GiveBack(Member& member, bool lost);
  // The pairs in a lease: the evaluation, or some of `pairs`.
  template <class At>
  void ForEachHeld(Member& member, const At& at);
  std::string ReasonFor(uint64_t history, const std::string& worker, uint64_t incarnation) const;
  void Renew(Member& member);
  void LookAtAll();
  std::optional<core::EvaluationLease> LeaseTo(Member& member, uint32_t capacity);
  void CheckLease(const core::AskAnswer& answer,
                  const std::optional<core::EvaluationLease>& expected);
  // The lease that a tell asked for.
  void CheckNext(const std::optional<core::EvaluationLease>& next, const std::string& worker,
                 uint32_t capacity);
  // What is given to the calls that wait.
  void ServeWaiting(const core::SearchEffects& effects);
  bool HasEnough() const;
  core::TellCounts Take(const core::Tell& tell);
  bool IsLost() const;
  bool MustClose() const;
  absl::Time Deadline() const;
  void CloseIfDue(const core::SearchEffects& effects);

  void On(const core::Join& join, const server::Decision& decision);
  void On(const core::Heartbeat& heartbeat, const server::Decision& decision);
  void On(const core::Leave& leave, const server::Decision& decision);
  void On(const core::CallEnded& ended, const server::Decision& decision);
  void On(const core::Tick& tick, const server::Decision& decision);
  void On(const core::StepTaken& taken, const server::Decision& decision);
  void On(const core::Configure& configure, const server::Decision& decision);
  void On(const core::Ask& ask, const server::Decision& decision);
  void On(const core::Tell& tell, const server::Decision& decision);

  void CheckRecord(const core::GenerationRecord& record);
  // The parameters after the generation that closes, one element at a time.
  void TakeReferenceStep();

  const core::PlainPerturbation perturbation_;
  SearchKnowledge known_;
  std::string label_, text_;
  // Who told the losses that closed the generation, and how many pairs it wants next.
  std::string teller_;
  uint32_t capacity_ = 0;
  uint64_t num_counted_ = 0;
  uint64_t num_refused_ = 0;
  uint64_t num_lost_ = 0;
};

}  // namespace talweg::simulation
