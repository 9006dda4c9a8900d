// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/expectations.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "core/members/answer.h"

namespace talweg::core {

void Expectations::Freeze(const OpenRound& round, Workers& workers, size_t num_live_gradient,
                          absl::Time now) {
  frozen_ = true;
  frozen_at_ = now;
  outstanding_ = num_live_gradient - num_stalled_;
  // Some have contributed already, and may have waited for enough workers to come.
  for (const OpenRound::Place& place : round.places) {
    const Worker& worker = workers[place.index];
    if (worker.live && worker.gives_gradients() && !worker.stalled) --outstanding_;
  }
  for (const OpenRound::Bystander& abstainer : round.abstainers) {
    const Worker& worker = workers[abstainer.index];
    if (worker.live && worker.gives_gradients() && !worker.stalled) --outstanding_;
  }
  for (const auto [index, incarnation] : round.bystanders) {
    Worker& worker = workers[index];
    if (worker.incarnation == incarnation) Release(worker);
  }
}

void Expectations::Release(Worker& worker) {
  if (!Expects(worker)) return;
  worker.excluded_from = serial_;
  --outstanding_;
}

void Expectations::ReleaseLate(Worker& worker) {
  if (Expects(worker)) late_.push_back(worker.name);
  Release(worker);
}

bool Expectations::IsFirstOutdated(Worker& worker) {
  if (worker.outdated_in == serial_) return false;
  worker.outdated_in = serial_;
  return true;
}

void Expectations::Stall(Worker& worker) {
  ReleaseLate(worker);
  worker.stalled = true;
  ++num_stalled_;
}

void Expectations::Gone(Worker& worker, bool expired) {
  if (expired && Expects(worker)) {
    expired_.push_back(worker.name);
    worker.lease_ended = true;
    Release(worker);
  }
  ReleaseLate(worker);
  if (worker.stalled) --num_stalled_;
  worker.stalled = false;
}

absl::Time Expectations::OwesSince(const Worker& worker) const {
  if (worker.counted && !worker.held) return worker.progress_from;
  if (Expects(worker)) return std::max(worker.progress_from, frozen_at_);
  return absl::InfiniteFuture();
}

WorkerList ListOf(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  WorkerList list{names.size(), std::move(names)};
  if (list.count > kMaxLateNames) list.names.resize(kMaxLateNames);
  return list;
}

WorkerList Expectations::Expected(const Workers& workers) const {
  return ListOf(workers, [this](const Worker& worker) { return Expects(worker); });
}

std::vector<std::string> Expectations::WithoutContribution(const std::vector<std::string>& names,
                                                           const Workers& workers) const {
  std::vector<std::string> without;
  for (const std::string& name : names) {
    const uint32_t index = workers.Find(name);
    if (index == Workers::kNone || !HasContributed(workers[index])) without.push_back(name);
  }
  return without;
}

WorkerList Expectations::Late(const Workers& workers) const {
  std::vector<std::string> names = WithoutContribution(late_, workers);
  std::vector<std::string> expired = WithoutContribution(expired_, workers);
  names.insert(names.end(), std::make_move_iterator(expired.begin()),
               std::make_move_iterator(expired.end()));
  return ListOf(std::move(names));
}

Missing Expectations::MissAtClose(const Workers& workers) const {
  if (outstanding_ == 0 && late_.empty() && expired_.empty()) return {};
  const std::vector<std::string> expired = WithoutContribution(expired_, workers);
  const absl::flat_hash_set<absl::string_view> have_expired(expired.begin(), expired.end());
  const absl::flat_hash_set<absl::string_view> released(late_.begin(), late_.end());
  const auto is_late = [&](const Worker& worker) {
    if (have_expired.contains(worker.name)) return false;
    return Expects(worker) ||
           (released.contains(worker.name) && worker.live && !HasContributed(worker));
  };
  return {ListOf(workers, is_late), ListOf(expired)};
}

void Expectations::BeginNextRound() {
  ++serial_;
  frozen_ = false;
  frozen_at_ = {};
  outstanding_ = 0;
  late_.clear();
  expired_.clear();
}

}  // namespace talweg::core
