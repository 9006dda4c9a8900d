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

SessionHost::SessionHost(SessionIdentity identity, core::SessionConfig config,
                         MemoryBudget::Reservation memory, ComputePool& pool)
    : identity_(std::move(identity)),
      num_elements_(config.layout->num_elements()),
      memory_(std::move(memory)),
      pool_(pool),
      parameters_(num_elements_, memory_.budget()),
      records_(config.aggregation.value().RecordBytes(), WallNow() - MonotonicNow()),
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
  SetAlarm();
  const bool folds = session_ != nullptr && session_->num_unfolded() > 0;
  {
    MutexLock lock(mutex_);
    if (queue_.empty()) {
      if (!folds || deleted_) {
        running_ = false;
        return;
      }
      queue_.push_back(FoldTaken());
    }
  }
  // Back of the line: other sessions' work goes first.
  pool_.Post([self = shared_from_this()] { self->RunFront(); });
}

// When the session's next tick is due. An alarm that rings too early does no harm, so it is left
// where the tick has moved to a later time.
void SessionHost::SetAlarm() {
  if (session_ == nullptr) return;
  const absl::Time next = deleted() ? absl::InfiniteFuture() : session_->machine().NextTick();
  if (next >= alarm_time_ && next != absl::InfiniteFuture()) return;
  pool_.timers().Cancel(alarm_);
  alarm_time_ = next;
  alarm_ = pool_.timers().Arm(next, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Tick();
  });
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
  records_.Close();
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
  uint64_t version = 0;
  {
    MutexLock lock(mutex_);
    if (visible_ != nullptr) version = visible_->version;
  }
  return core::CheckHistory(history, identity_.history, version);
}

void SessionHost::Publish() {
  std::shared_ptr<const core::Parameters> version = session_->parameters();
  const uint64_t number = version->version;
  const double next_learning_rate = session_->NextLearningRate();
  {
    MutexLock lock(mutex_);
    if (!deleted_ && (visible_ == nullptr || visible_->version != number)) {
      recent_.push_back(version);
      if (recent_.size() > kMaxRecent) recent_.pop_front();
    }
    if (!deleted_) visible_.swap(version);
    next_learning_rate_ = next_learning_rate;
    group_map_ = session_->config().group_map;
  }
  versions_.Reach(number);
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

void SessionHost::Describe(bool with_checksum, Done<SessionDescription> done) {
  Enqueue([this, with_checksum, done = std::move(done)](absl::Status status, Next next) mutable {
    absl::StatusOr<SessionDescription> outcome =
        ValueOr(status, [&] { return Description(with_checksum); });
    next();
    done(std::move(outcome));
  });
}

SessionDescription SessionHost::Description(bool with_checksum) {
  const core::RoundMachine& machine = session_->machine();
  SessionDescription description;
  description.identity = identity_;
  description.config = session_->newest_config();
  description.config_version = session_->config_version();
  description.version = machine.version();
  description.memory_bytes = memory_.bytes();
  description.num_workers = static_cast<uint32_t>(machine.num_workers());
  description.num_live_workers = static_cast<uint32_t>(machine.num_live_workers());
  description.last_step = machine.last_step();
  if (with_checksum) description.checksum = session_->Checksum();
  description.open_round = machine.DescribeRound(MonotonicNow());
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
