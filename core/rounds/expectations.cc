// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/expectations.h"

#include <algorithm>

#include "core/members/answer.h"

namespace talweg::core {

bool Expectations::Expects(const Worker& worker) const {
  return frozen_ && worker.live && worker.gives_gradients() && !worker.stalled &&
         worker.excluded_from != serial_ && worker.contributed_to != serial_;
}

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

void Expectations::Exclude(Worker& worker) {
  if (frozen_) worker.excluded_from = serial_;
}

void Expectations::Contributed(Worker& worker) {
  if (Expects(worker)) --outstanding_;
  worker.contributed_to = serial_;
}

bool Expectations::IsFirstOutdated(Worker& worker) {
  if (worker.outdated_in == serial_) return false;
  worker.outdated_in = serial_;
  return true;
}

void Expectations::Stall(Worker& worker) {
  Release(worker);
  worker.stalled = true;
  ++num_stalled_;
}

void Expectations::Resume(Worker& worker) {
  if (!worker.stalled) return;
  worker.stalled = false;
  --num_stalled_;
  Exclude(worker);
}

void Expectations::Gone(Worker& worker) {
  Release(worker);
  if (worker.stalled) --num_stalled_;
  worker.stalled = false;
}

absl::Time Expectations::OwesSince(const Worker& worker) const {
  if (worker.counted && !worker.held) return worker.progress_from;
  if (Expects(worker)) return std::max(worker.progress_from, frozen_at_);
  return absl::InfiniteFuture();
}

std::vector<std::string> Expectations::FirstNames(const Workers& workers) const {
  const auto less = [&](uint32_t a, uint32_t b) { return workers[a].name < workers[b].name; };
  std::vector<uint32_t> first;  // a heap, with the last of them on top
  workers.ForEach([&](uint32_t index) {
    if (!Expects(workers[index])) return;
    if (first.size() == kMaxLateNames) {
      if (!less(index, first.front())) return;
      std::pop_heap(first.begin(), first.end(), less);
      first.pop_back();
    }
    first.push_back(index);
    std::push_heap(first.begin(), first.end(), less);
  });
  std::sort_heap(first.begin(), first.end(), less);
  std::vector<std::string> names;
  names.reserve(first.size());
  for (const uint32_t index : first) names.push_back(workers[index].name);
  return names;
}

void Expectations::BeginNextRound() {
  ++serial_;
  frozen_ = false;
  frozen_at_ = {};
  outstanding_ = 0;
}

}  // namespace talweg::core
