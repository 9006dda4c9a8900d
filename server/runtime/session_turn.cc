// SPDX-License-Identifier: Apache-2.0
//
// The operations of a host that may end in a fold or a step, or release calls that wait.
#include "server/runtime/session_turn.h"

#include <new>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "server/runtime/session_host.h"

namespace talweg::server {

using core::MakeError;
using core::Reason;

namespace {

// Copies a vector out of the bytes of a message, which live until the work has ended.
void AddStaging(core::StagedGradient& vector, core::EncodedVector from, core::Work& work) {
  work.AddShards(vector.size(), [&vector, from](core::Shard shard) {
    vector.Stage(shard, from.dtype, from.bytes.data() + shard.begin * core::DtypeBytes(from.dtype));
  });
}

}  // namespace

// --- Events that are no contribution.

void SessionHost::EnqueueNothing() {
  Enqueue([this](const absl::Status&, Task finished) {
    EndTurn(std::make_shared<Turn>(std::move(finished)));
  });
}

void SessionHost::Tick() {
  Enqueue([this](absl::Status status, Task finished) {
    alarm_time_ = absl::InfiniteFuture();  // it has rung
    RunEvent(std::move(status), core::Tick{}, std::make_shared<Turn>(std::move(finished)));
  });
}

void SessionHost::Join(core::Join join, absl::AnyInvocable<uint64_t()> issue,
                       Done<JoinOutcome> done) {
  Enqueue([this, join = std::move(join), issue = std::move(issue), done = std::move(done)](
              absl::Status status, Task finished) mutable {
    auto turn = std::make_shared<Turn>(std::move(finished));
    if (status.ok()) {
      const absl::StatusOr<core::Roles> roles = session_->CheckRoles(join.roles);
      status = roles.status();
      if (status.ok()) {
        join.roles = *roles;
        join.incarnation = issue();
      }
    }
    turn->conclude = Welcome(*turn, std::move(done));
    RunEvent(std::move(status), std::move(join), std::move(turn));
  });
}

void SessionHost::Heartbeat(core::Heartbeat heartbeat, Done<JoinOutcome> done) {
  Enqueue([this, heartbeat = std::move(heartbeat), done = std::move(done)](absl::Status status,
                                                                           Task finished) mutable {
    auto turn = std::make_shared<Turn>(std::move(finished));
    turn->incarnation = heartbeat.incarnation;
    turn->conclude = Welcome(*turn, std::move(done));
    RunEvent(std::move(status), std::move(heartbeat), std::move(turn));
  });
}

absl::AnyInvocable<SessionHost::Task(absl::Status)> SessionHost::Welcome(const Turn& turn,
                                                                         Done<JoinOutcome> done) {
  return [this, &turn, done = std::move(done)](absl::Status status) mutable -> Task {
    absl::StatusOr<JoinOutcome> outcome = JoinOutcome{};
    if (status.ok()) {
      const core::AggregationConfig& aggregation = session_->config().aggregation.value();
      outcome = JoinOutcome{session_->history(), session_->version(), turn.incarnation,
                            aggregation.lease_seconds, aggregation.replies_wait()};
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
                                                                   Task finished) mutable {
    auto turn = std::make_shared<Turn>(std::move(finished));
    turn->conclude = [done = std::move(done)](absl::Status left) mutable -> Task {
      return [done = std::move(done), left = std::move(left)]() mutable { done(std::move(left)); };
    };
    RunEvent(std::move(status), std::move(leave), std::move(turn));
  });
}

void SessionHost::Reconfigure(
    uint64_t history,
    absl::AnyInvocable<absl::StatusOr<core::SessionConfig>(const core::SessionConfig&)> change,
    Done<SessionDescription> done, std::optional<uint64_t> expected_config_version) {
  Enqueue([this, history, expected_config_version, change = std::move(change),
           done = std::move(done)](absl::Status status, Task finished) mutable {
    auto turn = std::make_shared<Turn>(std::move(finished));
    turn->conclude = [this, done = std::move(done)](absl::Status changed) mutable -> Task {
      absl::StatusOr<SessionDescription> outcome = SessionDescription{};
      if (changed.ok()) {
        outcome = Description({.open_round = true});
      } else {
        outcome = std::move(changed);
      }
      return [done = std::move(done), outcome = std::move(outcome)]() mutable {
        done(std::move(outcome));
      };
    };
    if (status.ok() && history != 0) status = session_->CheckHistory(history);
    if (!status.ok()) {
      turn->status = std::move(status);
      return EndTurn(std::move(turn));
    }
    absl::StatusOr<core::SessionConfig> config = change(session_->newest_config());
    if (config.ok()) status = CheckConfigVersion(expected_config_version, *config);
    if (!status.ok()) config = std::move(status);
    Change(std::move(turn), history, config);
  });
}

absl::Status SessionHost::CheckConfigVersion(std::optional<uint64_t> expected,
                                             const core::SessionConfig& config) const {
  const uint64_t current = session_->config_version();
  // The same values again are no change: a retry whose first attempt worked is answered like that.
  if (!expected.has_value() || *expected == current ||
      core::SameConfig(session_->newest_config(), config)) {
    return absl::OkStatus();
  }
  return MakeError(
      Reason::kConfigChanged,
      absl::StrCat("the configuration has version ", current, " by now, and the caller saw ",
                   *expected, ": look at the session again before you change it"),
      "expected_config_version", {{"config_version", absl::StrCat(current)}});
}

void SessionHost::Change(std::shared_ptr<Turn> turn, uint64_t history,
                         const absl::StatusOr<core::SessionConfig>& config) {
  turn->judged = env_.MonotonicNow();
  core::Reconfigured outcome;
  if (config.ok()) {
    outcome = charge_.Change(*session_, history, *config, turn->judged);
  } else {
    outcome.effects.status = config.status();
  }
  if (outcome.change.has_value()) {
    return Follow(std::move(turn), *outcome.change,
                  {std::move(outcome.effects), nullptr, std::move(outcome.search)});
  }
  turn->status = std::move(outcome.effects.status);
  EndTurn(std::move(turn));
}

void SessionHost::Abandon(uint64_t ticket) {
  abandoned_.Add(ticket);
  Enqueue([this, ticket](absl::Status status, Task finished) {
    abandoned_.Remove(ticket);
    auto turn = std::make_shared<Turn>(std::move(finished));
    const std::string worker = status.ok() ? WorkerThatWaits(ticket) : "";
    if (worker.empty()) return EndTurn(std::move(turn));
    FailParked(ticket, absl::CancelledError("nobody waits for this answer"), *turn);
    RunEvent(std::move(status), core::CallEnded{worker, ticket}, std::move(turn));
  });
}

void SessionHost::RunEvent(absl::Status status, core::Event event, std::shared_ptr<Turn> turn) {
  // Statuses are moved, not copied: copies share memory, and are destroyed on different threads.
  turn->status = std::move(status);
  if (!turn->status.ok()) return EndTurn(std::move(turn));
  turn->judged = env_.MonotonicNow();
  core::Outcome outcome = session_->Handle(event, turn->judged);
  Follow(std::move(turn), event, std::move(outcome));
}

// --- A contribution.

uint64_t SessionHost::Step(StepInput input, StepDone done) {
  const uint64_t ticket = ++last_ticket_;
  input.contribution.ticket = ticket;
  Enqueue([this, input = std::move(input), done = std::move(done)](absl::Status status,
                                                                   Task finished) mutable {
    auto turn = std::make_shared<Turn>(std::move(finished));
    turn->input = std::move(input);
    turn->done = std::move(done);
    if (status.ok() && abandoned_.Has(turn->input.contribution.ticket)) {
      status = absl::CancelledError("nobody waits for this step");
    }
    if (status.ok()) status = session_->CheckSearches(false);
    // Memory is reserved before anything is decided, because a decision must not fail for want of
    // it.
    if (status.ok()) status = ReserveMemory(turn->input);
    if (status.ok()) return Stage(std::move(turn));
    turn->answers.Add(std::move(turn->done), std::move(status));
    EndTurn(std::move(turn));
  });
  return ticket;
}

absl::Status SessionHost::ReserveMemory(const StepInput& input) {
  if (input.wants_lookahead) TALWEG_RETURN_IF_ERROR(ReserveLookahead());
  if (input.contribution.abstains) return absl::OkStatus();  // There are no numbers.
  const bool has_statistics =
      input.statistics_shape.has_value() || input.staged_statistics != nullptr;
  TALWEG_RETURN_IF_ERROR(session_->Prepare(
      input.has_weight, [this] { return parameters_.Take(); }, has_statistics));
  TALWEG_RETURN_IF_ERROR(charge_.ChargeRound(session_->ExtraRoundBytes()));
  const bool is_staged =
      input.contribution.is_statistics || input.staged != nullptr || staged_ != nullptr;
  if (is_staged) return absl::OkStatus();
  try {
    staged_ = std::make_shared<core::StagedGradient>(num_elements_);
  } catch (const std::bad_alloc&) {
    return MakeError(Reason::kMemoryQuota, "the system has no memory for a contribution");
  }
  return absl::OkStatus();
}

absl::Status SessionHost::ReserveLookahead() {
  if (lookahead_ != nullptr || session_->IsParameters(core::Session::Point::kLookahead)) {
    return absl::OkStatus();
  }
  TALWEG_ASSIGN_OR_RETURN(lookahead_, parameters_.Take());
  return absl::OkStatus();
}

void SessionHost::Stage(std::shared_ptr<Turn> turn) {
  StepInput& input = turn->input;
  auto work = std::make_shared<core::Work>();
  turn->gradient = std::move(input.staged);
  const bool has_gradient = !input.contribution.abstains && !input.contribution.is_statistics;
  if (turn->gradient == nullptr && has_gradient) {
    turn->gradient = staged_;
    staged_->Begin(session_->config().group_map);
    AddStaging(*staged_, input.gradient, *work);
  }
  turn->statistics = std::move(input.staged_statistics);
  if (turn->statistics == nullptr && input.statistics_shape.has_value()) {
    try {
      turn->statistics = std::make_shared<core::StagedStatistics>(session_->config().layer_table,
                                                                  *input.statistics_shape);
    } catch (const std::bad_alloc&) {
      turn->answers.Add(
          std::move(turn->done),
          MakeError(Reason::kMemoryQuota, "the system has no memory for the statistics"));
      return EndTurn(std::move(turn));
    }
    turn->statistics->sent().Begin(turn->statistics->map_of_sent());
    AddStaging(turn->statistics->sent(), input.statistics, *work);
  }
  if (turn->statistics != nullptr) turn->statistics->AddStages(*work);
  if (work->NumStages() == 0) return Judge(std::move(turn));
  RunWork(env_, std::move(work), [this, turn] { Judge(turn); });
}

void SessionHost::Judge(std::shared_ptr<Turn> turn) {
  StepInput& input = turn->input;
  core::ContributionInput contributed{input.contribution, std::move(input.losses),
                                      input.is_difference, std::move(turn->gradient),
                                      std::move(turn->statistics)};
  // The host's own staging is needed for the next contribution.
  contributed.returns_gradient = contributed.gradient == staged_;
  turn->judged = env_.MonotonicNow();
  core::Outcome outcome = session_->Contribute(contributed, turn->judged);
  Follow(std::move(turn), std::move(contributed.contribution), std::move(outcome));
}

void SessionHost::AnswerOrPark(Turn& turn, core::Effects& effects) {
  const core::Contribution& contribution = turn.input.contribution;
  if (!effects.status.ok()) {
    turn.answers.Add(std::move(turn.done), std::move(effects.status));
  } else if (effects.answer.has_value()) {
    turn.answers.Add(std::move(turn.done), *std::move(effects.answer), turn.input.wants_lookahead);
  } else {
    parked_.Park(contribution.ticket,
                 {contribution.worker, turn.input.wants_lookahead, std::move(turn.done)});
  }
}

// --- What follows: keep, compute, keep, publish, answer.

void SessionHost::Keep(const core::Event& event, const core::Effects& effects,
                       const core::SearchEffects* search, absl::Time time, Task kept) {
  Keep({identity_, *session_, &event, nullptr, effects, search, time}, std::move(kept));
}

void SessionHost::Keep(const Decision& decision, Task kept) {
  if (mutation_ != HostMutation::kAnswerBeforeDurable) {
    return env_.Keep(decision, std::move(kept));
  }
  env_.Keep(decision, [] {});
  kept();
}

void SessionHost::Follow(std::shared_ptr<Turn> turn, const core::Event& event,
                         core::Outcome outcome) {
  const auto decided = std::make_shared<core::Outcome>(std::move(outcome));
  const absl::Time time = turn->judged;
  Keep(event, decided->effects, decided->search.get(), time,
       [this, turn = std::move(turn), decided]() mutable { Proceed(std::move(turn), *decided); });
}

void SessionHost::Proceed(std::shared_ptr<Turn> turn, core::Outcome& outcome) {
  // A configuration may be in force since this event: the rate of the coming step may be another.
  if (session_->policy_config_version() != published_config_version_) Publish();
  if (searches_) WarnOfGivenUp();
  core::Effects& effects = outcome.effects;
  if (turn->done) {
    AnswerOrPark(*turn, effects);
  } else if (turn->ask_done) {
    AnswerOrParkAsk(*turn, outcome);
  } else {
    turn->status = std::move(effects.status);
    if (effects.incarnation != 0) turn->incarnation = effects.incarnation;
  }
  Collect(effects.released, *turn);
  CollectGiven(outcome.search.get(), *turn);
  if (outcome.work == nullptr) return EndTurn(std::move(turn));
  if (effects.step.has_value()) turn->previous = session_->parameters();
  if (searches_) NoteClosingConfig();
  Run(std::move(outcome.work),
      [this, turn](core::Ended ended, absl::Time now) { EndStep(turn, std::move(ended), now); });
}

void SessionHost::EndStep(std::shared_ptr<Turn> turn, core::Ended ended, absl::Time now) {
  if (!ended.step.has_value()) return EndTurn(std::move(turn));  // it was a fold
  const auto made = std::make_shared<core::Ended>(std::move(ended));
  Keep(*made->step, made->effects, made->search.get(), now, [this, turn, made] {
    records_.Append(*made->effects.made);
    if (made->search != nullptr) {
      generations_.Append({made->search->made, closing_config_});
      turn->told.next = made->search->next;
      turn->made_version = true;
    }
    WarnOnce(*made->step);
    charge_.VersionWasMade(*session_);
    if (mutation_ == HostMutation::kAnswerBeforeVisible && !turn->conclude) {
      turn->conclude = [host = weak_from_this()](const absl::Status&) -> Task {
        return [host] {
          const auto self = host.lock();
          if (self == nullptr) return;
          self->Enqueue([&host = *self](const absl::Status& status, Task finished) {
            if (status.ok()) host.Publish();
            finished();
          });
        };
      };
    } else {
      Publish();
    }
    Remember(turn->judged);
    Collect(made->effects.released, *turn);
    CollectGiven(made->search.get(), *turn);
    if (made->refresh != nullptr) BeginRefresh(std::move(made->refresh));
    EndTurn(turn);
  });
}

void SessionHost::BeginRefresh(std::shared_ptr<core::InverseRefresh> refresh) {
  env_.RunRefresh(refresh, [host = weak_from_this(), refresh] {
    const auto self = host.lock();
    if (self == nullptr) return;
    self->Enqueue([&host = *self, refresh](absl::Status status, Task finished) {
      auto turn = std::make_shared<Turn>(std::move(finished));
      if (!status.ok()) return host.EndTurn(std::move(turn));
      turn->judged = host.env_.MonotonicNow();
      core::Outcome outcome = host.session_->Install(*refresh, turn->judged);
      host.Follow(std::move(turn), core::InversesReady{refresh->factors_version()},
                  std::move(outcome));
    });
  });
}

void SessionHost::WarnOnce(const core::StepTaken& taken) {
  const bool finite = taken.num_non_finite == 0;
  if (parameters_are_finite_ && !finite) {
    env_.WarnOfNonFinite(identity_, session_->version(), *session_->last_step());
  }
  parameters_are_finite_ = finite;
}

void SessionHost::Collect(const std::vector<core::Released>& released, Turn& turn) {
  for (const core::Released& one : released) {
    if (FailAsk(one.ticket, one.status, turn)) continue;
    std::optional<ParkedCall> call = parked_.Unpark(one.ticket);
    TALWEG_CHECK(call.has_value());
    absl::StatusOr<core::Answer> answer = one.answer;
    if (!one.status.ok()) answer = one.status;
    turn.answers.Add(*std::move(call), std::move(answer));
  }
}

void SessionHost::ReleaseAll(const absl::Status& status, Turn& turn) {
  while (auto first = parked_.UnparkFirst()) {
    auto& [ticket, call] = *first;
    const core::CallEnded ended{call.worker, ticket};
    const absl::Time now = env_.MonotonicNow();
    // Nothing else follows from this event, and it may be forgotten.
    const core::Outcome outcome = session_->Handle(ended, now);
    Keep(ended, outcome.effects, outcome.search.get(), now, [] {});
    turn.answers.Add(std::move(call), status);
  }
  ReleaseAllAsks(status, turn);
}

void SessionHost::EndTurn(std::shared_ptr<Turn> turn) {
  const absl::Status over = Over();
  if (!over.ok()) ReleaseAll(over, *turn);
  if (session_ != nullptr) session_->ReleaseUnusedMemory();
  if (turn->input.let_go && parked_.Has(turn->input.contribution.ticket)) turn->input.let_go();
  const bool wanted = !deleted() && turn->answers.AnyWantsLookahead();
  if (!wanted || session_->IsParameters(core::Session::Point::kLookahead)) {
    return Conclude(std::move(turn), nullptr);
  }
  // All answers of this operation share one lookahead. The memory that is kept for calls that still
  // wait stays with them.
  std::shared_ptr<core::Parameters> kept;
  if (parked_.AnyWantsLookahead()) kept = std::move(lookahead_);
  const absl::Status taken = ReserveLookahead();
  std::shared_ptr<core::Parameters> to = std::move(lookahead_);
  lookahead_ = std::move(kept);
  if (!taken.ok()) {
    // The error has no reason, because errors with a reason say that nothing has changed.
    turn->answers.FailAllThatWantLookahead(AskAgain(taken));
    return Conclude(std::move(turn), nullptr);
  }
  FillPoint(core::Session::Point::kLookahead, to, [this, turn, to] { Conclude(turn, to); });
}

void SessionHost::Conclude(std::shared_ptr<Turn> turn,
                           std::shared_ptr<const core::Parameters> lookahead) {
  Task tell = turn->conclude ? turn->conclude(std::move(turn->status)) : nullptr;
  Answers::Along along;
  along.previous = std::move(turn->previous);
  along.lookahead = std::move(lookahead);
  if (session_ != nullptr) {
    along.parameters = session_->parameters();
    along.next_learning_rate = session_->NextLearningRate();
    // Memory for the calls that still wait. If there is none now, it is asked for again when it is
    // needed.
    if (parked_.AnyWantsLookahead()) {
      (void)ReserveLookahead();
    } else {
      lookahead_.reset();
    }
  }
  turn->answers.SetAlong(std::move(along));
  if (deleted()) turn->answers.FailAll(Deleted());
  // The next operation may begin before the answers go out, because the answers need nothing of the
  // session.
  turn->finished();
  env_.RunPieces(
      turn->answers.num_pieces(), [turn](size_t piece) { turn->answers.Tell(piece); },
      [tell = std::move(tell)]() mutable {
        if (tell) tell();
      });
}

}  // namespace talweg::server
