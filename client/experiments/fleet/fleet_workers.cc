// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_workers.h"

#include <signal.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace talweg {
namespace {

constexpr uint64_t kMaxFailures = 3;
constexpr absl::Duration kPauseAfterFailure = absl::Seconds(1);

}  // namespace

FleetWorkers::FleetWorkers(Options options, absl::Time now)
    : options_(std::move(options)),
      plan_(options_.kill_every, options_.lease, options_.seed, now),
      workers_(options_.num_workers) {
  for (size_t i = 0; i < workers_.size(); ++i) workers_[i].name = absl::StrCat("worker-", i);
}

absl::Status FleetWorkers::Start() {
  for (FleetWorker& worker : workers_) {
    const absl::Status started = StartOne(worker);
    if (!started.ok()) return started;
  }
  return absl::OkStatus();
}

absl::Status FleetWorkers::Tick(absl::Time now) {
  for (FleetWorker& worker : workers_) {
    if (worker.process != nullptr) {
      Read(worker);
      if (!worker.done && !worker.process->Running()) {
        const absl::Status status = NoteEnd(worker, now);
        if (!status.ok()) return status;
      }
    } else if (now >= worker.comes_back) {
      const absl::Status started = StartOne(worker);
      if (!started.ok()) return started;
      ++num_restarts_;
      Tell(absl::StrCat(worker.name, " is back as process ", worker.process->pid()));
    }
  }
  std::vector<bool> running;
  for (const FleetWorker& worker : workers_) {
    running.push_back(worker.process != nullptr && !worker.done);
  }
  const std::optional<size_t> victim = plan_.Due(now, running);
  if (!victim.has_value()) return absl::OkStatus();
  FleetWorker& worker = workers_[*victim];
  worker.process->Signal(SIGKILL);
  Read(worker);
  worker.process.reset();  // waits for it
  ++num_kills_;
  const absl::Duration absence = plan_.Absence();
  worker.comes_back = now + absence;
  Tell(absl::StrFormat("%s killed, away for %.1f s", worker.name, absl::ToDoubleSeconds(absence)));
  return absl::OkStatus();
}

void FleetWorkers::Stop(absl::Duration grace) {
  for (FleetWorker& worker : workers_) {
    if (worker.process != nullptr) worker.process->Signal(SIGTERM);
  }
  const absl::Time end = absl::Now() + grace;
  for (FleetWorker& worker : workers_) {
    if (worker.process == nullptr) continue;
    worker.process->Stop(std::max(end - absl::Now(), absl::ZeroDuration()));
    Read(worker);
    worker.process.reset();
    worker.done = true;
  }
}

size_t FleetWorkers::num_running() const {
  return static_cast<size_t>(std::count_if(
      workers_.begin(), workers_.end(),
      [](const FleetWorker& worker) { return worker.process != nullptr && !worker.done; }));
}

absl::Status FleetWorkers::StartOne(FleetWorker& worker) {
  absl::StatusOr<std::unique_ptr<ChildProcess>> process =
      ChildProcess::Start(options_.program, options_.arguments(worker.name, worker.num_starts));
  if (!process.ok()) return process.status();
  worker.process = *std::move(process);
  ++worker.num_starts;
  return absl::OkStatus();
}

void FleetWorkers::Read(FleetWorker& worker) {
  for (std::string& line : worker.process->ReadLines()) {
    if (const std::optional<WorkerStep> step = ParseWorkerStep(line)) {
      worker.tally.Add(*step);
      worker.failures = 0;
    } else {
      worker.last_words = std::move(line);
    }
  }
}

absl::Status FleetWorkers::NoteEnd(FleetWorker& worker, absl::Time now) {
  Read(worker);
  if (worker.process->EndedWell()) {
    worker.done = true;
    return absl::OkStatus();
  }
  const std::string how = worker.process->HowItEnded();
  worker.process.reset();
  worker.comes_back = now + kPauseAfterFailure;
  if (++worker.failures >= kMaxFailures) {
    return absl::InternalError(
        absl::StrCat(worker.name, " keeps ending (", how, "): ", worker.last_words));
  }
  Tell(absl::StrCat(worker.name, " ended (", how, "): ", worker.last_words));
  return absl::OkStatus();
}

void FleetWorkers::Tell(const std::string& text) {
  if (options_.tell) options_.tell(text);
}

}  // namespace talweg
