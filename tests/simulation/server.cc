// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/server.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::simulation {
namespace {

constexpr size_t kMaxSnapshots = 4;

// With a flaw some contributions do not count, or not by their weight.
void Spoil(const WorldConfig& world, const Payload& payload, std::vector<float>& values) {
  if (payload.content % 4 != 0 || !payload.finite) return;
  for (float& value : values) {
    if (world.flaw == Flaw::kLoseFold) value = 0;
    if (world.flaw == Flaw::kLoseWeight) value /= payload.weight;
  }
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
      env_(world, random, agenda, [this](const server::Decision& decision) { Saw(decision); }),
      counted_in_calm_(world.num_workers) {}

// --- The session's life.

void Server::Begin() {
  if (host_ != nullptr) return;
  if (snapshots_.empty()) {
    settings_ = kept_settings_ = Settings{world_.policy, world_.learning_rate, 1};
    const uint64_t history = env_.NewHistory();
    is_deleted_ = false;
    oracle_.Created(history, settings_, env_.Now());
    trace_.Say(agenda_.now(), "created", history);
    Host(MakeSession(world_, history, settings_));
    return Save();
  }
  // Mostly the last snapshot comes back; now and then an older one is all that is left.
  const size_t back = random_.Chance(0.8) ? 0 : random_.Below(snapshots_.size());
  snapshots_.resize(snapshots_.size() - back);
  const Snapshot& snapshot = snapshots_.back();
  const bool lost = snapshot.num_kept != env_.num_kept();
  const uint64_t history = lost || random_.Chance(0.2) ? env_.NewHistory() : 0;
  if (history != 0) ++totals_.new_histories;
  settings_ = kept_settings_ = snapshot.settings;
  auto session = LoadSession(world_, snapshot.state, settings_, history, ToTime(env_.Now()));
  oracle_.Restored(*snapshot.memory, history, settings_, env_.Now(), session.get());
  trace_.Say(agenda_.now(), "restored", history, settings_.config_version);
  if (session == nullptr) return;
  Host(std::move(session));
  // What a snapshot lacks is lost for good: from now on it is no longer missed.
  if (history != 0) Save();
}

void Server::Host(std::unique_ptr<core::Session> session) {
  session_ = session.get();
  host_ = std::make_shared<server::SessionHost>(
      server::SessionIdentity{"s", "", 0, session->machine().history(), env_.WallNow()},
      session->config(), server::MemoryBudget::Reservation(), env_);
  host_->SwitchOn(world_.host_mutation);
  host_->Restore(std::move(session));
  env_.RunPosted();
}

void Server::Save() {
  if (host_ == nullptr) return;
  host_->Save([this](const absl::StatusOr<std::string>& state) {
    if (!state.ok()) return;
    Snapshot snapshot{*state, kept_settings_, env_.num_kept(), oracle_.Remember()};
    // What was saved is what comes back, unless a tick is due: a restored machine has no such
    // debts.
    const absl::Time now = ToTime(env_.Now());
    const auto copy = LoadSession(world_, snapshot.state, snapshot.settings, 0, now);
    const bool same = copy != nullptr && copy->Save() == snapshot.state;
    oracle_.SawCopy(same || session_->machine().NextTick() <= now, env_.Now());
    if (snapshots_.size() == kMaxSnapshots) snapshots_.erase(snapshots_.begin());
    snapshots_.push_back(std::move(snapshot));
  });
  env_.RunPosted();
}

void Server::OnSnapshot() { Save(); }

void Server::Shut(const char* reason) {
  // They are ended in an order that no hashing chooses.
  std::vector<std::pair<uint64_t, Caller>> callers;
  for (const auto& [ticket, asked] : asked_) callers.emplace_back(ticket, asked.caller);
  std::sort(callers.begin(), callers.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [ticket, caller] : callers) {
    (void)ticket;
    Reply reply = MakeReply(Subject::kContribute, caller);
    reply.error = reason;
    network_.Answer(std::move(reply));
  }
  asked_.clear();
  tickets_.clear();
  host_.reset();
  session_ = nullptr;
  env_.Forget();
}

void Server::OnCrash() {
  if (host_ == nullptr) return;
  // Half of the time the server had the chance to save.
  if (random_.Chance(0.5)) Save();
  ++totals_.crashes;
  trace_.Say(agenda_.now(), "server_crash", env_.num_kept());
  Shut("UNREACHABLE");
  agenda_.In(Seconds(random_.Between(0.1, 8.0)), Happening::kServerStart);
}

void Server::OnDelete() {
  if (host_ == nullptr) return;
  ++totals_.deletions;
  trace_.Say(agenda_.now(), "deleted");
  host_->Delete();
  env_.FinishAll();
  Shut("SESSION_DELETED");
  snapshots_.clear();
  is_deleted_ = true;
  agenda_.In(Seconds(random_.Between(0.1, 8.0)), Happening::kServerStart);
}

void Server::OnConfigure() {
  if (host_ == nullptr) return;
  settings_.policy = ChangePolicy(world_, settings_.policy, random_);
  // Another rate than before, so that there is always something to change.
  settings_.learning_rate += static_cast<double>(random_.Whole(1, 16)) / 64;
  if (settings_.learning_rate > 1) settings_.learning_rate -= 0.875;
  ++settings_.config_version;
  ++totals_.changes;
  host_->Reconfigure(
      0, [config = ToConfig(world_, settings_)](const core::SessionConfig&) { return config; },
      [this](const absl::StatusOr<server::SessionDescription>& changed) {
        if (!changed.ok()) return;
        CheckTold(changed->version);
      });
  env_.RunPosted();
}

void Server::OnClockJump() {
  ++totals_.jumps;
  // The clock jumps forward, past every lease; now and then back, which must make no difference.
  env_.Jump(random_.Chance(0.8) ? Seconds(random_.Between(0.5, 60.0))
                                : -Seconds(random_.Between(0.0, 5.0)));
  trace_.Say(agenda_.now(), "clock_jump", env_.Now() - agenda_.now());
}

void Server::CalmDown() {
  calm_ = true;
  env_.CalmDown();
}

// --- What the host decides.

void Server::Saw(const server::Decision& decision) {
  ++totals_.events;
  const auto* contribution = std::get_if<core::Contribution>(decision.event);
  if (const auto* configure = std::get_if<core::Configure>(decision.event)) {
    kept_settings_ = ToSettings(*configure);
  }
  if (decision.effects.made != nullptr) {
    ++totals_.versions;
    totals_.folded += decision.effects.made->members.size();
    if (calm_) {
      for (const core::RoundMember& member : decision.effects.made->members) {
        counted_in_calm_[WorkerOf(member.worker)] = true;
      }
    }
  }
  oracle_.Saw(*decision.event,
              contribution != nullptr ? asked_.at(contribution->ticket).payload : Payload{},
              decision.effects, decision.session, FromTime(decision.time));
}

// --- Calls.

void Server::OnBroken(uint32_t process, uint64_t call) {
  const auto found = tickets_.find({process, call});
  if (host_ == nullptr || found == tickets_.end()) return;
  const uint64_t ticket = found->second;
  tickets_.erase(found);
  host_->Abandon(ticket);
  env_.RunPosted();
}

void Server::OnRequest(const Request& request) {
  const Caller caller{request.process, request.call};
  if (host_ == nullptr) {
    if (random_.Chance(0.5)) return;
    Reply reply = MakeReply(request.subject, caller);
    reply.error = is_deleted_ ? "SESSION_NOT_FOUND" : "UNREACHABLE";
    network_.Answer(std::move(reply));
    return;
  }
  const std::string name = WorkerName(request.key.worker);
  Reply reply = MakeReply(request.subject, caller);
  reply.incarnation = request.key.incarnation;
  const auto told = [this, reply](const absl::StatusOr<server::JoinOutcome>& outcome) {
    ToldJoin(reply, outcome);
  };
  switch (request.subject) {
    case Subject::kPull:
      network_.Answer(std::move(reply));
      break;
    case Subject::kJoin:
      host_->Join(
          {name, 0,
           request.gradient ? core::Roles{core::Role::kGradient}
                            : core::Roles{core::Role::kStatistics},
           request.nonce},
          [this] { return incarnations_.Issue(); }, told);
      break;
    case Subject::kHeartbeat:
      host_->Heartbeat({request.history, name, request.key.incarnation}, told);
      break;
    case Subject::kLeave:
      host_->Leave({request.history, name, request.key.incarnation}, [](const absl::Status&) {});
      break;
    case Subject::kContribute:
      Contribute(request, caller);
      break;
  }
  env_.RunPosted();
}

std::shared_ptr<core::StagedGradient> Server::Stage(const std::vector<float>& gradient) const {
  auto staged = std::make_shared<core::StagedGradient>(gradient.size());
  staged->Begin(host_->group_map());
  staged->Stage({0, gradient.size()}, core::Dtype::kFloat32,
                reinterpret_cast<const char*>(gradient.data()));
  return staged;
}

void Server::Contribute(const Request& request, const Caller& caller) {
  const Payload& payload = request.payload;
  server::StepInput input;
  input.contribution.history = request.history;
  input.contribution.worker = WorkerName(request.key.worker);
  input.contribution.incarnation = request.key.incarnation;
  input.contribution.sequence = request.key.sequence;
  input.contribution.base_version = payload.base_version;
  input.contribution.weight = payload.weight;
  input.contribution.may_wait = request.may_wait;
  input.contribution.closes_round = payload.closes_round;
  input.contribution.abstains = payload.abstains;
  if (payload.loss.has_value()) input.losses = {*payload.loss};
  const auto gradient = std::make_shared<std::vector<float>>(GradientOf(world_, payload));
  Spoil(world_, payload, *gradient);
  // Some contributions come in one message and are folded one by one; some come over streams and
  // are folded several at a time.
  if (payload.abstains) {
    input.losses.clear();
  } else if (payload.content % 3 == 0) {
    input.gradient = {
        core::Dtype::kFloat32,
        {reinterpret_cast<const char*>(gradient->data()), gradient->size() * sizeof(float)}};
  } else {
    input.staged = Stage(*gradient);
  }
  const auto ticket = std::make_shared<uint64_t>(0);
  *ticket = host_->Step(std::move(input),
                        [this, ticket, gradient](absl::StatusOr<server::StepOutcome> outcome) {
                          ToldStep(*ticket, outcome);
                        });
  asked_[*ticket] = {caller, payload};
  tickets_[{caller.process, caller.call}] = *ticket;
}

void Server::ToldStep(uint64_t ticket, const absl::StatusOr<server::StepOutcome>& outcome) {
  const auto found = asked_.find(ticket);
  if (found == asked_.end()) return;  // the host has gone
  const Caller caller = found->second.caller;
  asked_.erase(found);
  const auto current = tickets_.find({caller.process, caller.call});
  if (current != tickets_.end() && current->second == ticket) tickets_.erase(current);
  if (absl::IsCancelled(outcome.status())) return;  // its caller has gone
  Reply reply = MakeReply(Subject::kContribute, caller);
  if (outcome.ok()) {
    reply.answer = outcome->answer;
    const bool is_applied = outcome->answer.verdict == core::Verdict::kApplied;
    CheckTold(
        std::max(outcome->parameters->version, is_applied ? outcome->answer.applied_version : 0));
  } else {
    reply.error = core::ReasonName(outcome.status());
  }
  network_.Answer(std::move(reply));
}

void Server::ToldJoin(Reply reply, const absl::StatusOr<server::JoinOutcome>& outcome) {
  if (outcome.ok()) {
    reply.history = outcome->history;
    reply.version = outcome->version;
    if (world_.flaw == Flaw::kOldVersion && reply.process % 4 == 0) reply.version = 0;
    reply.incarnation = outcome->incarnation;
    reply.lease_seconds = outcome->lease_seconds;
    CheckTold(outcome->version);
  } else {
    reply.error = core::ReasonName(outcome.status());
  }
  network_.Answer(std::move(reply));
}

uint64_t Server::VisibleVersion() const {
  uint64_t version = 0;
  host_->Read(core::Session::Point::kParameters,
              [&version](const absl::StatusOr<server::PointOutcome>& point) {
                if (point.ok()) version = point->values->version;
              });
  return version;
}

void Server::CheckTold(uint64_t version) {
  if (env_.num_kept() < env_.num_decided()) {
    oracle_.Violate(env_.Now(), "told_before_durable",
                    absl::StrCat(env_.num_decided() - env_.num_kept(),
                                 " changes would be lost by a crash when a call is answered"));
  }
  if (!host_->deleted() && VisibleVersion() < version) {
    oracle_.Violate(env_.Now(), "told_before_visible",
                    absl::StrCat("a call is told of version ", version,
                                 ", but who pulls gets version ", VisibleVersion()));
  }
}

Reply Server::MakeReply(Subject subject, const Caller& caller) const {
  Reply reply;
  reply.subject = subject;
  reply.process = caller.process;
  reply.call = caller.call;
  if (host_ != nullptr) {
    reply.history = host_->identity().history;
    reply.version = VisibleVersion();
    if (world_.flaw == Flaw::kOldVersion && caller.process % 4 == 0) reply.version = 0;
    reply.lease_seconds = session_->machine().aggregation().lease_seconds;
  }
  return reply;
}

}  // namespace talweg::simulation
