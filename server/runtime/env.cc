// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/env.h"

#include <random>
#include <utility>

#include "core/linalg/one_thread.h"
#include "server/ops/log.h"
#include "server/runtime/clock.h"

namespace talweg::server {
namespace {

void RunFrom(Env& env, std::shared_ptr<core::Work> work, size_t stage, Env::Task then) {
  for (; stage < work->NumStages(); ++stage) {
    work->BeginStage(stage);
    const size_t num_pieces = work->NumPieces(stage);
    // A stage may have no pieces: a method's matrices may all be frozen, or there may be no
    // matrices.
    if (num_pieces > 0) {
      core::Work& running = *work;
      return env.RunPieces(
          num_pieces, [&running, stage](size_t piece) { running.RunPiece(stage, piece); },
          [&env, work = std::move(work), stage, then = std::move(then)]() mutable {
            work->EndStage(stage);
            RunFrom(env, std::move(work), stage + 1, std::move(then));
          });
    }
    work->EndStage(stage);
  }
  then();
}

}  // namespace

absl::Time PoolEnv::MonotonicNow() const { return server::MonotonicNow(); }
absl::Time PoolEnv::WallNow() const { return server::WallNow(); }

uint64_t PoolEnv::NewHistory() {
  std::random_device device;
  uint64_t history = 0;
  while (history == 0) history = ((uint64_t{device()} << 32) | device()) >> 11;
  return history;
}

BackgroundPool& PoolEnv::Background() {
  MutexLock lock(mutex_);
  if (background_ == nullptr) {
    background_ = std::make_unique<BackgroundPool>(pool_.num_threads());
    LogBackgroundPool(background_->num_threads(), background_->is_idle_priority(),
                      core::BlasKernelName());
  }
  return *background_;
}

void PoolEnv::RunRefresh(std::shared_ptr<core::InverseRefresh> refresh, Task done) {
  BackgroundPool::Job job;
  for (size_t task = 0; task < refresh->num_tasks(); ++task) {
    job.tasks.push_back(
        {refresh->CostOf(task), [refresh, task] { return refresh->Advance(task); }});
  }
  job.done = [done = std::move(done)](bool completed) mutable {
    if (completed) done();
  };
  Background().Post(std::move(job));
}

void PoolEnv::WarnOfNonFinite(const SessionIdentity& identity, uint64_t version,
                              const core::StepReport& report) {
  LogNonFinite(identity.session_id, version, report.num_non_finite, report.first_non_finite);
}

void PoolEnv::WarnOfGivenUp(const SessionIdentity& identity, uint64_t version,
                            uint64_t num_non_finite) {
  LogGivenUp(identity.session_id, version, num_non_finite);
}

void RunWork(Env& env, std::shared_ptr<core::Work> work, Env::Task then) {
  RunFrom(env, std::move(work), 0, std::move(then));
}

}  // namespace talweg::server
