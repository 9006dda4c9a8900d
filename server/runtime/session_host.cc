// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_host.h"

#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "server/runtime/clock.h"

namespace talweg::server {

using core::MakeError;
using core::NumShards;
using core::Reason;
using core::ShardAt;

namespace {

// What `make` gives where `status` is OK, else the error. (A StatusOr made of an OK status aborts.)
template <class Make>
auto ValueOr(const absl::Status& status, Make make) -> absl::StatusOr<decltype(make())> {
  if (!status.ok()) return status;
  return make();
}

}  // namespace

// A step between its stages.
struct SessionHost::StepCall {
  StepInput input;
  Done<StepOutcome> done;
  Next next;
  std::shared_ptr<core::Parameters> to;  // where the next version goes, if there is one

  // Lets the next operation in before the answer goes out: nothing of the session is needed for it.
  void Finish(absl::StatusOr<StepOutcome> outcome) {
    to.reset();
    next();
    done(std::move(outcome));
  }
};

SessionHost::SessionHost(SessionIdentity identity, core::SessionConfig config,
                         MemoryBudget::Reservation memory, ComputePool& pool)
    : identity_(std::move(identity)),
      num_elements_(config.layout->num_elements()),
      memory_(std::move(memory)),
      pool_(pool),
      parameters_(num_elements_, memory_.budget()),
      initial_config_(std::make_unique<core::SessionConfig>(std::move(config))) {}

void SessionHost::Enqueue(Operation operation) {
  {
    MutexLock lock(mutex_);
    queue_.push_back(std::move(operation));
    if (running_) return;
    running_ = true;
  }
  pool_.Post([self = shared_from_this()] { self->RunFront(); });
}

void SessionHost::RunFront() {
  Operation operation;
  absl::Status status;
  {
    MutexLock lock(mutex_);
    operation = std::move(queue_.front());
    queue_.pop_front();
    if (deleted_) status = Deleted();
  }
  operation(std::move(status), [self = shared_from_this()] { self->Finished(); });
}

void SessionHost::Finished() {
  {
    MutexLock lock(mutex_);
    if (queue_.empty()) {
      running_ = false;
      return;
    }
  }
  // Back of the line: other sessions' work goes first.
  pool_.Post([self = shared_from_this()] { self->RunFront(); });
}

void SessionHost::Delete() {
  std::shared_ptr<const core::Parameters> last;  // goes after the lock: its pool has one too
  MutexLock lock(mutex_);
  deleted_ = true;
  last.swap(visible_);
}

bool SessionHost::deleted() const {
  MutexLock lock(mutex_);
  return deleted_;
}

absl::Status SessionHost::Deleted() const {
  return MakeError(Reason::kSessionDeleted,
                   absl::StrCat("session \"", identity_.session_id, "\" was deleted"));
}

absl::Status SessionHost::CheckHistory(uint64_t history) const {
  uint64_t version = 0;
  {
    MutexLock lock(mutex_);
    if (visible_ != nullptr) version = visible_->version;
  }
  return core::CheckHistory(history, identity_.history, version);
}

void SessionHost::Publish() {
  std::shared_ptr<const core::Parameters> version = session_->parameters();
  MutexLock lock(mutex_);
  if (!deleted_) visible_.swap(version);
}

void SessionHost::Create(InitialSource source, DoneStatus done) {
  // The host is born busy with this: what comes before it is over waits in the queue.
  absl::StatusOr<std::shared_ptr<core::Parameters>> taken = parameters_.Take();
  if (!taken.ok()) return FinishCreate(taken.status(), std::move(done));
  std::shared_ptr<core::Parameters> initial = *std::move(taken);
  const absl::Span<float> values = initial->values.span();
  pool_.RunPieces(
      NumShards(num_elements_),
      [values, source = std::move(source)](size_t index) {
        const core::Shard shard = ShardAt(index, values.size());
        if (const auto* seeded = std::get_if<core::InitialValues>(&source)) {
          seeded->Draw(shard, values);
        } else {
          std::memcpy(values.data() + shard.begin,
                      std::get<absl::string_view>(source).data() + shard.begin * sizeof(float),
                      shard.size() * sizeof(float));
        }
      },
      [self = shared_from_this(), initial = std::move(initial), done = std::move(done)]() mutable {
        absl::Status made;
        try {
          self->staged_ = std::make_unique<core::StagedGradient>(self->num_elements_);
          self->session_ = std::make_unique<core::Session>(
              std::move(*self->initial_config_), self->identity_.history, std::move(initial));
        } catch (const std::bad_alloc&) {
          made = MakeError(Reason::kMemoryQuota, "the system has no memory for the session");
        }
        self->FinishCreate(std::move(made), std::move(done));
      });
}

void SessionHost::FinishCreate(absl::Status made, DoneStatus done) {
  initial_config_.reset();
  if (made.ok()) {
    Publish();
  } else {
    Delete();
  }
  Finished();
  done(std::move(made));
}

void SessionHost::Step(StepInput input, Done<StepOutcome> done) {
  Enqueue([this, input = std::move(input), done = std::move(done)](absl::Status status,
                                                                   Next next) mutable {
    auto call = std::make_shared<StepCall>();
    call->input = std::move(input);
    call->done = std::move(done);
    call->next = std::move(next);
    if (status.ok() && call->input.abandoned && call->input.abandoned()) {
      status = absl::CancelledError("nobody waits for this step");
    }
    if (!status.ok()) return call->Finish(std::move(status));
    // Taken before anything is decided: a decision cannot fail for want of memory.
    absl::StatusOr<std::shared_ptr<core::Parameters>> to = parameters_.Take();
    if (!to.ok()) return call->Finish(to.status());
    call->to = *std::move(to);
    const char* bytes = call->input.gradient.data();
    pool_.RunPieces(
        NumShards(num_elements_),
        [this, bytes](size_t index) { staged_->Stage(ShardAt(index, num_elements_), bytes); },
        [this, call] { Judge(call); });
  });
}

void SessionHost::Judge(std::shared_ptr<StepCall> call) {
  core::Contribution& contribution = call->input.contribution;
  const core::GradientFacts facts = staged_->Facts();
  contribution.finite = facts.finite;
  contribution.gradient_norm = facts.norm;
  contribution.digest =
      core::PayloadDigest(facts.digest, contribution.base_version, call->input.losses);
  if (!call->input.losses.empty()) contribution.loss = call->input.losses.front();

  core::Effects effects = session_->Handle(contribution, MonotonicNow());
  if (!effects.status.ok()) return call->Finish(effects.status);
  if (!effects.step.has_value()) {
    return call->Finish(StepOutcome{*effects.answer, session_->parameters(), nullptr});
  }
  std::shared_ptr<const core::Parameters> previous = session_->parameters();
  session_->BeginStep(*effects.step, std::move(call->to));
  pool_.RunPieces(
      NumShards(num_elements_),
      [this](size_t index) { session_->ApplyShard(index, staged_->values()); },
      [this, call, previous = std::move(previous)]() mutable {
        core::Effects taken = session_->EndStep(MonotonicNow());
        Publish();
        if (deleted()) return call->Finish(Deleted());
        call->Finish(
            StepOutcome{*std::move(taken.answer), session_->parameters(), std::move(previous)});
      });
}

JoinOutcome SessionHost::Welcome(uint64_t incarnation) const {
  return {session_->machine().history(), session_->machine().version(), incarnation,
          session_->config().aggregation.value().lease_seconds};
}

void SessionHost::Join(std::string worker, absl::AnyInvocable<uint64_t()> issue,
                       Done<JoinOutcome> done) {
  Enqueue([this, worker = std::move(worker), issue = std::move(issue), done = std::move(done)](
              absl::Status status, Next next) mutable {
    uint64_t incarnation = 0;
    if (status.ok()) {
      incarnation = issue();
      status = session_->Handle(core::Join{std::move(worker), incarnation}, MonotonicNow()).status;
    }
    absl::StatusOr<JoinOutcome> outcome = ValueOr(status, [&] { return Welcome(incarnation); });
    next();
    done(std::move(outcome));
  });
}

void SessionHost::Heartbeat(core::Heartbeat heartbeat, Done<JoinOutcome> done) {
  Enqueue([this, heartbeat = std::move(heartbeat), done = std::move(done)](absl::Status status,
                                                                           Next next) mutable {
    if (status.ok()) status = session_->Handle(heartbeat, MonotonicNow()).status;
    absl::StatusOr<JoinOutcome> outcome =
        ValueOr(status, [&] { return Welcome(heartbeat.incarnation); });
    next();
    done(std::move(outcome));
  });
}

void SessionHost::Leave(core::Leave leave, DoneStatus done) {
  Enqueue([this, leave = std::move(leave), done = std::move(done)](absl::Status status,
                                                                   Next next) mutable {
    if (status.ok()) status = session_->Handle(leave, MonotonicNow()).status;
    next();
    done(std::move(status));
  });
}

void SessionHost::Reconfigure(
    uint64_t history,
    absl::AnyInvocable<absl::StatusOr<core::SessionConfig>(const core::SessionConfig&)> change,
    Done<SessionDescription> done) {
  Enqueue([this, history, change = std::move(change), done = std::move(done)](absl::Status status,
                                                                              Next next) mutable {
    if (status.ok() && history != 0) status = session_->machine().CheckHistory(history);
    if (status.ok()) {
      const absl::StatusOr<core::SessionConfig> config = change(session_->config());
      status =
          config.ok() ? session_->Reconfigure(history, *config, MonotonicNow()) : config.status();
    }
    absl::StatusOr<SessionDescription> outcome =
        ValueOr(status, [this] { return Description(/*with_checksum=*/false); });
    next();
    done(std::move(outcome));
  });
}

void SessionHost::Describe(bool with_checksum, Done<SessionDescription> done) {
  Enqueue([this, with_checksum, done = std::move(done)](absl::Status status, Next next) mutable {
    absl::StatusOr<SessionDescription> outcome =
        ValueOr(status, [&] { return Description(with_checksum); });
    next();
    done(std::move(outcome));
  });
}

SessionDescription SessionHost::Description(bool with_checksum) {
  const core::SessionMachine& machine = session_->machine();
  SessionDescription description;
  description.identity = identity_;
  description.config = session_->config();
  description.config_version = session_->config_version();
  description.version = machine.version();
  description.memory_bytes = memory_.bytes();
  description.num_workers = static_cast<uint32_t>(machine.num_workers());
  description.num_live_workers = static_cast<uint32_t>(machine.NumLiveWorkers(MonotonicNow()));
  description.last_step = machine.last_step();
  if (with_checksum) description.checksum = session_->Checksum();
  return description;
}

void SessionHost::Read(Done<std::shared_ptr<const core::Parameters>> done) {
  std::shared_ptr<const core::Parameters> visible;
  absl::Status status;
  {
    MutexLock lock(mutex_);
    visible = visible_;
    if (deleted_) status = Deleted();
  }
  if (!status.ok()) return done(std::move(status));
  if (visible != nullptr) return done(std::move(visible));
  Enqueue([this, done = std::move(done)](absl::Status queued, Next next) mutable {
    absl::StatusOr<std::shared_ptr<const core::Parameters>> outcome =
        ValueOr(queued, [this] { return session_->parameters(); });
    next();
    done(std::move(outcome));
  });
}

}  // namespace talweg::server
