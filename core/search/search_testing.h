// SPDX-License-Identifier: Apache-2.0
//
// A population in virtual time, for the tests of this room: a SearchMachine, its workers, and their
// calls that wait. After each event it checks that the machine still adds up, that every call is
// answered once, and that nothing lies free while somebody waits for it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "core/base/byte_io.h"
#include "core/base/reasons.h"
#include "core/schedules/schedule.h"
#include "core/search/search_machine.h"
#include "gtest/gtest.h"

namespace talweg::core {

inline constexpr uint64_t kHistory = 77;

// An evolution strategy of `num_pairs` antithetic pairs, sigma 1/2.
inline SearchConfig Strategy(uint64_t num_pairs) {
  SearchConfig config;
  config.method = SearchMethod::kEvolutionStrategy;
  config.num_pairs = num_pairs;
  config.sigma = 0.5;
  config.evaluation_seconds = 10;
  config.scale = EstimateScale::kGradient;
  return config;
}

// The same, told one loss for each pair.
inline SearchConfig OneSided(uint64_t num_pairs, Baseline baseline = Baseline::kMean) {
  SearchConfig config = Strategy(num_pairs);
  config.differences = Differences::kOneSided;
  config.baseline = baseline;
  return config;
}

// Random search that keeps the best perturbation.
inline SearchConfig IfBetter(uint64_t num_pairs) {
  SearchConfig config = Strategy(num_pairs);
  config.method = SearchMethod::kRandomSearch;
  config.scale = EstimateScale::kTutorial;
  return config;
}

inline SearchConfig ClosesBy(SearchConfig config, GenerationClose close, double limit) {
  config.close = close;
  if (close == GenerationClose::kCount) config.close_pairs = static_cast<uint64_t>(limit);
  if (close == GenerationClose::kDeadline) config.close_seconds = limit;
  return config;
}

// eta_t = learning_rate / sqrt(t): tells the numbers of steps apart.
inline Schedule RateOf(double learning_rate) {
  RateConfig rate;
  rate.learning_rate = learning_rate;
  const DecayKind& kind = *FindDecayKind("inverse_sqrt");
  return Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config());
}

inline ConfigureSearch Configured(const SearchConfig& search, uint64_t config_version = 1,
                                  uint64_t lease_seconds = 1000, uint64_t worker_limit = 8) {
  EXPECT_TRUE(search.Validate().ok()) << search.Validate();
  ConfigureSearch configuration{RateOf(0.5), search};
  configuration.lease_seconds = lease_seconds;
  configuration.worker_limit = worker_limit;
  configuration.num_trained = 100;
  configuration.config_version = config_version;
  return configuration;
}

class Population {
 public:
  explicit Population(const SearchConfig& search) : Population(Configured(search)) {}
  explicit Population(const ConfigureSearch& configuration) : machine(kHistory, configuration) {}

  // --- What happens.

  // Hands in an event. If it orders a step, the step is taken at once, unless `hold_steps` is set.
  SearchEffects Do(const SearchEvent& event) {
    SearchEffects effects = machine.Handle(event, now);
    Follow(effects);
    return effects;
  }

  SearchEffects TakeStep(const StepTaken& taken = {3, 1, 0.125}) {
    EXPECT_TRUE(step_is_open_);
    step_is_open_ = false;
    const uint64_t version = machine.version();
    SearchEffects effects = machine.Handle(taken, now);
    EXPECT_TRUE(effects.status.ok() && !effects.step.has_value());
    EXPECT_EQ(machine.version(), version + 1);
    Collect(effects);
    EXPECT_NE(effects.made, nullptr);
    made.push_back(effects.made);
    Check();
    return effects;
  }

  absl::Status Join(const std::string& worker, Roles roles = {Role::kSearch}) {
    const SearchEffects effects =
        Do(talweg::core::Join{worker, last_incarnation + 1, roles, /*nonce=*/0});
    if (effects.status.ok()) incarnations[worker] = ++last_incarnation;
    return effects.status;
  }
  void JoinAll(const std::vector<std::string>& workers) {
    for (const std::string& worker : workers) EXPECT_TRUE(Join(worker).ok());
  }
  absl::Status Heartbeat(const std::string& worker) {
    return Do(talweg::core::Heartbeat{kHistory, worker, incarnations[worker]}).status;
  }
  absl::Status Leave(const std::string& worker) {
    return Do(talweg::core::Leave{kHistory, worker, incarnations[worker]}).status;
  }

  // Asks as a new call, whose ticket it returns.
  uint64_t Send(talweg::core::Ask ask) {
    const uint64_t ticket = ++last_ticket_;
    ask.ticket = ticket;
    waiting_.insert(ticket);
    callers_[ticket] = ask.worker;
    const SearchEffects effects = machine.Handle(ask, now);
    EXPECT_EQ(!effects.status.ok() + effects.asked.has_value() + effects.waits, 1)
        << "an ask gets an error, an answer or a wait";
    if (!effects.waits) {
      waiting_.erase(ticket);
      calls_[ticket] =
          effects.status.ok() ? TextOf(*effects.asked) : std::string(ReasonName(effects.status));
      if (effects.asked.has_value()) Note(ticket, *effects.asked);
    }
    Follow(effects);
    return ticket;
  }
  talweg::core::Ask AskOf(const std::string& worker, uint32_t capacity = 1) {
    talweg::core::Ask ask;
    ask.history = kHistory;
    ask.worker = worker;
    ask.incarnation = incarnations[worker];
    ask.capacity = capacity;
    return ask;
  }
  // Asks, and says what came of it at once, as Told does.
  std::string Ask(const std::string& worker, uint32_t capacity = 1) {
    return Told(Send(AskOf(worker, capacity)));
  }
  // Asks, and returns the ticket of a call that must wait.
  uint64_t Wait(const std::string& worker, uint32_t capacity = 1) {
    const uint64_t ticket = Send(AskOf(worker, capacity));
    EXPECT_EQ(Told(ticket), "waits");
    return ticket;
  }
  void Break(uint64_t ticket) {
    EXPECT_EQ(waiting_.erase(ticket), 1u);
    calls_[ticket] = "broken";
    Do(CallEnded{callers_[ticket], ticket});
  }

  // Losses of pairs of the open generation, in the order of the pairs.
  talweg::core::Tell TellOf(const std::string& worker, uint32_t first_pair,
                            const std::vector<double>& losses,
                            const std::vector<PairStatus>& statuses = {}) {
    talweg::core::Tell tell;
    tell.history = kHistory;
    tell.worker = worker;
    tell.incarnation = incarnations[worker];
    tell.generation = generation();
    tell.lease = leases[worker];
    tell.first_pair = first_pair;
    tell.losses = losses;
    tell.statuses = statuses;
    return tell;
  }
  talweg::core::Tell EvaluationOf(const std::string& worker, double loss,
                                  const std::vector<PairStatus>& statuses = {}) {
    talweg::core::Tell tell = TellOf(worker, 0, {loss}, statuses);
    tell.evaluate = true;
    return tell;
  }
  // Tells, and says what came of it: "ACCEPTED 2 repeated 1", "LATE", "FIELD_OUT_OF_RANGE losses".
  std::string Send(const talweg::core::Tell& tell) {
    last = Do(tell);
    if (last.told.has_value() && last.told->next.has_value()) {
      leases[tell.worker] = last.told->next->lease;
    }
    EXPECT_EQ(last.status.ok(), last.told.has_value());
    if (!last.status.ok()) {
      EXPECT_TRUE(last.durable.empty() && !last.step.has_value());
      return FieldName(last.status).empty()
                 ? std::string(ReasonName(last.status))
                 : absl::StrCat(ReasonName(last.status), " ", FieldName(last.status));
    }
    EXPECT_EQ(last.told->verdict == TellVerdict::kAccepted, NumDurable<LossesTold>(last) == 1);
    return TextOf(*last.told);
  }
  std::string Tell(const std::string& worker, uint32_t first_pair,
                   const std::vector<double>& losses,
                   const std::vector<PairStatus>& statuses = {}) {
    return Send(TellOf(worker, first_pair, losses, statuses));
  }
  std::string TellEvaluation(const std::string& worker, double loss,
                             const std::vector<PairStatus>& statuses = {}) {
    return Send(EvaluationOf(worker, loss, statuses));
  }
  // The worker asks and tells until the open generation has closed. Pair p has the losses p + 1 and
  // p, or p alone; the parameters themselves have 1/2.
  void Finish(const std::string& worker, uint32_t capacity = 4) {
    const uint32_t number = generation();
    for (int turns = 0; generation() == number; ++turns) {
      ASSERT_LT(turns, 1000);
      const uint64_t ticket = Send(AskOf(worker, capacity));
      ASSERT_TRUE(answers.count(ticket) == 1 && answers[ticket].lease.has_value()) << Told(ticket);
      const EvaluationLease lease = *answers[ticket].lease;
      if (lease.num_pairs == 0) {
        TellEvaluation(worker, 0.5);
        continue;
      }
      std::vector<double> losses;
      for (uint32_t pair = lease.first_pair; pair < lease.first_pair + lease.num_pairs; ++pair) {
        if (machine.configuration().search.losses_per_pair() == 2) losses.push_back(pair + 1);
        losses.push_back(pair);
      }
      Tell(worker, lease.first_pair, losses);
    }
  }

  // Time passes. Each tick that the machine asks for comes when it is due.
  void Pass(absl::Duration duration) {
    const absl::Time end = now + duration;
    for (int ticks = 0; machine.NextTick() <= end; ++ticks) {
      ASSERT_LT(ticks, 10000) << "ticks without an end";
      now = std::max(now, machine.NextTick());
      Do(Tick{});
    }
    now = end;
  }

  void Configure(const SearchConfig& search) { Configure(Configured(search, ++config_version_)); }
  SearchEffects Configure(const ConfigureSearch& configuration) {
    config_version_ = configuration.config_version;
    return Do(configuration);
  }

  // The machine stops and goes on from its saved state.
  void Restart(uint64_t history = 0) {
    const std::string bytes = Bytes();
    SearchMachine loaded(kHistory, machine.configuration());
    ByteReader reader(bytes);
    ASSERT_TRUE(loaded.Load(reader, now, history).ok());
    ASSERT_TRUE(reader.End().ok());
    machine = std::move(loaded);
    for (const uint64_t ticket : waiting_) calls_[ticket] = "broken";
    waiting_.clear();
    Check();
  }

  // --- What came of it.

  // What a call was told: "1: 0-3" (generation and pairs), "1: W", "again 1: 0-3", "nothing",
  // "finished", a reason; or "waits", "broken".
  std::string Told(uint64_t ticket) const {
    return waiting_.count(ticket) > 0 ? "waits" : calls_.at(ticket);
  }
  uint32_t generation() const { return machine.Describe(now).generation; }
  GenerationDescription Describe() const { return machine.Describe(now); }
  // The pairs that counted in a version: "0 1 3".
  std::string PairsOf(uint64_t version) const {
    return version == 0 || version > made.size() ? "no such version"
                                                 : absl::StrJoin(made[version - 1]->pairs, " ");
  }
  SearchNumbers Report() const {
    const std::shared_ptr<const StepReport>& step = machine.last_step();
    EXPECT_TRUE(step != nullptr && step->search != nullptr);
    return step != nullptr && step->search != nullptr ? *step->search : SearchNumbers();
  }
  std::string Bytes() const {
    ByteWriter writer;
    machine.Save(writer);
    return writer.bytes();
  }
  template <class Change>
  static int64_t NumDurable(const SearchEffects& effects) {
    return std::count_if(effects.durable.begin(), effects.durable.end(),
                         [](const auto& change) { return std::holds_alternative<Change>(change); });
  }

  absl::Time now = absl::UnixEpoch() + absl::Hours(1);
  SearchMachine machine;
  bool hold_steps = false;
  SearchEffects last;  // of the tell that was sent last
  std::map<uint64_t, AskAnswer> answers;
  std::vector<SearchOrder> orders;
  std::vector<std::shared_ptr<const GenerationRecord>> made;
  std::map<std::string, uint64_t> incarnations;
  std::map<std::string, uint32_t> leases;  // that each worker got last
  uint64_t last_incarnation = 0;

 private:
  void Note(uint64_t ticket, const AskAnswer& answer) {
    answers[ticket] = answer;
    if (answer.lease.has_value()) leases[callers_[ticket]] = answer.lease->lease;
  }
  static std::string TextOf(const AskAnswer& answer) {
    if (!answer.lease.has_value()) return answer.finished ? "finished" : "nothing";
    EXPECT_FALSE(answer.finished);
    const EvaluationLease& lease = *answer.lease;
    EXPECT_EQ(lease.version, answer.version);
    EXPECT_EQ(lease.generation, answer.generation);
    EXPECT_GT(lease.expires_in, absl::ZeroDuration());
    return absl::StrCat(
        lease.held ? "again " : "", lease.generation, ": ",
        lease.num_pairs == 0 ? "W"
        : lease.num_pairs == 1
            ? absl::StrCat(lease.first_pair)
            : absl::StrCat(lease.first_pair, "-", lease.first_pair + lease.num_pairs - 1));
  }
  static std::string TextOf(const TellAnswer& answer) {
    constexpr const char* kVerdicts[] = {"ACCEPTED", "REPEATED", "LATE", "NOT_LEASED"};
    std::string text = kVerdicts[static_cast<size_t>(answer.verdict)];
    const TellCounts& counts = answer.counts;
    if (counts.num_accepted > 0) absl::StrAppend(&text, " ", counts.num_accepted);
    if (counts.num_repeated > 0) absl::StrAppend(&text, " repeated ", counts.num_repeated);
    if (counts.num_to_retry > 0) absl::StrAppend(&text, " to retry ", counts.num_to_retry);
    if (counts.num_dropped > 0) absl::StrAppend(&text, " dropped ", counts.num_dropped);
    return text;
  }

  void Collect(const SearchEffects& effects) {
    for (const GivenLease& given : effects.given) {
      EXPECT_EQ(waiting_.erase(given.ticket), 1u) << "given without waiting";
      calls_[given.ticket] = TextOf(given.answer);
      Note(given.ticket, given.answer);
      EXPECT_NE(calls_[given.ticket], "nothing");
    }
    for (const Released& released : effects.released) {
      EXPECT_EQ(waiting_.erase(released.ticket), 1u) << "released without waiting";
      EXPECT_FALSE(released.status.ok());
      calls_[released.ticket] = ReasonName(released.status);
    }
  }

  void Follow(const SearchEffects& effects) {
    Collect(effects);
    if (!effects.step.has_value()) return Check();
    EXPECT_FALSE(step_is_open_) << "a step was ordered before the last one was taken";
    orders.push_back(*effects.step);
    step_is_open_ = true;
    if (!hold_steps) TakeStep();
  }

  void Check() {
    const GenerationDescription open = machine.Describe(now);
    EXPECT_LE(open.num_told + open.num_leased + open.num_dropped, open.num_pairs);
    EXPECT_EQ(open.version, machine.version());
    std::set<std::string> workers;
    for (const uint64_t ticket : waiting_) workers.insert(callers_[ticket]);
    EXPECT_EQ(open.num_waiting, workers.size());
    if (!waiting_.empty()) {
      EXPECT_FALSE(machine.finished());
      const SearchConfig& search = machine.configuration().search;
      const bool has_enough =
          search.close == GenerationClose::kCount && open.num_told >= search.close_pairs;
      EXPECT_TRUE(has_enough ||
                  open.num_told + open.num_leased + open.num_dropped == open.num_pairs)
          << "a pair is free while a call waits";
    }
    EXPECT_TRUE(!machine.finished() || open.num_leased == 0);
  }

  std::map<uint64_t, std::string> calls_;
  std::map<uint64_t, std::string> callers_;
  std::set<uint64_t> waiting_;
  uint64_t last_ticket_ = 0;
  uint64_t config_version_ = 1;
  bool step_is_open_ = false;
};

}  // namespace talweg::core
