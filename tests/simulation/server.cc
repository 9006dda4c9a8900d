// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/server.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "core/base/reasons.h"

namespace talweg::simulation {
namespace {

constexpr size_t kMaxSnapshots = 4;

// What must wait for the end of a step.
bool WaitsForStep(const core::Event& event) {
  return std::holds_alternative<core::Contribution>(event) ||
         std::holds_alternative<core::Tick>(event) ||
         std::holds_alternative<core::Configure>(event);
}

}  // namespace

Server::Server(const WorldConfig& world, Random& random, Agenda& agenda, Network& network,
               Oracle& oracle, Trace& trace)
    : world_(world),
      random_(random),
      agenda_(agenda),
      network_(network),
      oracle_(oracle),
      trace_(trace),
      counted_in_calm_(world.num_workers) {}

void Server::Begin() {
  if (engine_ != nullptr) return;
  if (snapshots_.empty()) {
    settings_ = Settings{world_.policy, world_.learning_rate, 1};
    const uint64_t history = random_.Next() | 1;
    engine_ = MakeEngine(world_, history, settings_);
    oracle_.Created(history, settings_, Now());
    is_deleted_ = false;
    trace_.Say(agenda_.now(), "created", history);
    Save();
  } else {
    // Mostly the last one; now and then an older one is all that is left.
    const size_t back = random_.Chance(0.8) ? 0 : random_.Below(snapshots_.size());
    snapshots_.resize(snapshots_.size() - back);
    const Snapshot& snapshot = snapshots_.back();
    const bool lost = snapshot.marks != marks_;
    const uint64_t history = lost || random_.Chance(0.2) ? random_.Next() | 1 : 0;
    if (history != 0) ++totals_.new_histories;
    settings_ = snapshot.settings;
    engine_ = LoadEngine(world_, snapshot.state, settings_, history, ToTime(Now()));
    marks_ = snapshot.marks;
    oracle_.Restored(*snapshot.memory, history, settings_, Now(), engine_.get());
    trace_.Say(agenda_.now(), "restored", history, settings_.config_version);
    if (engine_ == nullptr) return;
    if (history != 0) Save();
  }
  Rearm();
}

void Server::Save() {
  if (engine_ == nullptr || step_open_) return;
  Snapshot snapshot{engine_->Save(), settings_, marks_, oracle_.Remember()};
  // What was saved is what comes back, unless a tick is due: a restored machine has no such debts.
  const auto copy = LoadEngine(world_, snapshot.state, settings_, 0, ToTime(Now()));
  const bool same = copy != nullptr && copy->Save() == snapshot.state;
  oracle_.SawCopy(same || engine_->machine().NextTick() <= ToTime(Now()), Now());
  if (snapshots_.size() == kMaxSnapshots) snapshots_.erase(snapshots_.begin());
  snapshots_.push_back(std::move(snapshot));
}

void Server::OnSnapshot() { Save(); }

void Server::Shut(const char* reason) {
  // In an order that no hashing chooses.
  std::vector<std::pair<uint64_t, Caller>> callers(waiting_.begin(), waiting_.end());
  std::sort(callers.begin(), callers.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [ticket, caller] : callers) {
    (void)ticket;
    Reply reply = MakeReply(Subject::kContribute, caller);
    reply.error = reason;
    network_.Answer(std::move(reply));
  }
  engine_.reset();
  waiting_.clear();
  tickets_.clear();
  backlog_.clear();
  step_open_ = false;
  armed_ = 0;
  ++generation_;
}

void Server::OnCrash() {
  if (engine_ == nullptr) return;
  // Half of the time it had the chance to save.
  if (random_.Chance(0.5)) Save();
  ++totals_.crashes;
  trace_.Say(agenda_.now(), "server_crash", marks_);
  Shut("UNREACHABLE");
  agenda_.In(Seconds(random_.Between(0.1, 8.0)), Happening::kServerStart);
}

void Server::OnDelete() {
  if (engine_ == nullptr) return;
  ++totals_.deletions;
  trace_.Say(agenda_.now(), "deleted");
  Shut("SESSION_DELETED");
  snapshots_.clear();
  marks_ = 0;
  is_deleted_ = true;
  agenda_.In(Seconds(random_.Between(0.1, 8.0)), Happening::kServerStart);
}

void Server::OnConfigure() {
  if (engine_ == nullptr) return;
  settings_.policy = ChangePolicy(world_, settings_.policy, random_);
  // Another rate than before, so that there is always something to change.
  settings_.learning_rate += static_cast<double>(random_.Whole(1, 16)) / 64;
  if (settings_.learning_rate > 1) settings_.learning_rate -= 0.875;
  ++settings_.config_version;
  ++marks_;
  ++totals_.changes;
  Take({ToConfigure(settings_), {}, {}, Subject::kPull, 0});
}

void Server::OnClockJump() {
  ++totals_.jumps;
  // Forward, past every lease; now and then back, which must make no difference.
  clock_offset_ += random_.Chance(0.8) ? Seconds(random_.Between(0.5, 60.0))
                                       : -Seconds(random_.Between(0.0, 5.0));
  trace_.Say(agenda_.now(), "clock_jump", clock_offset_);
  armed_ = 0;
  if (engine_ != nullptr) Rearm();
}

void Server::OnBroken(uint32_t process, uint64_t call) {
  const auto found = tickets_.find({process, call});
  if (engine_ == nullptr || found == tickets_.end()) return;
  const uint64_t ticket = found->second;
  const auto caller = waiting_.find(ticket);
  if (caller == waiting_.end()) return;
  waiting_.erase(caller);
  tickets_.erase(found);
  Take({core::CallEnded{WorkerName(oracle_.WorkerOfTicket(ticket)), ticket},
        {},
        {},
        Subject::kPull,
        0});
}

void Server::OnTick(uint64_t generation) {
  if (engine_ == nullptr || generation != generation_) return;
  armed_ = 0;
  Take({core::Tick{}, {}, {}, Subject::kPull, 0});
}

void Server::OnRequest(const Request& request) {
  const Caller caller{request.process, request.call};
  if (engine_ == nullptr) {
    if (random_.Chance(0.5)) return;
    Reply reply = MakeReply(request.subject, caller);
    reply.error = is_deleted_ ? "SESSION_NOT_FOUND" : "UNREACHABLE";
    network_.Answer(std::move(reply));
    return;
  }
  const std::string name = WorkerName(request.key.worker);
  const uint64_t incarnation = request.key.incarnation;
  Input input;
  input.caller = caller;
  input.subject = request.subject;
  input.incarnation = incarnation;
  switch (request.subject) {
    case Subject::kPull:
      network_.Answer(MakeReply(Subject::kPull, caller));
      return;
    case Subject::kJoin:
      input.incarnation = next_incarnation_++;
      input.event = core::Join{name, input.incarnation,
                               request.gradient ? core::Roles{core::Role::kGradient}
                                                : core::Roles{core::Role::kStatistics}};
      break;
    case Subject::kHeartbeat:
      input.event = core::Heartbeat{request.history, name, incarnation};
      break;
    case Subject::kLeave:
      input.event = core::Leave{request.history, name, incarnation};
      break;
    case Subject::kContribute: {
      core::Contribution contribution;
      contribution.history = request.history;
      contribution.worker = name;
      contribution.incarnation = incarnation;
      contribution.sequence = request.key.sequence;
      contribution.base_version = request.payload.base_version;
      contribution.finite = request.payload.finite;
      contribution.digest = request.payload.Digest();
      contribution.loss = request.payload.loss;
      contribution.weight = request.payload.weight;
      contribution.ticket = next_ticket_++;
      contribution.may_wait = request.may_wait;
      input.payload = request.payload;
      input.event = std::move(contribution);
      break;
    }
  }
  Take(std::move(input));
}

void Server::Take(Input input) {
  if (step_open_ && WaitsForStep(input.event)) {
    backlog_.push_back(std::move(input));
    return;
  }
  Feed(input);
  Drain();
}

void Server::Drain() {
  while (engine_ != nullptr && !step_open_ && !backlog_.empty()) {
    const Input input = std::move(backlog_.front());
    backlog_.pop_front();
    Feed(input);
  }
}

void Server::Feed(const Input& input) {
  ++totals_.events;
  const auto* configure = std::get_if<core::Configure>(&input.event);
  const core::Effects effects =
      configure != nullptr
          ? engine_->Configure(
                Settings{configure->aggregation, configure->schedule.rate().value().learning_rate,
                         configure->config_version},
                ToTime(Now()))
          : engine_->Handle(input.event, &input.payload, ToTime(Now()));
  // A change of the configuration was counted when it was made.
  if (configure == nullptr) marks_ += effects.durable.size();
  oracle_.Saw(input.event, input.payload, effects, *engine_, Now());
  Tell(input, effects);
  TellReleased(effects);
  Follow(effects);
  if (engine_ != nullptr) Rearm();
}

void Server::Follow(const core::Effects& effects) {
  if (!effects.step.has_value()) return;
  step_open_ = true;
  const Nanoseconds duration = Seconds(random_.Between(0, world_.step_seconds));
  if (duration == 0) return FinishStep();
  agenda_.In(duration, Happening::kStepDone, 0, totals_.versions);
}

void Server::OnStepDone(uint64_t number) {
  if (engine_ == nullptr || !step_open_ || number != totals_.versions) return;
  FinishStep();
  Drain();
}

void Server::FinishStep() {
  ++totals_.events;
  ++totals_.versions;
  const core::Effects effects = engine_->TakeStep(ToTime(Now()));
  marks_ += effects.durable.size();
  step_open_ = false;
  if (effects.made != nullptr) {
    totals_.folded += effects.made->members.size();
    if (calm_) {
      for (const core::RoundMember& member : effects.made->members) {
        counted_in_calm_[WorkerOf(member.worker)] = true;
      }
    }
  }
  oracle_.Saw(core::StepTaken{}, Payload{}, effects, *engine_, Now());
  TellReleased(effects);
  Rearm();
}

void Server::Tell(const Input& input, const core::Effects& effects) {
  if (input.caller.process == 0 && input.subject == Subject::kPull) return;  // our own
  Reply reply = MakeReply(input.subject, input.caller);
  reply.incarnation = input.incarnation;
  if (!effects.status.ok()) {
    reply.error = core::ReasonName(effects.status);
  } else if (input.subject == Subject::kContribute) {
    const uint64_t ticket = std::get<core::Contribution>(input.event).ticket;
    if (effects.waits) {
      waiting_[ticket] = input.caller;
      tickets_[{input.caller.process, input.caller.call}] = ticket;
      return;
    }
    if (effects.answer.has_value()) reply.answer = *effects.answer;
  }
  if (input.subject != Subject::kLeave) network_.Answer(std::move(reply));
}

void Server::TellReleased(const core::Effects& effects) {
  for (const core::Released& released : effects.released) {
    const auto found = waiting_.find(released.ticket);
    if (found == waiting_.end()) continue;  // the oracle has said what it thinks of that
    Reply reply = MakeReply(Subject::kContribute, found->second);
    if (!released.status.ok()) {
      reply.error = core::ReasonName(released.status);
    } else {
      reply.answer = released.answer;
    }
    tickets_.erase({found->second.process, found->second.call});
    waiting_.erase(found);
    network_.Answer(std::move(reply));
  }
}

Reply Server::MakeReply(Subject subject, const Caller& caller) const {
  Reply reply;
  reply.subject = subject;
  reply.process = caller.process;
  reply.call = caller.call;
  if (engine_ != nullptr) {
    reply.history = engine_->machine().history();
    reply.version = engine_->machine().version();
    if (world_.flaw == Flaw::kOldVersion && caller.process % 4 == 0) reply.version = 0;
    reply.lease_seconds = engine_->machine().aggregation().lease_seconds;
  }
  return reply;
}

void Server::Rearm() {
  const absl::Time next = engine_->machine().NextTick();
  if (next == absl::InfiniteFuture()) return;
  Nanoseconds time = std::max(agenda_.now(), FromTime(next) - clock_offset_);
  if (armed_ != 0 && armed_ <= time) return;
  if (!calm_) time += Seconds(random_.Between(0, world_.faults.tick_late_seconds));
  armed_ = time;
  agenda_.At(time, Happening::kTick, 0, ++generation_);
}

}  // namespace talweg::simulation
