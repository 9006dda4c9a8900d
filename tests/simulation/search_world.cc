// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/search_world.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/session/loss_estimate.h"
#include "server/runtime/incarnation_counter.h"
#include "server/runtime/session_host.h"
#include "tests/simulation/random.h"
#include "tests/simulation/search_model.h"
#include "tests/simulation/trace.h"

namespace talweg::simulation {
namespace {

constexpr double kFaultSeconds = 60;
constexpr double kCalmSeconds = 60;

absl::Time ToTime(Nanoseconds time) { return absl::UnixEpoch() + absl::Nanoseconds(time); }

// Virtual time: what is yet to happen, in order.
class Plan {
 public:
  Nanoseconds now() const { return now_; }
  void In(double seconds, std::function<void()> what) {
    plan_.push({now_ + Seconds(std::max(0.0, seconds)), ++order_, std::move(what)});
  }
  void At(Nanoseconds time, std::function<void()> what) {
    plan_.push({std::max(now_, time), ++order_, std::move(what)});
  }
  bool empty() const { return plan_.empty(); }
  void Step() {
    std::function<void()> what = plan_.top().what;
    now_ = plan_.top().time;
    plan_.pop();
    what();
  }

 private:
  struct Entry {
    Nanoseconds time;
    uint64_t order;
    std::function<void()> what;
    bool operator>(const Entry& other) const {
      return std::pair(time, order) > std::pair(other.time, other.order);
    }
  };
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> plan_;
  Nanoseconds now_ = 0;
  uint64_t order_ = 0;
};

// The environment of the host: tasks run at once, alarms ring late, and the disk takes its time.
class VirtualSearchEnv final : public server::Env {
 public:
  using Watcher = std::function<void(const server::Decision&)>;
  VirtualSearchEnv(Plan& plan, Random& random, Watcher watcher)
      : plan_(plan), random_(random), watcher_(std::move(watcher)) {}

  absl::Time MonotonicNow() const override { return ToTime(plan_.now()); }
  absl::Time WallNow() const override { return MonotonicNow(); }
  uint64_t NewHistory() override { return (random_.Next() >> 11) | 1; }
  void Post(Task task) override { posted_.push_back(std::move(task)); }
  void RunPieces(size_t num_pieces, Piece piece, Task done) override {
    for (size_t index = 0; index < num_pieces; ++index) piece(index);
    Later(step_follows_ ? random_.Between(0, 0.2) : 0, std::move(done));
    step_follows_ = false;
  }
  uint64_t Arm(absl::Time when, std::function<void()> due) override {
    if (when == absl::InfiniteFuture()) return 0;
    const uint64_t alarm = ++last_alarm_;
    alarms_.insert(alarm);
    // Not a part of a nanosecond too early.
    const Nanoseconds time =
        absl::ToInt64Nanoseconds(absl::Ceil(when - absl::UnixEpoch(), absl::Nanoseconds(1)));
    plan_.At(time + Seconds(random_.Chance(0.3) ? random_.Between(0, lateness) : 0),
             [this, alarm, due = std::move(due), life = life_] {
               if (life != life_ || alarms_.erase(alarm) == 0) return;
               due();
               RunPosted();
             });
    return alarm;
  }
  void Cancel(uint64_t alarm) override { alarms_.erase(alarm); }
  void Keep(const server::Decision& decision, Task kept) override {
    watcher_(decision);
    step_follows_ = decision.effects.step.has_value();
    const size_t changes = decision.effects.durable.size() + decision.search->durable.size();
    if (changes == 0) return kept();
    num_decided_ += changes;
    auto shared = std::make_shared<Task>(std::move(kept));
    Later(random_.Chance(0.3) ? random_.Between(0, 0.05) : 0, [this, changes, shared] {
      num_kept_ += changes;
      (*shared)();
    });
  }
  void WarnOfNonFinite(const server::SessionIdentity&, uint64_t,
                       const core::StepReport&) override {}

  void RunPosted() {
    while (!posted_.empty()) {
      Task task = std::move(posted_.front());
      posted_.pop_front();
      task();
    }
  }
  // A crash: whatever was still to come never comes.
  void Forget() {
    ++life_;
    const auto posted = std::move(posted_);
    posted_.clear();
    alarms_.clear();
    step_follows_ = false;
    num_decided_ = num_kept_;
  }
  uint64_t num_decided() const { return num_decided_; }
  uint64_t num_kept() const { return num_kept_; }

  double lateness = 0.3;

 private:
  void Later(double seconds, Task task) {
    if (seconds == 0) return task();
    auto shared = std::make_shared<Task>(std::move(task));
    plan_.In(seconds, [this, shared, life = life_] {
      if (life != life_) return;
      (*shared)();
      RunPosted();
    });
  }

  Plan& plan_;
  Random& random_;
  Watcher watcher_;
  std::deque<Task> posted_;
  std::set<uint64_t> alarms_;
  uint64_t last_alarm_ = 0;
  uint64_t life_ = 0;
  bool step_follows_ = false;
  uint64_t num_decided_ = 0;
  uint64_t num_kept_ = 0;
};

core::Schedule ConstantRate(double learning_rate) {
  core::RateConfig rate;
  rate.learning_rate = learning_rate;
  const core::DecayKind& kind = *core::FindDecayKind("constant");
  return core::Schedule(core::ConfigOf<core::RateConfig>(rate), kind, kind.default_config());
}

// A process of a worker. It ends when it is killed, or is told that another one has its name.
struct Process {
  uint32_t worker = 0;
  uint64_t nonce = 0;
  bool alive = true;
  bool zombie = false;  // another process of its worker has begun
  uint64_t history = 0;
  uint64_t incarnation = 0;
  uint64_t turn = 0;       // what it does; an older timer means nothing
  uint64_t call = 0;       // that it waits for
  Nanoseconds frozen_until = 0;
};

class SearchWorld {
 public:
  SearchWorld(const SearchWorldConfig& config, bool aloud)
      : config_(config),
        random_(Mix(config.seed) ^ 0x5ea4c4),
        trace_(aloud),
        env_(plan_, random_, [this](const server::Decision& decision) {
          if (decision.search != nullptr && decision.search->made != nullptr) ++outcome_.versions;
          trace_.Say(plan_.now(), "event", decision.event != nullptr ? decision.event->index() : 99,
                     decision.effects.status.ok());
          model_->Saw(decision);
        }) {}

  SearchWorldOutcome Run();

 private:
  using Settings = SearchKnowledge::Settings;

  // --- The session and its server.

  void DrawSearch();
  void ChangeSearch(core::SearchConfig& search);
  core::SessionConfig ConfigOf(const Settings& settings) const;
  core::PlainPerturbation PlainOf() const;
  void Start();
  void Host(std::unique_ptr<core::Session> session);
  void Save();
  void Crash();
  void Reconfigure();
  void Told();
  uint64_t VisibleVersion();

  // --- Workers.

  template <class Act>
  void Wake(size_t process, double seconds, Act act);
  double Compute() { return random_.LongTailed(compute_seconds_); }
  double Delay() {
    return random_.Chance(calm_ ? 0 : slow_share_) ? random_.LongTailed(6)
                                                   : random_.LongTailed(0.02);
  }
  bool Loses(double share) {
    if (calm_ || !random_.Chance(share)) return false;
    ++outcome_.lost;
    return true;
  }
  void NewProcess(uint32_t worker);
  // Sends a request that the host answers, and calls `then` with the answer, or `fail` without one.
  void Call(size_t process, std::function<void(std::function<void(std::function<void()>)>)> request,
            std::function<void()> fail);
  void Join(size_t process);
  void Beat(size_t process);
  void Ask(size_t process);
  void Asked(size_t process, const absl::StatusOr<server::AskOutcome>& outcome);
  void Refused(size_t process, const absl::Status& status);
  void Evaluate(size_t process, const server::AskOutcome& outcome);
  core::Tell LossesOf(size_t process, uint32_t generation, uint32_t first, uint32_t count,
                      bool evaluate);
  void SendTell(size_t process, const core::Tell& tell, int attempts);
  void Fault();
  void CalmDown();

  const SearchWorldConfig config_;
  Random random_;
  Plan plan_;
  Trace trace_;
  VirtualSearchEnv env_;
  std::unique_ptr<SearchModel> model_;
  SearchWorldOutcome outcome_;
  bool calm_ = false;
  bool over_ = false;
  uint64_t calm_version_ = 0;

  // The world.
  std::shared_ptr<const core::Layout> layout_;
  Settings settings_;
  uint32_t num_workers_ = 0;
  double compute_seconds_ = 0;
  double slow_share_ = 0;
  double loss_share_ = 0;
  double twice_share_ = 0;
  double failed_share_ = 0;
  double non_finite_share_ = 0;
  double fault_every_ = 0;
  double crash_every_ = 0;
  double change_every_ = 0;

  struct Snapshot {
    std::string state;
    Settings settings;
    uint64_t num_kept = 0;
    SearchKnowledge known;
  };
  std::shared_ptr<server::SessionHost> host_;  // null: down
  std::vector<Snapshot> snapshots_;
  server::IncarnationCounter incarnations_;
  std::vector<Process> processes_;
  std::vector<size_t> current_;  // process of each worker
  uint64_t num_losses_ = 0;
};

// --- What the world is like.

void SearchWorld::DrawSearch() {
  core::SearchConfig search;
  search.seed = config_.seed;
  search.num_pairs = random_.Whole(1, 24);
  search.sigma = 0.125;
  search.sigma_decay = random_.Chance(0.5) ? 1 : 0.96875;
  if (random_.Chance(0.3)) search.noise = core::SearchNoise::kRademacher;
  if (random_.Chance(0.3)) {
    search.perturbation = core::PerturbationKind::kLowRank;
    search.rank = random_.Whole(1, 3);
  }
  settings_.learning_rate = 0.03125;
  switch (random_.Below(4)) {
    case 0:
      search.method = core::SearchMethod::kRandomSearch;
      settings_.learning_rate = 1;
      break;
    case 1:
      search.method = core::SearchMethod::kEvolutionStrategy;
      search.differences = core::Differences::kOneSided;
      search.baseline =
          random_.Chance(0.5) ? core::Baseline::kMean : core::Baseline::kEvaluated;
      break;
    default:
      search.method = core::SearchMethod::kEvolutionStrategy;
      search.evaluate_every = random_.Chance(0.5) ? random_.Whole(1, 3) : 0;
  }
  if (random_.Chance(0.3)) search.direction = core::Direction::kMaximize;
  ChangeSearch(search);
  settings_.search = search;
  settings_.lease_seconds = random_.Whole(3, 10);
  settings_.config_version = 1;
  num_workers_ = static_cast<uint32_t>(random_.Whole(2, 8));
  compute_seconds_ = random_.Between(0.05, 1);
  slow_share_ = random_.Between(0, 0.1);
  loss_share_ = random_.Between(0, 0.15);
  twice_share_ = random_.Between(0, 0.3);
  failed_share_ = random_.Chance(0.5) ? random_.Between(0, 0.3) : 0;
  non_finite_share_ = random_.Chance(0.5) ? random_.Between(0, 0.2) : 0;
  fault_every_ = random_.Between(0.3, 4);
  crash_every_ = random_.Chance(0.6) ? random_.Between(5, 30) : 0;
  change_every_ = random_.Chance(0.6) ? random_.Between(2, 20) : 0;
}

// What may be changed live.
void SearchWorld::ChangeSearch(core::SearchConfig& search) {
  search.num_pairs = random_.Whole(1, 24);
  search.sigma = static_cast<double>(random_.Whole(1, 16)) / 64;
  search.evaluation_seconds = random_.Between(0.5, 8);
  search.max_failures = random_.Whole(1, 4);
  search.non_finite =
      random_.Chance(0.5) ? core::NonFinitePolicy::kDrop : core::NonFinitePolicy::kRetry;
  search.close = core::GenerationClose::kAll;
  search.close_pairs = 0;
  search.close_seconds = 0;
  if (random_.Chance(0.3)) {
    search.close = core::GenerationClose::kCount;
    search.close_pairs = random_.Whole(1, search.num_pairs);
  } else if (random_.Chance(0.4)) {
    search.close = core::GenerationClose::kDeadline;
    search.close_seconds = random_.Between(0.2, 4);
  }
  if (!search.keeps_best()) {
    search.scale = random_.Chance(0.5) ? core::EstimateScale::kTutorial
                                       : core::EstimateScale::kGradient;
    search.shaping = static_cast<core::Shaping>(random_.Below(3));
    if (search.shaping == core::Shaping::kCenteredRanks && random_.Chance(0.5)) {
      search.non_finite = core::NonFinitePolicy::kWorst;
    }
  }
}

core::SessionConfig SearchWorld::ConfigOf(const Settings& settings) const {
  const core::Method& method = *core::FindMethod("gradient_descent");
  core::SessionConfig config{layout_, &method, method.default_config(),
                             ConstantRate(settings.learning_rate), {}};
  core::AggregationConfig aggregation;
  aggregation.lease_seconds = settings.lease_seconds;
  config.aggregation = core::ConfigOf(aggregation);
  config.search = core::ConfigOf(settings.search);
  const absl::Status valid = settings.search.Validate();
  TALWEG_CHECK(valid.ok() && config.Resolve().ok());
  return config;
}

core::PlainPerturbation SearchWorld::PlainOf() const {
  const core::SearchConfig& search = settings_.search;
  core::PlainPerturbation plain{search.seed, search.noise == core::SearchNoise::kRademacher,
                                static_cast<uint32_t>(search.rank), {}};
  for (size_t tensor = 0; tensor < layout_->tensors().size(); ++tensor) {
    const std::vector<uint64_t>& shape = layout_->tensors()[tensor].shape;
    plain.tensors.push_back({layout_->size_of(tensor), shape.size() >= 2 ? shape.front() : 0});
  }
  return plain;
}

// --- The server.

void SearchWorld::Start() {
  if (host_ != nullptr) return;
  if (snapshots_.empty()) {
    const uint64_t history = env_.NewHistory();
    auto initial = std::make_shared<core::Parameters>(layout_->num_elements());
    std::vector<float> values(layout_->num_elements());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(Mix(config_.seed + i) % 2048) / 1024 - 1;
    }
    std::copy(values.begin(), values.end(), initial->values.data());
    model_ = std::make_unique<SearchModel>(PlainOf(), values, settings_, history);
    Host(std::make_unique<core::Session>(ConfigOf(settings_), history, std::move(initial)));
    return Save();
  }
  // Mostly the last snapshot comes back; now and then an older one is all that is left.
  const size_t back = random_.Chance(0.8) ? 0 : random_.Below(snapshots_.size());
  snapshots_.resize(snapshots_.size() - back);
  const Snapshot& snapshot = snapshots_.back();
  const bool lost = snapshot.num_kept != env_.num_kept();
  const uint64_t history = lost ? env_.NewHistory() : 0;
  if (lost) ++outcome_.new_histories;
  settings_ = snapshot.settings;
  auto session = core::Session::Load(snapshot.state, env_.MonotonicNow(), history);
  model_->Restore(snapshot.known, history, env_.MonotonicNow());
  trace_.Say(plan_.now(), "restored", history, settings_.config_version);
  if (!session.ok()) return model_->Violate("state_refused", session.status().ToString());
  const auto& values = (*session)->parameters()->values;
  if (!std::equal(values.span().begin(), values.span().end(), snapshot.known.parameters.begin())) {
    model_->Violate("state_differs", "parameters are others than those that were saved");
  }
  Host(*std::move(session));
  if (history != 0) Save();
}

void SearchWorld::Host(std::unique_ptr<core::Session> session) {
  session->SwitchOn(config_.mutation);
  host_ = std::make_shared<server::SessionHost>(
      server::SessionIdentity{"s", "", 0, session->history(), env_.WallNow()}, session->config(),
      server::MemoryBudget::Reservation(), env_);
  host_->SwitchOn(config_.host_mutation);
  host_->Restore(std::move(session));
  env_.RunPosted();
}

void SearchWorld::Save() {
  if (host_ == nullptr) return;
  host_->Save([this](const absl::StatusOr<std::string>& state) {
    if (!state.ok()) return;
    const auto copy = core::Session::Load(*state, env_.MonotonicNow());
    if (!copy.ok() || (*copy)->Save() != *state) {
      model_->Violate("state_differs", "what was saved is not what comes back");
    }
    if (snapshots_.size() == 3) snapshots_.erase(snapshots_.begin());
    snapshots_.push_back({*state, settings_, env_.num_kept(), model_->known()});
  });
  env_.RunPosted();
}

void SearchWorld::Crash() {
  if (host_ == nullptr) return;
  if (random_.Chance(0.7)) Save();
  ++outcome_.crashes;
  trace_.Say(plan_.now(), "server_crash", env_.num_kept());
  host_.reset();
  env_.Forget();
  plan_.In(random_.Between(0.05, 3), [this] { Start(); });
}

void SearchWorld::Reconfigure() {
  if (host_ == nullptr) return;
  Settings next = settings_;
  ChangeSearch(next.search);
  // Another rate than before, so that there is always something to change.
  if (!next.search.keeps_best()) {
    next.learning_rate = settings_.learning_rate > 0.25 ? 0.015625 : settings_.learning_rate * 2;
  }
  if (random_.Chance(0.3)) next.lease_seconds = random_.Whole(3, 10);
  ++outcome_.changes;
  trace_.Say(plan_.now(), "configure", next.search.num_pairs);
  host_->Reconfigure(
      0, [config = ConfigOf(next)](const core::SessionConfig&) { return config; },
      [this, next](const absl::StatusOr<server::SessionDescription>& changed) mutable {
        if (!changed.ok()) return model_->Violate("error_wrong", changed.status().ToString());
        next.config_version = changed->config_version;
        settings_ = next;
        Told();
      });
  env_.RunPosted();
}

uint64_t SearchWorld::VisibleVersion() {
  uint64_t version = 0;
  host_->Read(core::Session::Point::kParameters,
              [&version](const absl::StatusOr<server::PointOutcome>& point) {
                if (point.ok()) version = point->values->version;
              });
  return version;
}

// Somebody is told something.
void SearchWorld::Told() {
  if (env_.num_kept() < env_.num_decided()) {
    model_->Violate("told_before_durable", "a crash would undo what a call is told");
  }
}

// --- Workers.

template <class Act>
void SearchWorld::Wake(size_t process, double seconds, Act act) {
  const uint64_t turn = ++processes_[process].turn;
  plan_.In(seconds, [this, process, turn, act] {
    const Process& self = processes_[process];
    if (!self.alive || self.turn != turn) return;
    if (self.frozen_until > plan_.now()) {
      const double left = static_cast<double>(self.frozen_until - plan_.now()) / kSecond;
      return Wake(process, left + 0.001, act);
    }
    act();
  });
}

void SearchWorld::NewProcess(uint32_t worker) {
  const size_t process = processes_.size();
  Process self;
  self.worker = worker;
  self.nonce = random_.Next() | 1;
  processes_.push_back(self);
  current_[worker] = process;
  Join(process);
}

// The connection of a call that is given up may break, which the host learns.
void SearchWorld::Call(size_t process,
                       std::function<void(std::function<void(std::function<void()>)>)> request,
                       std::function<void()> fail) {
  Process& self = processes_[process];
  const uint64_t call = ++self.call;
  const auto reply = [this, process, call](std::function<void()> then) {
    if (Loses(loss_share_)) return;
    plan_.In(Delay(), [this, process, call, then = std::move(then)] {
      const Process& caller = processes_[process];
      if (!caller.alive || caller.call != call) return;
      Wake(process, 0, then);
    });
  };
  const int times = !calm_ && random_.Chance(twice_share_) ? 2 : 1;
  for (int time = 0; time < times; ++time) {
    if (Loses(loss_share_)) continue;
    plan_.In(Delay(), [this, reply, request] {
      if (host_ == nullptr) return;
      request(reply);
      env_.RunPosted();
    });
  }
  Wake(process, 15, [this, process, call, fail = std::move(fail)] {
    if (processes_[process].call == call) fail();
  });
}

void SearchWorld::Join(size_t process) {
  const std::string name = absl::StrCat("w", processes_[process].worker);
  const uint64_t nonce = processes_[process].nonce;
  Call(
      process,
      [this, process, name, nonce](auto reply) {
        host_->Join(
            {name, 0, {core::Role::kSearch}, nonce}, [this] { return incarnations_.Issue(); },
            [this, process, reply](const absl::StatusOr<server::JoinOutcome>& outcome) {
              Told();
              reply([this, process, outcome] {
                if (!outcome.ok()) return Refused(process, outcome.status());
                processes_[process].history = outcome->history;
                processes_[process].incarnation = outcome->incarnation;
                Ask(process);
              });
            });
      },
      [this, process] { Join(process); });
}

void SearchWorld::Beat(size_t process) {
  const Process& self = processes_[process];
  if (!self.alive) return;
  if (self.frozen_until <= plan_.now() && self.incarnation != 0 && !Loses(loss_share_)) {
    const core::Heartbeat beat{self.history, absl::StrCat("w", self.worker), self.incarnation};
    plan_.In(Delay(), [this, beat] {
      if (host_ == nullptr) return;
      host_->Heartbeat(beat, [this](const absl::StatusOr<server::JoinOutcome>&) { Told(); });
      env_.RunPosted();
    });
  }
  plan_.In(1, [this, process] { Beat(process); });
}

void SearchWorld::Refused(size_t process, const absl::Status& status) {
  Process& self = processes_[process];
  const std::string reason = core::ReasonName(status);
  if (reason == "INCARNATION_FENCED") {
    self.alive = false;
    // The last process of a worker begins anew; so would a launcher.
    if (current_[self.worker] == process) NewProcess(self.worker);
    return;
  }
  if (reason == "HISTORY_CHANGED" || reason == "WORKER_NOT_JOINED") self.nonce = random_.Next() | 1;
  Wake(process, 0.05, [this, process] { Join(process); });
}

void SearchWorld::Ask(size_t process) {
  const Process& self = processes_[process];
  core::Ask ask;
  ask.history = self.history;
  ask.worker = absl::StrCat("w", self.worker);
  ask.incarnation = self.incarnation;
  ask.capacity = static_cast<uint32_t>(random_.Whole(1, 6));
  ask.may_wait = random_.Chance(0.9);
  const auto ticket = std::make_shared<uint64_t>(0);
  Call(
      process,
      [this, process, ask, ticket](auto reply) {
        *ticket = host_->Ask(
            ask, [this, process, reply](const absl::StatusOr<server::AskOutcome>& outcome) {
              if (absl::IsCancelled(outcome.status())) return;
              Told();
              if (outcome.ok() && VisibleVersion() < outcome->answer.version) {
                model_->Violate("told_before_visible", "a lease is for a version nobody can read");
              }
              reply([this, process, outcome] { Asked(process, outcome); });
            });
      },
      [this, process, ticket, host = std::weak_ptr(host_)] {
        // Sometimes the server learns that the call was given up.
        if (random_.Chance(0.7) && *ticket != 0 && host_ != nullptr && host.lock() == host_) {
          host_->Abandon(*ticket);
          env_.RunPosted();
        }
        Ask(process);
      });
}

void SearchWorld::Asked(size_t process, const absl::StatusOr<server::AskOutcome>& outcome) {
  if (!outcome.ok()) return Refused(process, outcome.status());
  if (outcome->answer.lease.has_value()) return Evaluate(process, *outcome);
  Wake(process, 0.3, [this, process] { Ask(process); });
}

// No two evaluations give the same losses: it makes a difference which of them counts.
core::Tell SearchWorld::LossesOf(size_t process, uint32_t generation, uint32_t first,
                                 uint32_t count, bool evaluate) {
  const Process& self = processes_[process];
  core::Tell tell;
  tell.history = self.history;
  tell.worker = absl::StrCat("w", self.worker);
  tell.incarnation = self.incarnation;
  tell.generation = generation;
  tell.first_pair = first;
  tell.evaluate = evaluate;
  tell.num_examples = 1;
  if (random_.Chance(0.3)) tell.capacity = static_cast<uint32_t>(random_.Whole(1, 6));
  const size_t per_pair = evaluate ? 1 : settings_.search.losses_per_pair();
  bool all_ok = true;
  for (uint32_t pair = 0; pair < (evaluate ? 1 : count); ++pair) {
    const double kind = random_.Unit();
    core::PairStatus status = core::PairStatus::kOk;
    if (kind < failed_share_) status = core::PairStatus::kFailed;
    const bool not_finite = kind >= failed_share_ && kind < failed_share_ + non_finite_share_;
    if (not_finite && random_.Chance(0.3)) status = core::PairStatus::kNonFinite;
    for (size_t i = 0; i < per_pair; ++i) {
      const auto drawn = static_cast<double>(Mix(++num_losses_ + config_.seed) % 4001);
      tell.losses.push_back(drawn / 1000 - 2);
    }
    if (not_finite && status == core::PairStatus::kOk) {
      tell.losses[tell.losses.size() - 1 - random_.Below(per_pair)] =
          random_.Chance(0.5) ? std::nan("") : HUGE_VAL;
    }
    all_ok = all_ok && status == core::PairStatus::kOk;
    tell.statuses.push_back(status);
  }
  if (all_ok) tell.statuses.clear();
  return tell;
}

void SearchWorld::Evaluate(size_t process, const server::AskOutcome& outcome) {
  const core::EvaluationLease lease = *outcome.answer.lease;
  trace_.Say(plan_.now(), "evaluates", processes_[process].worker, lease.generation,
             lease.first_pair, lease.num_pairs);
  // In one or more parts, in any order.
  std::vector<core::Tell> parts;
  if (lease.num_pairs == 0) {
    parts.push_back(LossesOf(process, lease.generation, 0, 1, true));
  }
  for (uint32_t first = lease.first_pair; first < lease.first_pair + lease.num_pairs;) {
    const uint32_t left = lease.first_pair + lease.num_pairs - first;
    const auto count =
        random_.Chance(0.6) ? left : static_cast<uint32_t>(random_.Whole(1, left));
    parts.push_back(LossesOf(process, lease.generation, first, count, false));
    first += count;
  }
  if (random_.Chance(0.5)) std::reverse(parts.begin(), parts.end());
  // What nobody asked for: another generation, a range of somebody else.
  if (!calm_ && random_.Chance(0.1)) {
    const auto generation = static_cast<uint32_t>(
        std::max<int64_t>(1, int64_t{lease.generation} + 1 -
                                 static_cast<int64_t>(random_.Below(4))));
    const bool evaluate = random_.Chance(0.2);
    parts.push_back(LossesOf(process, generation,
                             evaluate ? 0 : static_cast<uint32_t>(random_.Below(24)),
                             static_cast<uint32_t>(random_.Whole(1, 4)), evaluate));
  }
  double seconds = Compute();
  for (const core::Tell& part : parts) {
    const uint64_t incarnation = processes_[process].incarnation;
    plan_.In(seconds, [this, process, part, incarnation] {
      const Process& self = processes_[process];
      if (self.alive && self.incarnation == incarnation) SendTell(process, part, 3);
    });
    seconds += random_.Chance(0.3) ? Compute() : 0;
  }
  Wake(process, seconds + 0.05, [this, process] { Ask(process); });
}

void SearchWorld::SendTell(size_t process, const core::Tell& tell, int attempts) {
  const auto answered = std::make_shared<bool>(false);
  const int times = !calm_ && random_.Chance(twice_share_) ? 2 : 1;
  for (int time = 0; time < times; ++time) {
    if (Loses(loss_share_)) continue;
    plan_.In(Delay(), [this, process, tell, answered] {
      if (host_ == nullptr) return;
      ++outcome_.tells;
      host_->Tell(tell, [this, process, answered, tell](
                            const absl::StatusOr<server::TellOutcome>& outcome) {
        Told();
        if (outcome.ok()) {
          const core::TellAnswer& answer = outcome->answer;
          trace_.Say(plan_.now(), "told", processes_[process].worker,
                     static_cast<uint64_t>(answer.verdict), answer.counts.num_accepted);
          if (answer.verdict != core::TellVerdict::kAccepted) ++outcome_.not_counted;
          if (VisibleVersion() < answer.version) {
            model_->Violate("told_before_visible", "a tell made a version nobody can read");
          }
        }
        if (Loses(loss_share_)) return;
        *answered = true;
        if (!outcome.ok() || !outcome->answer.next.has_value() || random_.Chance(0.3)) return;
        // It goes on with what it was given, unless it has gone or begun anew.
        const server::AskOutcome next{{outcome->answer.next, false, 0, 0}, outcome->history,
                                      outcome->config, false};
        plan_.In(Delay(), [this, process, next, incarnation = tell.incarnation] {
          const Process& self = processes_[process];
          if (!self.alive || self.incarnation != incarnation) return;
          Wake(process, 0, [this, process, next] { Evaluate(process, next); });
        });
      });
      env_.RunPosted();
    });
  }
  if (attempts <= 1) return;
  plan_.In(2, [this, process, tell, attempts, answered] {
    if (*answered || !processes_[process].alive) return;
    SendTell(process, tell, attempts - 1);
  });
}

void SearchWorld::Fault() {
  if (calm_) return;
  plan_.In(random_.LongTailed(fault_every_), [this] { Fault(); });
  const auto worker = static_cast<uint32_t>(random_.Below(num_workers_));
  const size_t process = current_[worker];
  Process& self = processes_[process];
  trace_.Say(plan_.now(), "fault", worker);
  switch (random_.Below(5)) {
    case 0:  // it is killed, whatever it holds, and comes back
    case 1:
      ++outcome_.deaths;
      self.alive = false;
      plan_.In(random_.Between(0, 12), [this, worker, process] {
        if (current_[worker] == process) NewProcess(worker);
      });
      break;
    case 2:  // another process takes its name, and it goes on
      self.zombie = true;
      NewProcess(worker);
      Beat(current_[worker]);
      break;
    case 3:
      self.frozen_until = plan_.now() + Seconds(random_.LongTailed(6));
      break;
    case 4:
      if (host_ == nullptr || self.incarnation == 0) break;
      host_->Leave({self.history, absl::StrCat("w", worker), self.incarnation},
                   [this](const absl::Status&) { Told(); });
      env_.RunPosted();
      break;
  }
}

void SearchWorld::CalmDown() {
  calm_ = true;
  env_.lateness = 0;
  failed_share_ = 0;
  non_finite_share_ = 0;
  calm_version_ = model_->known().version;
  for (Process& self : processes_) self.frozen_until = 0;
  for (uint32_t worker = 0; worker < num_workers_; ++worker) {
    if (!processes_[current_[worker]].alive) NewProcess(worker);
    Beat(current_[worker]);
  }
  for (size_t process = 0; process < processes_.size(); ++process) {
    if (current_[processes_[process].worker] != process) processes_[process].alive = false;
  }
}

SearchWorldOutcome SearchWorld::Run() {
  layout_ = std::make_shared<const core::Layout>(
      *core::Layout::Create({{"w", {3, 4}}, {"b", {5}}, {"scale", {}}}));
  DrawSearch();
  Start();
  current_.resize(num_workers_);
  for (uint32_t worker = 0; worker < num_workers_; ++worker) {
    NewProcess(worker);
    Beat(current_[worker]);
  }
  plan_.In(fault_every_, [this] { Fault(); });
  std::function<void()> crash = [&] {
    if (!calm_) Crash();
    if (!calm_) plan_.In(random_.LongTailed(crash_every_), crash);
  };
  std::function<void()> change = [&] {
    if (!calm_) Reconfigure();
    if (!calm_) plan_.In(random_.LongTailed(change_every_), change);
  };
  std::function<void()> snapshot = [&] {
    Save();
    plan_.In(random_.Between(1, 6), snapshot);
  };
  if (crash_every_ > 0) plan_.In(crash_every_, crash);
  if (change_every_ > 0) plan_.In(random_.Chance(0.5) ? 0 : change_every_, change);
  plan_.In(2, snapshot);
  plan_.In(kFaultSeconds, [this] { CalmDown(); });
  plan_.In(kFaultSeconds + kCalmSeconds, [this] { over_ = true; });
  for (uint64_t at_once = 0; !over_ && model_->label().empty();) {
    const Nanoseconds before = plan_.now();
    plan_.Step();
    at_once = plan_.now() == before ? at_once + 1 : 0;
    if (at_once > 10000) model_->Violate("time_stands_still", "things go on happening at once");
  }
  if (model_->label().empty() && model_->known().version < calm_version_ + 3) {
    model_->Violate("starved", absl::StrCat("from version ", calm_version_, " to version ",
                                            model_->known().version, " in ", kCalmSeconds,
                                            " s without a fault"));
  }
  outcome_.label = model_->label();
  outcome_.text = model_->text();
  outcome_.trace_hash = trace_.hash();
  outcome_.counted = model_->num_counted();
  outcome_.refused = model_->num_refused();
  return outcome_;
}

}  // namespace

SearchWorldOutcome RunSearchWorld(const SearchWorldConfig& config, bool aloud) {
  return SearchWorld(config, aloud).Run();
}

}  // namespace talweg::simulation
