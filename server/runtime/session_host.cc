// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_host.h"

#include <algorithm>
#include <new>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

namespace {

// What `make` gives if `status` is OK, else the error. (A StatusOr made of an OK status aborts.)
template <class Make>
auto ValueOr(const absl::Status& status, Make make) -> absl::StatusOr<decltype(make())> {
  if (!status.ok()) return status;
  return make();
}

// Fills `to` with the values of version 0.
std::shared_ptr<core::Work> WorkToFill(std::shared_ptr<core::Parameters> to, InitialSource source) {
  auto work = std::make_shared<core::Work>();
  const size_t size = to->values.size();
  work->AddShards(size, [to = std::move(to), source = std::make_shared<const InitialSource>(
                                                 std::move(source))](core::Shard shard) {
    const absl::Span<float> values = to->values.span();
    if (const auto* seeded = std::get_if<core::InitialValues>(source.get())) {
      return seeded->Draw(shard, values);
    }
    const auto& vector = std::get<core::EncodedVector>(*source);
    core::ToFloat32(vector.dtype,
                    vector.bytes.data() + shard.begin * core::DtypeBytes(vector.dtype),
                    View(values, shard));
  });
  return work;
}

}  // namespace

SessionHost::SessionHost(SessionIdentity identity, core::SessionConfig config,
                         MemoryBudget::Reservation memory, Env& env)
    : identity_(std::move(identity)),
      num_elements_(config.layout->num_elements()),
      layers_(config.layer_table),
      searches_(config.searches()),
      env_(env),
      parameters_(num_elements_, memory.budget()),
      records_(config.aggregation.value().RecordBytes(), env.WallNow() - env.MonotonicNow()),
      // Born busy with Create or Restore: what comes before that is over waits.
      queue_({[this](Task task) { env_.Post(std::move(task)); },
              [this] { return std::static_pointer_cast<void>(shared_from_this()); },
              [this] { return WhenQueueIsEmpty(); }},
             /*busy=*/true),
      charge_(std::move(memory)),
      initial_config_(std::make_unique<core::SessionConfig>(std::move(config))) {}

// --- The queue.

OperationQueue::Operation SessionHost::Wrap(Operation operation) {
  return [this, operation = std::move(operation)](Task finished) mutable {
    operation(deleted() ? Deleted() : absl::OkStatus(),
              [this, finished = std::move(finished)]() mutable {
                SetAlarm();
                finished();
              });
  };
}

void SessionHost::Enqueue(Operation operation) { queue_.Add(Wrap(std::move(operation))); }

OperationQueue::Operation SessionHost::WhenQueueIsEmpty() {
  if (session_ == nullptr || session_->num_unfolded() == 0 || deleted()) return nullptr;
  return Wrap([this](const absl::Status& status, Task finished) mutable {
    std::unique_ptr<core::Work> fold;
    if (status.ok()) fold = session_->BeginFold();
    if (fold == nullptr) return finished();
    Run(std::move(fold),
        [finished = std::move(finished)](const core::Ended&, absl::Time) mutable { finished(); });
  });
}

// Sets the alarm for the session's next tick. An alarm that rings too early does no harm, so the
// alarm stays as it is if the tick has moved to a later time.
void SessionHost::SetAlarm() {
  if (session_ == nullptr) return;
  const absl::Time next = deleted() ? absl::InfiniteFuture() : session_->NextTick();
  if (next >= alarm_time_ && next != absl::InfiniteFuture()) return;
  env_.Cancel(alarm_);
  alarm_time_ = next;
  alarm_ = env_.Arm(next, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Tick();
  });
}

// --- Begin and end.

void SessionHost::Create(InitialSource source, DoneStatus done) {
  const auto fail = [this](absl::Status status, DoneStatus tell) {
    Delete();
    queue_.Finished();
    tell(std::move(status));
  };
  auto work = std::make_shared<core::Work>();
  std::shared_ptr<core::Parameters> initial;
  if (auto* filled = std::get_if<std::unique_ptr<core::Parameters>>(&source)) {
    initial = parameters_.Adopt(std::move(*filled));
  } else {
    absl::StatusOr<std::shared_ptr<core::Parameters>> taken = parameters_.Take();
    if (!taken.ok()) return fail(taken.status(), std::move(done));
    initial = *std::move(taken);
    work = WorkToFill(initial, std::move(source));
  }
  RunWork(env_, std::move(work),
          [self = shared_from_this(), fail, initial, done = std::move(done)]() mutable {
            std::unique_ptr<core::Session> session;
            try {
              session = std::make_unique<core::Session>(
                  std::move(*self->initial_config_), self->identity_.history, std::move(initial));
            } catch (const std::bad_alloc&) {
              return fail(
                  MakeError(Reason::kMemoryQuota, "the system has no memory for the session"),
                  std::move(done));
            }
            self->StartSession(std::move(session));
            done(absl::OkStatus());
          });
}

void SessionHost::Restore(std::unique_ptr<core::Session> session) {
  StartSession(std::move(session));
}

void SessionHost::StartSession(std::unique_ptr<core::Session> session) {
  session_ = std::move(session);
  initial_config_.reset();
  published_ = env_.MonotonicNow();
  Publish();
  SetAlarm();
  queue_.Finished();
}

void SessionHost::Delete() {
  {
    MutexLock lock(mutex_);
    deleted_ = true;
  }
  visible_.Clear();
  deletion_.Give();
  feed_->Close();
  records_.Close();
  generations_.Close();
  versions_.End(Deleted());
  EnqueueNothing();
}

void SessionHost::Drain(const absl::Status& draining) {
  {
    MutexLock lock(mutex_);
    draining_ = draining;
  }
  versions_.End(draining);
  EnqueueNothing();
}

absl::Status SessionHost::Over() const {
  MutexLock lock(mutex_);
  return deleted_ ? Deleted() : draining_;
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
  return core::CheckHistory(history, identity_.history, visible_.number());
}

// --- What is told.

void SessionHost::Publish() {
  const uint64_t number = session_->parameters()->version;
  visible_.Publish(
      {session_->parameters(), session_->NextLearningRate(), session_->config().group_map});
  published_config_version_ = session_->policy_config_version();
  versions_.Reach(number, searches_ && session_->search().finished());
}

void SessionHost::Remember(absl::Time judged) {
  const absl::Time now = env_.MonotonicNow();
  feed_->Append({session_->version(), env_.WallNow(), *session_->last_step(),
                 absl::ToDoubleSeconds(now - judged), absl::ToDoubleSeconds(now - published_),
                 session_->refusals()});
  published_ = now;
}

void SessionHost::Describe(const DescribeOptions& options, Done<SessionDescription> done) {
  Enqueue([this, options, done = std::move(done)](absl::Status status, Task finished) mutable {
    auto digest = options.digest ? std::make_shared<core::StateDigest>() : nullptr;
    auto tell = [this, options, digest, done = std::move(done),
                 finished = std::move(finished)](const absl::Status& begun) mutable {
      absl::StatusOr<SessionDescription> outcome =
          ValueOr(begun, [&] { return Description(options); });
      if (outcome.ok()) outcome->digest = std::move(digest);
      finished();
      done(std::move(outcome));
    };
    if (!status.ok() || digest == nullptr) return tell(status);
    Run(session_->BeginDigest(digest),
        [tell = std::move(tell)](const core::Ended&, absl::Time) mutable {
          tell(absl::OkStatus());
        });
  });
}

SessionDescription SessionHost::Description(const DescribeOptions& options) {
  SessionDescription description;
  description.identity = identity_;
  description.config = session_->newest_config();
  description.config_version = session_->config_version();
  description.version = session_->version();
  description.memory_bytes = charge_.bytes();
  description.num_workers = static_cast<uint32_t>(session_->num_workers());
  description.num_live_workers = static_cast<uint32_t>(session_->num_live_workers());
  description.last_step = session_->last_step();
  description.refusals = session_->refusals();
  if (options.checksum) description.checksum = session_->Checksum();
  if (options.open_round && searches_) {
    if (!session_->search().finished()) {
      description.open_generation = session_->search().Describe(env_.MonotonicNow());
    }
  } else if (options.open_round) {
    description.open_round = session_->machine().DescribeRound(env_.MonotonicNow());
  }
  return description;
}

void SessionHost::Save(Done<std::string> done) {
  Enqueue([this, done = std::move(done)](absl::Status status, Task finished) mutable {
    absl::StatusOr<std::string> outcome;
    try {
      outcome = ValueOr(status, [&] { return session_->Save(); });
    } catch (const std::bad_alloc&) {
      outcome = MakeError(Reason::kMemoryQuota, "the system has no memory for a saved state");
    }
    finished();
    done(std::move(outcome));
  });
}

void SessionHost::Read(core::Session::Point point, Done<PointOutcome> done) {
  if (deleted()) return done(Deleted());
  const VisibleState visible = visible_.Get();
  if (point == core::Session::Point::kParameters && visible.parameters != nullptr) {
    return done(PointOutcome{visible.parameters, true, visible.next_learning_rate});
  }
  Enqueue([this, point, done = std::move(done)](absl::Status queued, Task finished) mutable {
    // The operation is over before its answer goes out.
    const auto finish = [](Task over, Done<PointOutcome> tell,
                           absl::StatusOr<PointOutcome> outcome) {
      over();
      tell(std::move(outcome));
    };
    if (!queued.ok()) return finish(std::move(finished), std::move(done), std::move(queued));
    PointOutcome outcome{session_->parameters(), true, session_->NextLearningRate()};
    if (session_->IsParameters(point)) {
      return finish(std::move(finished), std::move(done), std::move(outcome));
    }
    absl::StatusOr<std::shared_ptr<core::Parameters>> to = parameters_.Take();
    if (!to.ok()) return finish(std::move(finished), std::move(done), to.status());
    outcome.is_parameters = false;
    outcome.values = *to;
    FillPoint(point, *std::move(to),
              [finish, finished = std::move(finished), done = std::move(done),
               outcome = std::move(outcome)]() mutable {
                finish(std::move(finished), std::move(done), std::move(outcome));
              });
  });
}

void SessionHost::FillPoint(core::Session::Point point, std::shared_ptr<core::Parameters> to,
                            Task then) {
  Run(session_->BeginRead(point, std::move(to)),
      [then = std::move(then)](const core::Ended&, absl::Time) mutable { then(); });
}

void SessionHost::Run(std::shared_ptr<core::Work> work,
                      absl::AnyInvocable<void(core::Ended, absl::Time)> then) {
  RunWork(env_, work, [this, work, then = std::move(then)]() mutable {
    const absl::Time now = env_.MonotonicNow();
    then(session_->End(*work, now), now);
  });
}

}  // namespace talweg::server
