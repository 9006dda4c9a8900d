// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_host.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
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
  absl::Time judged;                                 // when it was decided what it is
  std::shared_ptr<core::Parameters> to;              // where the next version goes, if there is one
  std::shared_ptr<core::Parameters> lookahead;       // where that goes; null where it is not wanted
  std::shared_ptr<const core::Parameters> previous;  // before the step, if one is taken

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
  {
    MutexLock lock(mutex_);
    deleted_ = true;
    last.swap(visible_);
  }
  deletion_.Give();
  feed_->Close();
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
  const double next_learning_rate = session_->NextLearningRate();
  MutexLock lock(mutex_);
  if (!deleted_ && (visible_ == nullptr || visible_->version != version->version)) {
    recent_.push_back(version);
    if (recent_.size() > kMaxRecent) recent_.pop_front();
  }
  if (!deleted_) visible_.swap(version);
  next_learning_rate_ = next_learning_rate;
  group_map_ = session_->config().group_map;
}

void SessionHost::Remember(absl::Time judged) {
  const absl::Time now = MonotonicNow();
  feed_->Append({session_->machine().version(), WallNow(), *session_->machine().last_step(),
                 absl::ToDoubleSeconds(now - judged), absl::ToDoubleSeconds(now - published_)});
  published_ = now;
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
          const auto& vector = std::get<core::EncodedVector>(source);
          core::ToFloat32(vector.dtype,
                          vector.bytes.data() + shard.begin * core::DtypeBytes(vector.dtype),
                          values.subspan(shard.begin, shard.size()));
        }
      },
      [self = shared_from_this(), initial = std::move(initial), done = std::move(done)]() mutable {
        absl::Status made;
        try {
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
    published_ = MonotonicNow();
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
    if (call->input.wants_lookahead && !session_->IsParameters(core::Session::Point::kLookahead)) {
      absl::StatusOr<std::shared_ptr<core::Parameters>> lookahead = parameters_.Take();
      if (!lookahead.ok()) return call->Finish(lookahead.status());
      call->lookahead = *std::move(lookahead);
    }
    if (call->input.staged != nullptr) return Judge(std::move(call));
    if (staged_ == nullptr) {
      try {
        staged_ = std::make_unique<core::StagedGradient>(num_elements_);
      } catch (const std::bad_alloc&) {
        return call->Finish(
            MakeError(Reason::kMemoryQuota, "the system has no memory for a contribution"));
      }
    }
    staged_->Begin(session_->config().group_map);
    const core::EncodedVector gradient = call->input.gradient;
    pool_.RunPieces(
        NumShards(num_elements_),
        [this, gradient](size_t index) {
          const core::Shard shard = ShardAt(index, num_elements_);
          staged_->Stage(shard, gradient.dtype,
                         gradient.bytes.data() + shard.begin * core::DtypeBytes(gradient.dtype));
        },
        [this, call] { Judge(call); });
  });
}

void SessionHost::Judge(std::shared_ptr<StepCall> call) {
  core::StagedGradient& staged = call->input.staged != nullptr ? *call->input.staged : *staged_;
  core::Contribution& contribution = call->input.contribution;
  contribution.finite = staged.finite();
  contribution.digest =
      core::PayloadDigest(staged.Digest(), contribution.base_version, call->input.losses);
  if (!call->input.losses.empty()) contribution.loss = call->input.losses.front();

  call->judged = MonotonicNow();
  const core::Effects effects = session_->Handle(contribution, call->judged);
  if (!effects.status.ok()) return call->Finish(effects.status);
  if (!effects.fold && !effects.step.has_value()) return EndStep(std::move(call), *effects.answer);
  if (effects.step.has_value()) call->previous = session_->parameters();
  session_->Begin(effects, staged, std::move(call->to));
  RunStage(std::move(call), 0);
}

void SessionHost::RunStage(std::shared_ptr<StepCall> call, size_t stage) {
  // A pass may have nothing to do: a method's matrices may all be frozen, or there may be none.
  for (; stage < session_->NumStages() && session_->NumPieces(stage) == 0; ++stage) {
    session_->EndStage(stage);
  }
  if (stage < session_->NumStages()) {
    return pool_.RunPieces(
        session_->NumPieces(stage),
        [this, stage](size_t index) { session_->RunPiece(stage, index); },
        [this, call, stage] {
          session_->EndStage(stage);
          RunStage(call, stage + 1);
        });
  }
  core::Effects taken = session_->End(MonotonicNow());
  if (call->previous != nullptr) {
    Publish();
    Remember(call->judged);
  }
  EndStep(std::move(call), *std::move(taken.answer));
}

void SessionHost::EndStep(std::shared_ptr<StepCall> call, core::Answer answer) {
  if (deleted()) return call->Finish(Deleted());
  StepOutcome outcome{std::move(answer), session_->parameters(), std::move(call->previous), nullptr,
                      session_->NextLearningRate()};
  if (call->lookahead == nullptr) return call->Finish(std::move(outcome));
  std::shared_ptr<core::Parameters> to = std::move(call->lookahead);
  outcome.lookahead = to;
  FillPoint(core::Session::Point::kLookahead, std::move(to),
            [call, outcome = std::move(outcome)]() mutable { call->Finish(std::move(outcome)); });
}

void SessionHost::FillPoint(core::Session::Point point, std::shared_ptr<core::Parameters> to,
                            absl::AnyInvocable<void()> then) {
  to->version = session_->machine().version();
  const absl::Span<float> values = to->values.span();
  pool_.RunPieces(
      NumShards(num_elements_),
      [this, point, values](size_t index) {
        session_->ReadPoint(point, ShardAt(index, num_elements_), values);
      },
      std::move(then));
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
      status = config.ok() ? Change(history, *config) : config.status();
      Publish();
    }
    absl::StatusOr<SessionDescription> outcome =
        ValueOr(status, [this] { return Description(/*with_checksum=*/false); });
    next();
    done(std::move(outcome));
  });
}

absl::Status SessionHost::Change(uint64_t history, const core::SessionConfig& config) {
  const uint64_t before = memory_.bytes();
  const uint64_t after = config.MemoryBytes();
  TALWEG_RETURN_IF_ERROR(memory_.Resize(std::max(before, after)));
  const absl::Status changed = session_->Reconfigure(history, config, MonotonicNow());
  (void)memory_.Resize(changed.ok() ? after : before);  // gives back, which cannot fail
  return changed;
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

void SessionHost::Read(std::optional<core::Session::Point> point, Done<PointOutcome> done) {
  PointOutcome visible;
  absl::Status status;
  {
    MutexLock lock(mutex_);
    visible.values = visible_;
    visible.next_learning_rate = next_learning_rate_;
    if (deleted_) status = Deleted();
  }
  if (!status.ok()) return done(std::move(status));
  if (!point.has_value() && visible.values != nullptr) return done(std::move(visible));
  Enqueue([this, point, done = std::move(done)](absl::Status queued, Next next) mutable {
    // The operation is over before its answer goes out.
    const auto finish = [](Next over, Done<PointOutcome> tell,
                           absl::StatusOr<PointOutcome> outcome) {
      over();
      tell(std::move(outcome));
    };
    if (!queued.ok()) return finish(std::move(next), std::move(done), std::move(queued));
    PointOutcome outcome{session_->parameters(), true, session_->NextLearningRate()};
    if (!point.has_value() || session_->IsParameters(*point)) {
      return finish(std::move(next), std::move(done), std::move(outcome));
    }
    absl::StatusOr<std::shared_ptr<core::Parameters>> to = parameters_.Take();
    if (!to.ok()) return finish(std::move(next), std::move(done), to.status());
    outcome.is_parameters = false;
    outcome.values = *to;
    FillPoint(*point, *std::move(to),
              [finish, next = std::move(next), done = std::move(done),
               outcome = std::move(outcome)]() mutable {
                finish(std::move(next), std::move(done), std::move(outcome));
              });
  });
}

std::shared_ptr<const core::Parameters> SessionHost::Held(uint64_t version) const {
  MutexLock lock(mutex_);
  if (deleted_) return nullptr;
  for (const auto& recent : recent_) {
    std::shared_ptr<const core::Parameters> held = recent.lock();
    if (held != nullptr && held->version == version) return held;
  }
  return nullptr;
}

std::shared_ptr<const core::GroupMap> SessionHost::group_map() const {
  MutexLock lock(mutex_);
  return group_map_;
}

}  // namespace talweg::server
