// SPDX-License-Identifier: Apache-2.0
//
// What a session's host needs of the world around it: clocks, threads, alarms, and a place that
// survives a crash. The server uses PoolEnv. The simulation in tests/simulation has an environment
// of virtual time, and so drives the real host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "core/session/session.h"
#include "server/calls/session_calls.h"
#include "server/runtime/background_pool.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/mutex.h"

namespace talweg::server {

// What a session has decided. All references are valid only during the call of Keep.
struct Decision {
  const SessionIdentity& identity;
  const core::Session& session;  // after the event
  // What happened. One of the two is null: `search_event` unless it is an Ask or a Tell.
  const core::Event* event;
  const core::SearchEvent* search_event;
  const core::Effects& effects;
  const core::SearchEffects* search;  // null unless the session searches
  absl::Time time;                    // of the decision
};

// Thread-safe; outlives the hosts.
class Env {
 public:
  using Task = absl::AnyInvocable<void()>;
  using Piece = absl::AnyInvocable<void(size_t)>;

  virtual ~Env() = default;

  // The time of decisions. It never jumps back.
  virtual absl::Time MonotonicNow() const = 0;
  // The time that people read.
  virtual absl::Time WallNow() const = 0;
  // A random number in [1, 2^53), so that a language whose numbers are all float64 holds it
  // exactly. Two histories are the same with a probability of 2^-53 (1.1e-16); among a million
  // histories there are two alike with a probability of about 5.6e-5.
  virtual uint64_t NewHistory() = 0;

  // As the functions of ComputePool that have these names.
  virtual void Post(Task task) = 0;
  virtual void RunPieces(size_t num_pieces, Piece piece, Task done) = 0;

  // As the functions of Timers that have these names.
  virtual uint64_t Arm(absl::Time when, std::function<void()> callback) = 0;
  virtual void Cancel(uint64_t alarm) = 0;

  // The host hands in every decision of a session's machine, in the order of the decisions. Keep
  // calls `kept` once, as soon as what `effects.durable` and `search->durable` name survives
  // everything that the session's policy promises to survive; if nothing must be kept, it calls
  // `kept` at once, on this thread. Until then nobody is told of the decision, and a version that
  // the decision made is not visible.
  virtual void Keep(const Decision& decision, Task kept) = 0;

  // Computes inverses beside everything else, on threads that give way to the others, and then
  // calls `done`. If the environment ends before that, `done` may never be called.
  virtual void RunRefresh(std::shared_ptr<core::InverseRefresh> refresh, Task done) = 0;

  // A version of the session has parameters that are not finite, as its report says, and the
  // version before had none.
  virtual void WarnOfNonFinite(const SessionIdentity& identity, uint64_t version,
                               const core::StepReport& report) = 0;
  // A session that searches has given up a generation at this version, and had given up none before
  // since the version was made.
  virtual void WarnOfGivenUp(const SessionIdentity& identity, uint64_t version,
                             uint64_t num_non_finite) = 0;
};

// The environment of a server: the threads of a pool, the machine's clocks, and the log. It keeps
// nothing, because sessions live in memory.
class PoolEnv : public Env {
 public:
  explicit PoolEnv(ComputePool& pool) : pool_(pool) {}

  absl::Time MonotonicNow() const override;
  absl::Time WallNow() const override;
  uint64_t NewHistory() override;
  void Post(Task task) override { pool_.Post(std::move(task)); }
  void RunPieces(size_t num_pieces, Piece piece, Task done) override {
    pool_.RunPieces(num_pieces, std::move(piece), std::move(done));
  }
  uint64_t Arm(absl::Time when, std::function<void()> callback) override {
    return pool_.timers().Arm(when, std::move(callback));
  }
  void Cancel(uint64_t alarm) override { pool_.timers().Cancel(alarm); }
  void Keep(const Decision& /*decision*/, Task kept) override { kept(); }
  void RunRefresh(std::shared_ptr<core::InverseRefresh> refresh, Task done) override;
  void WarnOfNonFinite(const SessionIdentity& identity, uint64_t version,
                       const core::StepReport& report) override;
  void WarnOfGivenUp(const SessionIdentity& identity, uint64_t version,
                     uint64_t num_non_finite) override;

 private:
  BackgroundPool& Background();

  ComputePool& pool_;
  Mutex mutex_;
  // Made when it is first needed, because few servers need it.
  std::unique_ptr<BackgroundPool> background_ ABSL_GUARDED_BY(mutex_);
};

// Runs the work stage by stage, with the pieces of a stage at the same time, and then calls `then`
// on the thread that finished last.
void RunWork(Env& env, std::shared_ptr<core::Work> work, Env::Task then);

}  // namespace talweg::server
