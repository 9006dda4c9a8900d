// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/simulation/network.h"
#include "tests/simulation/oracle.h"

namespace talweg::simulation {
namespace {

// More than any world needs; a timer that never stops ringing needs more.
constexpr uint64_t kMaxOccasionsAtOnce = 10'000;  // and some for each worker

class World {
 public:
  World(const WorldConfig& config, bool aloud)
      : config_(config),
        random_(Mix(config.seed) ^ Mix(config.name.size())),
        trace_(aloud),
        network_(config_, random_, agenda_),
        oracle_(config_, trace_),
        server_(config_, random_, agenda_, network_, oracle_, trace_),
        fleet_(config_, random_, agenda_, network_) {}

  Outcome Run();

 private:
  void Plan(double every_seconds, Happening happening) {
    if (every_seconds == 0 || calm_) return;
    agenda_.In(1 + Seconds(random_.LongTailed(every_seconds)), happening);
  }
  void Happen(const Occasion& occasion);
  void CheckThatAllGotOn();

  WorldConfig config_;
  Random random_;
  Agenda agenda_;
  Trace trace_;
  Network network_;
  Oracle oracle_;
  Server server_;
  Fleet fleet_;
  bool calm_ = false;
  bool over_ = false;
  bool all_are_due_ = false;
};

Outcome World::Run() {
  const Faults& faults = config_.faults;
  server_.Begin();
  fleet_.Start();
  agenda_.At(Seconds(config_.fault_seconds), Happening::kCalm);
  agenda_.At(Seconds(config_.fault_seconds + config_.calm_seconds), Happening::kEnd);
  Plan(faults.worker_every, Happening::kWorkerFault);
  Plan(faults.server_crash_every, Happening::kServerCrash);
  Plan(faults.server_crash_every / 4, Happening::kSnapshot);
  Plan(faults.delete_every, Happening::kDelete);
  Plan(faults.configure_every, Happening::kConfigure);
  Plan(faults.clock_jump_every, Happening::kClockJump);

  Outcome outcome;
  Nanoseconds last = -1;
  uint64_t at_once = 0;
  while (!over_ && oracle_.fine()) {
    const Occasion occasion = agenda_.Next();
    ++outcome.occasions;
    at_once = occasion.time == last ? at_once + 1 : 0;
    last = occasion.time;
    if (at_once > kMaxOccasionsAtOnce + 20 * config_.num_workers) {
      oracle_.Violate(last, "time_stands_still", "things go on happening at one moment");
    }
    Happen(occasion);
  }
  outcome.violation = oracle_.violation();
  outcome.trace_hash = trace_.hash();
  outcome.fleet = fleet_.totals();
  outcome.server = server_.totals();
  outcome.network_faults = network_.num_faults();
  outcome.all_were_due = all_are_due_;
  return outcome;
}

void World::Happen(const Occasion& occasion) {
  const Faults& faults = config_.faults;
  switch (occasion.happening) {
    case Happening::kRequest:
      return server_.OnRequest(network_.TakeRequest(occasion.index));
    case Happening::kReply:
      return fleet_.OnReply(network_.TakeReply(occasion.index));
    case Happening::kWake:
      return fleet_.OnWake(occasion.index, occasion.number);
    case Happening::kBeat:
      return fleet_.OnBeat(occasion.index);
    case Happening::kBroken:
      return server_.OnBroken(occasion.index, occasion.number);
    case Happening::kAlarm:
      return server_.OnAlarm(occasion.number);
    case Happening::kTask:
      return server_.OnTask(occasion.number);
    case Happening::kServerStart:
      return server_.Begin();
    case Happening::kWorkerFault:
      if (calm_) return;
      fleet_.OnFault(trace_);
      return Plan(faults.worker_every, Happening::kWorkerFault);
    case Happening::kServerCrash:
      if (calm_) return;
      server_.OnCrash();
      return Plan(faults.server_crash_every, Happening::kServerCrash);
    case Happening::kSnapshot:
      server_.OnSnapshot();
      return Plan(faults.server_crash_every / 4, Happening::kSnapshot);
    case Happening::kDelete:
      if (calm_) return;
      server_.OnDelete();
      return Plan(faults.delete_every, Happening::kDelete);
    case Happening::kConfigure:
      if (calm_) return;
      server_.OnConfigure();
      return Plan(faults.configure_every, Happening::kConfigure);
    case Happening::kClockJump:
      if (calm_) return;
      server_.OnClockJump();
      return Plan(faults.clock_jump_every, Happening::kClockJump);
    case Happening::kCalm:
      calm_ = true;
      trace_.Say(agenda_.now(), "calm");
      network_.CalmDown();
      server_.CalmDown();
      return fleet_.CalmDown();
    case Happening::kEnd:
      over_ = true;
      return CheckThatAllGotOn();
  }
}

void World::CheckThatAllGotOn() {
  const auto starved = [&](uint32_t worker, const std::string& text) {
    oracle_.Violate(agenda_.now(), "starved",
                    absl::StrCat(WorkerName(worker), " ", text, ", in ", config_.calm_seconds,
                                 " s without a fault"));
  };
  const core::AggregationConfig& policy = server_.settings().policy;
  all_are_due_ = LeavesNobodyBehind(config_, policy);
  // A worker that goes on before its version of several contributions is made may never be told
  // that it is part of that version.
  const bool accumulates = policy.gradient_accumulation_steps > 1;
  uint64_t num_places = 0;
  for (uint32_t worker = 0; worker < config_.num_workers; ++worker) {
    num_places += fleet_.HasPlace(worker);
  }
  const bool is_full = num_places == config_.policy.worker_limit();
  for (uint32_t worker = 0; worker < config_.num_workers; ++worker) {
    if (!fleet_.HasPlace(worker)) {
      if (!is_full) return starved(worker, "found no place, though one is free");
    } else if (!fleet_.IsObserver(worker)) {
      const uint64_t answers = fleet_.CalmAnswers(worker);
      const uint64_t applied = fleet_.CalmApplied(worker);
      if ((all_are_due_ ? applied : answers) > 0) continue;
      if (accumulates && server_.CountedInCalm(worker)) continue;
      return starved(worker,
                     absl::StrCat("got ", answers, " verdicts, ", applied, " of them APPLIED"));
    }
  }
}

}  // namespace

Outcome RunWorld(const WorldConfig& world, bool aloud) { return World(world, aloud).Run(); }

std::string ReplayCommand(const WorldConfig& world) {
  const auto flag = [](const char* name, int value) {
    return value == 0 ? "" : absl::StrCat(name, value);
  };
  return absl::StrCat("build/dev/tests/simulation_replay --world ", world.name, " --seed ",
                      world.seed, flag(" --mutation ", static_cast<int>(world.mutation)),
                      flag(" --flaw ", static_cast<int>(world.flaw)),
                      flag(" --host_mutation ", static_cast<int>(world.host_mutation)), " --trace");
}

void Totals::Add(const Outcome& outcome) {
  ++worlds;
  if (!outcome.violation.label.empty()) ++violations;
  if (outcome.all_were_due) ++all_were_due;
  sum.trace_hash = Mix(sum.trace_hash ^ outcome.trace_hash);
  sum.occasions += outcome.occasions;
  sum.network_faults += outcome.network_faults;
  sum.fleet.processes += outcome.fleet.processes;
  sum.fleet.contributions += outcome.fleet.contributions;
  sum.fleet.retries += outcome.fleet.retries;
  sum.fleet.answers += outcome.fleet.answers;
  sum.fleet.applied += outcome.fleet.applied;
  sum.fleet.faults += outcome.fleet.faults;
  sum.server.events += outcome.server.events;
  sum.server.versions += outcome.server.versions;
  sum.server.folded += outcome.server.folded;
  sum.server.crashes += outcome.server.crashes;
  sum.server.new_histories += outcome.server.new_histories;
  sum.server.deletions += outcome.server.deletions;
  sum.server.changes += outcome.server.changes;
  sum.server.jumps += outcome.server.jumps;
}

std::string Totals::Text() const {
  return absl::StrCat(
      worlds, " worlds, in ", all_were_due, " of them an APPLIED for everyone, ", sum.occasions,
      " occasions, ", sum.server.events, " events of the machine, ", sum.fleet.contributions,
      " contributions, ", sum.fleet.retries, " retries, ", sum.server.folded, " in ",
      sum.server.versions, " versions, ", sum.faults(), " faults (", sum.network_faults,
      " of messages, ", sum.fleet.faults, " of workers, ", sum.server.crashes,
      " crashes of the server, ", sum.server.new_histories, " new histories, ",
      sum.server.deletions, " deletions, ", sum.server.jumps, " jumps of the clock), ",
      sum.server.changes, " changes of the configuration, ", violations, " violations");
}

}  // namespace talweg::simulation
