// SPDX-License-Identifier: Apache-2.0
//
// The operations of a host that may end in a fold or a step, or release calls that wait.
#include <algorithm>
#include <new>
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "core/kernels/negate.h"
#include "server/runtime/clock.h"
#include "server/runtime/session_host.h"

namespace talweg::server {

using core::MakeError;
using core::NumShards;
using core::Reason;
using core::ShardAt;

namespace {

constexpr size_t kAnswersAtATime = 16;

}  // namespace

struct SessionHost::Work {
  explicit Work(Next over) : next(std::move(over)) {}

  Next next;
  absl::Time judged;                                 // when it was decided what happens
  std::shared_ptr<const core::Parameters> previous;  // before the step, if one is taken
  std::vector<Due> due;

  // Of an event that is no contribution.
  absl::Status status;
  // Called at the end, while the session is still the operation's own; gives what is told when it
  // no longer is. May be empty.
  absl::AnyInvocable<Next(absl::Status)> conclude;

  // Of a contribution.
  StepInput input;
  Done<StepOutcome> done;
  std::shared_ptr<core::StagedGradient> gradient;
};

// --- What comes in.

void SessionHost::EnqueueNothing() {
  Enqueue(
      [this](const absl::Status&, Next next) { EndWork(std::make_shared<Work>(std::move(next))); });
}

SessionHost::Operation SessionHost::FoldTaken() {
  return [this](const absl::Status& status, Next next) {
    auto work = std::make_shared<Work>(std::move(next));
    if (!status.ok()) return EndWork(std::move(work));
    session_->BeginFold();
    RunStage(std::move(work), 0);
  };
}

void SessionHost::Tick() {
  Enqueue([this](absl::Status status, Next next) {
    alarm_time_ = absl::InfiniteFuture();  // it has rung
    RunEvent(std::move(status), core::Tick{}, std::make_shared<Work>(std::move(next)));
  });
}

void SessionHost::Join(std::string worker, core::Roles roles, absl::AnyInvocable<uint64_t()> issue,
                       Done<JoinOutcome> done) {
  Enqueue([this, worker = std::move(worker), roles, issue = std::move(issue),
           done = std::move(done)](absl::Status status, Next next) mutable {
    auto work = std::make_shared<Work>(std::move(next));
    const uint64_t incarnation = status.ok() ? issue() : 0;
    work->conclude = Welcome(incarnation, std::move(done));
    RunEvent(std::move(status), core::Join{std::move(worker), incarnation, roles}, std::move(work));
  });
}

void SessionHost::Heartbeat(core::Heartbeat heartbeat, Done<JoinOutcome> done) {
  Enqueue([this, heartbeat = std::move(heartbeat), done = std::move(done)](absl::Status status,
                                                                           Next next) mutable {
    auto work = std::make_shared<Work>(std::move(next));
    work->conclude = Welcome(heartbeat.incarnation, std::move(done));
    RunEvent(std::move(status), std::move(heartbeat), std::move(work));
  });
}

absl::AnyInvocable<SessionHost::Next(absl::Status)> SessionHost::Welcome(uint64_t incarnation,
                                                                         Done<JoinOutcome> done) {
  return [this, incarnation, done = std::move(done)](absl::Status status) mutable -> Next {
    absl::StatusOr<JoinOutcome> outcome = JoinOutcome{};
    if (status.ok()) {
      const core::AggregationConfig& aggregation = session_->config().aggregation.value();
      outcome = JoinOutcome{session_->machine().history(), session_->machine().version(),
                            incarnation, aggregation.lease_seconds, aggregation.replies_wait()};
    } else {
      outcome = std::move(status);
    }
    return [done = std::move(done), outcome = std::move(outcome)]() mutable {
      done(std::move(outcome));
    };
  };
}

void SessionHost::Leave(core::Leave leave, DoneStatus done) {
  Enqueue([this, leave = std::move(leave), done = std::move(done)](absl::Status status,
                                                                   Next next) mutable {
    auto work = std::make_shared<Work>(std::move(next));
    work->conclude = [done = std::move(done)](absl::Status left) mutable -> Next {
      return [done = std::move(done), left = std::move(left)]() mutable { done(std::move(left)); };
    };
    RunEvent(std::move(status), std::move(leave), std::move(work));
  });
}

void SessionHost::Reconfigure(
    uint64_t history,
    absl::AnyInvocable<absl::StatusOr<core::SessionConfig>(const core::SessionConfig&)> change,
    Done<SessionDescription> done) {
  Enqueue([this, history, change = std::move(change), done = std::move(done)](absl::Status status,
                                                                              Next next) mutable {
    auto work = std::make_shared<Work>(std::move(next));
    work->conclude = [this, done = std::move(done)](absl::Status changed) mutable -> Next {
      absl::StatusOr<SessionDescription> outcome = SessionDescription{};
      if (changed.ok()) {
        outcome = Description(/*with_checksum=*/false);
      } else {
        outcome = std::move(changed);
      }
      return [done = std::move(done), outcome = std::move(outcome)]() mutable {
        done(std::move(outcome));
      };
    };
    if (status.ok() && history != 0) status = session_->machine().CheckHistory(history);
    if (status.ok()) {
      const absl::StatusOr<core::SessionConfig> config = change(session_->newest_config());
      status = config.ok() ? Change(history, *config) : config.status();
      Publish();
    }
    work->status = std::move(status);
    EndWork(std::move(work));
  });
}

absl::Status SessionHost::Change(uint64_t history, const core::SessionConfig& config) {
  const uint64_t before = memory_.bytes();
  TALWEG_RETURN_IF_ERROR(memory_.Resize(std::max(before, config.MemoryBytes())));
  const absl::Status changed = session_->Reconfigure(history, config, MonotonicNow());
  if (changed.ok()) {
    Recharge();
  } else {
    (void)memory_.Resize(before);  // gives back, which cannot fail
  }
  return changed;
}

// While a change waits for the next version the session has the memory of both.
void SessionHost::Recharge() {
  const core::SessionConfig& now = session_->config();
  const core::SessionConfig& newest = session_->newest_config();
  recharges_ = &now != &newest;
  (void)memory_.Resize(std::max(now.MemoryBytes(), newest.MemoryBytes()));  // never more than held
}

void SessionHost::Abandon(uint64_t ticket) {
  {
    MutexLock lock(mutex_);
    abandoned_.insert(ticket);
  }
  Enqueue([this, ticket](absl::Status status, Next next) {
    {
      MutexLock lock(mutex_);
      abandoned_.erase(ticket);
    }
    auto work = std::make_shared<Work>(std::move(next));
    const auto parked = parked_.find(ticket);
    if (!status.ok() || parked == parked_.end()) return EndWork(std::move(work));
    core::CallEnded ended{parked->second.worker, ticket};
    work->due.push_back(Unpark(parked, absl::CancelledError("nobody waits for this step")));
    RunEvent(std::move(status), std::move(ended), std::move(work));
  });
}

bool SessionHost::IsAbandoned(uint64_t ticket) const {
  MutexLock lock(mutex_);
  return abandoned_.count(ticket) > 0;
}

void SessionHost::RunEvent(absl::Status status, const core::Event& event,
                           std::shared_ptr<Work> work) {
  // Statuses are handed on, not copied: copies share memory, and go on different threads.
  work->status = std::move(status);
  if (!work->status.ok()) return EndWork(std::move(work));
  work->judged = MonotonicNow();
  core::Effects effects = session_->Handle(event, work->judged);
  work->status = std::move(effects.status);
  CarryOut(std::move(work), effects);
}

// --- A contribution.

uint64_t SessionHost::Step(StepInput input, Done<StepOutcome> done) {
  const uint64_t ticket = ++last_ticket_;
  input.contribution.ticket = ticket;
  Enqueue([this, input = std::move(input), done = std::move(done)](absl::Status status,
                                                                   Next next) mutable {
    auto work = std::make_shared<Work>(std::move(next));
    work->input = std::move(input);
    work->done = std::move(done);
    if (status.ok() && IsAbandoned(work->input.contribution.ticket)) {
      status = absl::CancelledError("nobody waits for this step");
    }
    // Taken before anything is decided: a decision cannot fail for want of memory.
    if (status.ok()) status = TakeMemory(work->input);
    if (!status.ok()) return Refuse(std::move(work), std::move(status));
    work->gradient = std::move(work->input.staged);
    if (work->gradient != nullptr) return Judge(std::move(work));
    work->gradient = staged_;
    staged_->Begin(session_->config().group_map);
    const core::EncodedVector gradient = work->input.gradient;
    pool_.RunPieces(
        NumShards(num_elements_),
        [this, gradient](size_t index) {
          const core::Shard shard = ShardAt(index, num_elements_);
          staged_->Stage(shard, gradient.dtype,
                         gradient.bytes.data() + shard.begin * core::DtypeBytes(gradient.dtype));
        },
        [this, work] { Judge(work); });
  });
  return ticket;
}

absl::Status SessionHost::TakeMemory(const StepInput& input) {
  if (input.has_weight && !session_->config().aggregation.value().takes_weights()) {
    return MakeError(Reason::kFieldOutOfRange,
                     "the session's reduction takes no weights, and the contribution has one",
                     "header.weight");
  }
  const uint64_t extra = session_->ExtraRoundBytes();
  if (extra_.budget() != nullptr) {
    TALWEG_RETURN_IF_ERROR(extra_.Resize(extra));
  } else if (extra > 0 && memory_.budget() != nullptr) {
    TALWEG_ASSIGN_OR_RETURN(extra_, memory_.budget()->Reserve(extra));
  }
  if (next_ == nullptr) {
    TALWEG_ASSIGN_OR_RETURN(next_, parameters_.Take());
  }
  if (input.wants_lookahead) TALWEG_RETURN_IF_ERROR(TakeLookahead());
  TALWEG_RETURN_IF_ERROR(session_->Prepare());
  if (input.staged != nullptr || staged_ != nullptr) return absl::OkStatus();
  try {
    staged_ = std::make_shared<core::StagedGradient>(num_elements_);
  } catch (const std::bad_alloc&) {
    return MakeError(Reason::kMemoryQuota, "the system has no memory for a contribution");
  }
  return absl::OkStatus();
}

absl::Status SessionHost::TakeLookahead() {
  if (lookahead_ != nullptr || session_->IsParameters(core::Session::Point::kLookahead)) {
    return absl::OkStatus();
  }
  TALWEG_ASSIGN_OR_RETURN(lookahead_, parameters_.Take());
  return absl::OkStatus();
}

void SessionHost::Refuse(std::shared_ptr<Work> work, absl::Status status) {
  work->due.push_back({std::move(work->done), std::move(status)});
  EndWork(std::move(work));
}

void SessionHost::Judge(std::shared_ptr<Work> work) {
  core::Contribution& contribution = work->input.contribution;
  contribution.finite = work->gradient->finite();
  contribution.digest =
      core::PayloadDigest(work->gradient->Digest(), contribution.base_version, work->input.losses,
                          contribution.weight, work->input.is_difference);
  if (!work->input.losses.empty()) contribution.loss = work->input.losses.front();

  work->judged = MonotonicNow();
  const bool is_first = session_->machine().num_folded() == 0;
  core::Effects effects = session_->Handle(contribution, work->judged);
  if (!effects.status.ok() || effects.answer.has_value()) {
    absl::StatusOr<core::Answer> answer = core::Answer{};
    if (effects.status.ok()) {
      answer = *std::move(effects.answer);
    } else {
      answer = effects.status;
    }
    work->due.push_back({std::move(work->done), std::move(answer), work->input.wants_lookahead});
  } else {
    num_parked_for_lookahead_ += work->input.wants_lookahead;
    parked_.emplace(contribution.ticket, Parked{contribution.worker, work->input.wants_lookahead,
                                                std::move(work->done)});
  }
  // A round of one takes its gradient as it is, without a fold.
  const bool is_whole_round = is_first && effects.step.has_value();
  if (!effects.fold && !is_whole_round) work->gradient.reset();
  if (work->gradient == nullptr || !work->input.is_difference) {
    return CarryOut(std::move(work), effects);
  }
  const absl::Span<float> values = work->gradient->values();
  pool_.RunPieces(
      NumShards(num_elements_),
      [values](size_t index) { core::Negate(core::View(values, ShardAt(index, values.size()))); },
      [this, work, effects = std::move(effects)]() mutable { CarryOut(std::move(work), effects); });
}

// --- What follows.

void SessionHost::CarryOut(std::shared_ptr<Work> work, const core::Effects& effects) {
  Collect(effects.released, *work);
  std::shared_ptr<core::StagedGradient> alone = std::move(work->gradient);
  // Its place is the host's own: it is needed for the next contribution.
  const bool folds_now = effects.fold && alone == staged_;
  if (effects.fold) session_->Take(effects, std::move(alone));
  if (effects.step.has_value()) {
    TALWEG_CHECK(next_ != nullptr);
    work->previous = session_->parameters();
    session_->BeginStep(effects, std::move(alone), std::move(next_));
  } else if (folds_now || session_->num_unfolded() >= core::Session::kMaxUnfolded) {
    session_->BeginFold();
  } else {
    return EndWork(std::move(work));
  }
  RunStage(std::move(work), 0);
}

void SessionHost::RunStage(std::shared_ptr<Work> work, size_t stage) {
  // A pass may have nothing to do: a method's matrices may all be frozen, or there may be none.
  for (; stage < session_->NumStages() && session_->NumPieces(stage) == 0; ++stage) {
    session_->EndStage(stage);
  }
  if (stage < session_->NumStages()) {
    return pool_.RunPieces(
        session_->NumPieces(stage),
        [this, stage](size_t index) { session_->RunPiece(stage, index); },
        [this, work, stage] {
          session_->EndStage(stage);
          RunStage(work, stage + 1);
        });
  }
  const core::Effects effects = session_->End(MonotonicNow());
  if (effects.made != nullptr) {
    records_.Append(*effects.made);
    if (recharges_) Recharge();
    Publish();
    Remember(work->judged);
  }
  Collect(effects.released, *work);
  EndWork(std::move(work));
}

SessionHost::Due SessionHost::Unpark(std::map<uint64_t, Parked>::iterator parked,
                                     absl::StatusOr<core::Answer> answer) {
  Due due{std::move(parked->second.done), std::move(answer), parked->second.wants_lookahead};
  num_parked_for_lookahead_ -= due.wants_lookahead;
  parked_.erase(parked);
  return due;
}

void SessionHost::Collect(const std::vector<core::Released>& released, Work& work) {
  for (const core::Released& one : released) {
    const auto parked = parked_.find(one.ticket);
    TALWEG_CHECK(parked != parked_.end());
    absl::StatusOr<core::Answer> answer = one.answer;
    if (!one.status.ok()) answer = one.status;
    work.due.push_back(Unpark(parked, std::move(answer)));
  }
}

void SessionHost::ReleaseAll(const absl::Status& status, Work& work) {
  while (!parked_.empty()) {
    const auto parked = parked_.begin();
    // Nothing else follows from it.
    (void)session_->Handle(core::CallEnded{parked->second.worker, parked->first}, MonotonicNow());
    work.due.push_back(Unpark(parked, status));
  }
}

void SessionHost::EndWork(std::shared_ptr<Work> work) {
  const absl::Status over = Over();
  if (!over.ok()) ReleaseAll(over, *work);
  if (session_ != nullptr && session_->machine().num_folded() == 0) next_.reset();
  if (work->input.let_go && parked_.count(work->input.contribution.ticket) > 0) {
    work->input.let_go();
  }
  const bool wanted = !deleted() && std::any_of(work->due.begin(), work->due.end(), [](Due& due) {
    return due.wants_lookahead && due.answer.ok();
  });
  if (!wanted || session_->IsParameters(core::Session::Point::kLookahead)) {
    return Conclude(std::move(work), nullptr);
  }
  // One for all of them. What is kept for those who still wait stays theirs.
  std::shared_ptr<core::Parameters> kept;
  if (num_parked_for_lookahead_ > 0) kept = std::move(lookahead_);
  const absl::Status taken = TakeLookahead();
  std::shared_ptr<core::Parameters> to = std::move(lookahead_);
  lookahead_ = std::move(kept);
  if (!taken.ok()) {
    for (Due& due : work->due) {
      // No reason: those that have one say that nothing has changed.
      if (due.wants_lookahead && due.answer.ok()) due.answer = AskAgain(taken);
    }
    return Conclude(std::move(work), nullptr);
  }
  FillPoint(core::Session::Point::kLookahead, to, [this, work, to] { Conclude(work, to); });
}

void SessionHost::Conclude(std::shared_ptr<Work> work,
                           std::shared_ptr<const core::Parameters> lookahead) {
  Next tell = work->conclude ? work->conclude(std::move(work->status)) : nullptr;
  std::shared_ptr<const core::Parameters> parameters;
  double next_learning_rate = 0;
  if (session_ != nullptr) {
    parameters = session_->parameters();
    next_learning_rate = session_->NextLearningRate();
    // For those who still wait. Where there is none now, it is asked for again when it is needed.
    if (num_parked_for_lookahead_ == 0) {
      lookahead_.reset();
    } else {
      (void)TakeLookahead();
    }
  }
  if (deleted()) {
    for (Due& due : work->due) {
      if (due.answer.ok()) due.answer = Deleted();
    }
  }
  // The next operation is let in before the answers go out: nothing of the session is needed for
  // them. A round's answers are many, and each a message to make and to send: the pool shares them.
  work->next();
  pool_.RunPieces(
      std::max<size_t>(1, (work->due.size() + kAnswersAtATime - 1) / kAnswersAtATime),
      [work, parameters = std::move(parameters), lookahead = std::move(lookahead),
       next_learning_rate](size_t index) {
        const size_t begin = index * kAnswersAtATime;
        const size_t end = std::min(begin + kAnswersAtATime, work->due.size());
        for (size_t place = begin; place < end; ++place) {
          Due& due = work->due[place];
          if (!due.answer.ok()) {
            due.done(std::move(due.answer).status());
            continue;
          }
          const core::Answer& answer = *due.answer;
          const bool is_of_step = work->previous != nullptr && !answer.replayed &&
                                  answer.verdict == core::Verdict::kApplied &&
                                  answer.applied_version == work->previous->version + 1;
          due.done(StepOutcome{*std::move(due.answer), parameters,
                               is_of_step ? work->previous : nullptr,
                               due.wants_lookahead ? lookahead : nullptr, next_learning_rate});
        }
      },
      [tell = std::move(tell)]() mutable {
        if (tell) tell();
      });
}

}  // namespace talweg::server
