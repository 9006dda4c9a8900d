// SPDX-License-Identifier: Apache-2.0
//
// A world that searches, from the inside: what its files share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/layout.h"
#include "server/runtime/incarnation_counter.h"
#include "server/runtime/session_host.h"
#include "tests/simulation/random.h"
#include "tests/simulation/search_env.h"
#include "tests/simulation/search_model.h"
#include "tests/simulation/search_world.h"
#include "tests/simulation/trace.h"

namespace talweg::simulation {

// A process of a worker. It ends when it is killed, or is told that another one has its name.
struct Process {
  uint32_t worker = 0;
  uint64_t nonce = 0;
  bool alive = true;
  bool zombie = false;  // another process of its worker has begun
  uint64_t history = 0;
  uint64_t incarnation = 0;
  uint64_t turn = 0;  // what it does; an older timer means nothing
  uint64_t call = 0;  // that it waits for
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
  core::Tell LossesOf(size_t process, uint32_t lease, uint32_t generation, uint32_t first,
                      uint32_t count, bool evaluate);
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

}  // namespace talweg::simulation
