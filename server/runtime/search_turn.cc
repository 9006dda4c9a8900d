// SPDX-License-Identifier: Apache-2.0
//
// The operations of a host whose session searches: asks that may wait, losses that may close a
// generation.
#include <string>
#include <utility>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "server/runtime/session_host.h"
#include "server/runtime/session_turn.h"

namespace talweg::server {

uint64_t SessionHost::Ask(core::Ask ask, AskDone done) {
  const uint64_t ticket = ++last_ticket_;
  ask.ticket = ticket;
  Enqueue([this, ask = std::move(ask), done = std::move(done)](absl::Status status,
                                                               Task finished) mutable {
    auto turn = std::make_shared<Turn>(std::move(finished));
    if (status.ok() && abandoned_.Has(ask.ticket)) {
      status = absl::CancelledError("nobody waits for this answer");
    }
    if (status.ok()) status = session_->CheckSearches(true);
    if (!status.ok()) {
      turn->answers.Add([done = std::move(done), status = std::move(status)]() mutable {
        done(std::move(status));
      });
      return EndTurn(std::move(turn));
    }
    turn->ask_done = std::move(done);
    turn->judged = env_.MonotonicNow();
    turn->ask = std::move(ask);
    core::Outcome outcome = session_->Ask(turn->ask, turn->judged);
    core::SearchEvent event = turn->ask;
    FollowSearch(std::move(turn), std::move(event), std::move(outcome));
  });
  return ticket;
}

void SessionHost::Tell(core::Tell tell, Done<TellOutcome> done) {
  Enqueue([this, tell = std::move(tell), done = std::move(done)](absl::Status status,
                                                                 Task finished) mutable {
    auto turn = std::make_shared<Turn>(std::move(finished));
    turn->conclude = [this, &turn = *turn,
                      done = std::move(done)](absl::Status told) mutable -> Task {
      absl::StatusOr<TellOutcome> outcome = TellOutcome{};
      if (told.ok()) {
        outcome =
            TellOutcome{turn.told, identity_.history, session_->search().configuration().search,
                        !session_->IsParameters(core::Session::Point::kLookahead),
                        turn.made_version ? session_->last_step() : nullptr};
      } else {
        outcome = std::move(told);
      }
      return [done = std::move(done), outcome = std::move(outcome)]() mutable {
        done(std::move(outcome));
      };
    };
    if (status.ok()) status = session_->CheckSearches(true);
    // Memory is reserved before anything is decided: a decision must not fail for want of it.
    if (status.ok()) status = session_->PrepareTell([this] { return parameters_.Take(); });
    if (!status.ok()) {
      turn->status = std::move(status);
      return EndTurn(std::move(turn));
    }
    turn->judged = env_.MonotonicNow();
    core::Outcome outcome = session_->Tell(tell, turn->judged);
    if (outcome.search->told.has_value()) turn->told = *outcome.search->told;
    FollowSearch(std::move(turn), std::move(tell), std::move(outcome));
  });
}

void SessionHost::FollowSearch(std::shared_ptr<Turn> turn, core::SearchEvent event,
                               core::Outcome outcome) {
  const auto decided = std::make_shared<core::Outcome>(std::move(outcome));
  const Decision decision{
      identity_, *session_, nullptr, &event, decided->effects, decided->search.get(), turn->judged};
  Keep(decision,
       [this, turn = std::move(turn), decided]() mutable { Proceed(std::move(turn), *decided); });
}

AskOutcome SessionHost::AskOutcomeOf(core::AskAnswer answer) const {
  AskOutcome outcome{std::move(answer), identity_.history, {}};
  outcome.config = session_->search().configuration().search;
  outcome.at_lookahead = !session_->IsParameters(core::Session::Point::kLookahead);
  return outcome;
}

void SessionHost::AnswerOrParkAsk(Turn& turn, core::Outcome& outcome) {
  if (outcome.effects.waits) {
    parked_asks_.emplace(turn.ask.ticket, ParkedAsk{turn.ask.worker, std::move(turn.ask_done)});
    return;
  }
  absl::StatusOr<AskOutcome> answer = AskOutcome{};
  if (outcome.effects.status.ok()) {
    answer = AskOutcomeOf(*std::move(outcome.search->asked));
  } else {
    answer = std::move(outcome.effects.status);
  }
  turn.answers.Add([done = std::move(turn.ask_done), answer = std::move(answer)]() mutable {
    done(std::move(answer));
  });
}

void SessionHost::CollectGiven(core::SearchEffects* search, Turn& turn) {
  if (search == nullptr) return;
  for (core::GivenLease& given : search->given) {
    auto call = parked_asks_.extract(given.ticket);
    TALWEG_CHECK(!call.empty());
    turn.answers.Add(
        [done = std::move(call.mapped().done),
         outcome = AskOutcomeOf(std::move(given.answer))]() mutable { done(std::move(outcome)); });
  }
}

bool SessionHost::FailAsk(uint64_t ticket, const absl::Status& status, Turn& turn) {
  auto call = parked_asks_.extract(ticket);
  if (call.empty()) return false;
  turn.answers.Add([done = std::move(call.mapped().done), failed = absl::Status(status)]() mutable {
    done(std::move(failed));
  });
  return true;
}

void SessionHost::ReleaseAllAsks(const absl::Status& status, Turn& turn) {
  while (!parked_asks_.empty()) {
    const core::CallEnded ended{parked_asks_.begin()->second.worker, parked_asks_.begin()->first};
    const absl::Time now = env_.MonotonicNow();
    // Nothing else follows from this event, and it may be forgotten.
    const core::Outcome outcome = session_->Handle(ended, now);
    Keep(ended, outcome.effects, outcome.search.get(), now, [] {});
    FailAsk(ended.ticket, status, turn);
  }
}

void SessionHost::WarnOfGivenUp() {
  const core::SearchMachine& search = session_->search();
  const bool gives_up = search.num_given_up() > 0;
  if (gives_up && !gives_up_) {
    env_.WarnOfGivenUp(identity_, search.version(), search.num_given_up_non_finite());
  }
  gives_up_ = gives_up;
}

void SessionHost::NoteClosingConfig() {
  const uint64_t version = session_->search().config_version();
  if (closing_config_version_ == version) return;
  closing_config_ = std::make_shared<const core::SessionConfig>(session_->config());
  closing_config_version_ = version;
}

std::string SessionHost::WorkerThatWaits(uint64_t ticket) const {
  const auto ask = parked_asks_.find(ticket);
  if (ask != parked_asks_.end()) return ask->second.worker;
  return parked_.Has(ticket) ? parked_.WorkerOf(ticket) : "";
}

void SessionHost::FailParked(uint64_t ticket, const absl::Status& status, Turn& turn) {
  if (FailAsk(ticket, status, turn)) return;
  if (std::optional<ParkedCall> call = parked_.Unpark(ticket)) {
    turn.answers.Add(*std::move(call), status);
  }
}

}  // namespace talweg::server
