// SPDX-License-Identifier: Apache-2.0
//
// A world that searches: its workers.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "tests/simulation/search_story.h"

namespace talweg::simulation {

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
core::Tell SearchWorld::LossesOf(size_t process, uint32_t lease, uint32_t generation,
                                 uint32_t first, uint32_t count, bool evaluate) {
  const Process& self = processes_[process];
  core::Tell tell;
  tell.history = self.history;
  tell.worker = absl::StrCat("w", self.worker);
  tell.incarnation = self.incarnation;
  tell.generation = generation;
  tell.lease = lease;
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
    parts.push_back(LossesOf(process, lease.lease, lease.generation, 0, 1, true));
  }
  for (uint32_t first = lease.first_pair; first < lease.first_pair + lease.num_pairs;) {
    const uint32_t left = lease.first_pair + lease.num_pairs - first;
    const auto count = random_.Chance(0.6) ? left : static_cast<uint32_t>(random_.Whole(1, left));
    parts.push_back(LossesOf(process, lease.lease, lease.generation, first, count, false));
    first += count;
  }
  if (random_.Chance(0.5)) std::reverse(parts.begin(), parts.end());
  // What nobody asked for: another generation, a range of somebody else.
  if (!calm_ && random_.Chance(0.1)) {
    const auto generation = static_cast<uint32_t>(std::max<int64_t>(
        1, int64_t{lease.generation} + 1 - static_cast<int64_t>(random_.Below(4))));
    const bool evaluate = random_.Chance(0.2);
    parts.push_back(LossesOf(process, lease.lease, generation,
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
      host_->Tell(tell, [this, process, answered,
                         tell](const absl::StatusOr<server::TellOutcome>& outcome) {
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
        const server::AskOutcome next{
            {outcome->answer.next, false, 0, 0}, outcome->history, outcome->config, false};
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

}  // namespace talweg::simulation
