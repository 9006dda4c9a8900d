// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/search_world.h"

#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/simulation/search_story.h"

namespace talweg::simulation {
namespace {

constexpr double kFaultSeconds = 60;
constexpr double kCalmSeconds = 60;

}  // namespace

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
  outcome_.poisoned = model_->num_lost();
  return outcome_;
}

SearchWorldOutcome RunSearchWorld(const SearchWorldConfig& config, bool aloud) {
  return SearchWorld(config, aloud).Run();
}

}  // namespace talweg::simulation
