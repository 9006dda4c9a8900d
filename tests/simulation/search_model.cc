// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/search_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::simulation {
namespace {

using core::PairStatus;
using core::TellVerdict;

bool IsFinite(double loss) { return std::abs(loss) <= 1e30; }

std::string TextOf(const std::optional<core::EvaluationLease>& lease) {
  if (!lease.has_value()) return "nothing";
  return absl::StrCat("lease ", lease->lease, " generation ", lease->generation, " version ",
                      lease->version, " pairs ", lease->first_pair, "+", lease->num_pairs,
                      lease->held ? " held" : "");
}

}  // namespace

SearchModel::SearchModel(core::PlainPerturbation perturbation, std::vector<float> first_parameters,
                         SearchKnowledge::Settings settings, uint64_t history)
    : perturbation_(std::move(perturbation)) {
  known_.history = history;
  known_.settings = std::move(settings);
  known_.parameters = std::move(first_parameters);
  Open(1);
}

void SearchModel::Restore(const SearchKnowledge& known, uint64_t history, absl::Time now) {
  known_ = known;
  if (history != 0) known_.history = history;
  known_.now = now;
  capacity_ = 0;
  known_.queue.clear();
  known_.last_lease = 0;
  known_.ever_leased = static_cast<uint32_t>(known_.pairs.size());
  const auto forget = [](Pair& pair) {
    pair.leased = false;
    pair.last_lease = 0;
  };
  for (Pair& pair : known_.pairs) forget(pair);
  if (known_.evaluation.has_value()) forget(*known_.evaluation);
  if (known_.first_told != absl::InfiniteFuture()) known_.first_told = now;
  for (auto& [name, member] : known_.members) {
    Member blank;
    blank.incarnation = member.incarnation;
    blank.lease_end = LeaseEnd();
    member = blank;
  }
}

void SearchModel::Violate(const std::string& label, const std::string& text) {
  if (!label_.empty()) return;
  label_ = label;
  text_ = text;
}
void SearchModel::Check(bool holds, const char* label, const std::string& text) {
  if (!holds) Violate(label, text);
}

void SearchModel::Open(uint32_t generation) {
  const core::SearchConfig& search = known_.settings.search;
  known_.generation = generation;
  known_.begun = false;
  known_.ever_leased = 0;
  known_.pairs.assign(search.num_pairs, {});
  known_.evaluation.reset();
  if (search.evaluates(known_.version)) known_.evaluation = SearchKnowledge::Pair{};
  known_.first_told = absl::InfiniteFuture();
}

void SearchModel::OpenNext() {
  if (known_.next.has_value()) known_.settings = *std::exchange(known_.next, std::nullopt);
  Open(known_.generation + 1);
}

bool SearchModel::finished() const { return known_.settings.search.IsFinishedAt(known_.version); }
absl::Time SearchModel::LeaseEnd() const {
  return known_.now + absl::Seconds(static_cast<int64_t>(known_.settings.lease_seconds));
}

// --- Members and leases.

template <class At>
void SearchModel::ForEachHeld(Member& member, const At& at) {
  if (member.lease == 0 || member.generation != known_.generation) return;
  const auto look = [&](Pair& pair) {
    if (pair.leased && pair.last_lease == member.lease) at(pair);
  };
  if (member.count == 0 && known_.evaluation.has_value()) look(*known_.evaluation);
  for (uint32_t i = member.first; i < member.first + member.count; ++i) look(known_.pairs[i]);
}

bool SearchModel::Holds(const Member& member) const {
  bool holds = false;
  const_cast<SearchModel*>(this)->ForEachHeld(const_cast<Member&>(member),
                                              [&](Pair&) { holds = true; });
  return holds;
}

void SearchModel::GiveBack(Member& member, bool lost) {
  ForEachHeld(member, [&](Pair& pair) {
    pair.leased = false;
    if (!lost) return;
    pair.dropped = ++pair.lost >= known_.settings.search.max_lost_leases;
    if (pair.dropped) ++num_lost_;
  });
  member.expires = absl::InfiniteFuture();
}

std::string SearchModel::ReasonFor(uint64_t history, const std::string& worker,
                                   uint64_t incarnation) const {
  if (history != known_.history) return "HISTORY_CHANGED";
  const auto found = known_.members.find(worker);
  if (found == known_.members.end() || incarnation > found->second.incarnation) {
    return "WORKER_NOT_JOINED";
  }
  return incarnation < found->second.incarnation ? "INCARNATION_FENCED" : "";
}

void SearchModel::Renew(Member& member) {
  member.lease_end = LeaseEnd();
  member.live = true;
}

void SearchModel::LookAtAll() {
  for (auto& [name, member] : known_.members) {
    if (!member.live) continue;
    if (member.tickets.empty() && member.lease_end <= known_.now) {
      GiveBack(member, true);
      member.live = false;
    } else if (member.expires <= known_.now) {
      GiveBack(member, true);
    }
  }
}

std::optional<core::EvaluationLease> SearchModel::LeaseTo(Member& member, uint32_t capacity) {
  if (finished()) return std::nullopt;
  if (member.expires <= known_.now) GiveBack(member, true);
  const bool held = Holds(member);
  if (!held) {
    std::vector<Pair*> given;
    uint32_t first = 0;
    if (known_.evaluation.has_value() && known_.evaluation->is_free()) {
      given.push_back(&*known_.evaluation);
    } else if (HasEnough()) {
      return std::nullopt;
    } else {
      while (first < known_.pairs.size() && !known_.pairs[first].is_free()) ++first;
      for (uint32_t i = first;
           i < known_.pairs.size() && i < first + capacity && known_.pairs[i].is_free(); ++i) {
        const bool is_alone = known_.pairs[first].lost >= 2 || known_.pairs[i].lost >= 2;
        if (i > first && is_alone) break;
        given.push_back(&known_.pairs[i]);
      }
      if (given.empty()) return std::nullopt;
      known_.ever_leased =
          std::max(known_.ever_leased, first + static_cast<uint32_t>(given.size()));
    }
    const bool evaluates = known_.evaluation.has_value() && given.front() == &*known_.evaluation;
    member.lease = ++known_.last_lease;
    member.generation = known_.generation;
    member.first = evaluates ? 0 : first;
    member.count = evaluates ? 0 : static_cast<uint32_t>(given.size());
    member.expires = known_.now + absl::Seconds(known_.settings.search.evaluation_seconds);
    for (Pair* pair : given) {
      pair->leased = true;
      pair->last_lease = member.lease;
    }
    known_.begun = true;
  }
  return core::EvaluationLease{static_cast<uint32_t>(member.lease),
                               known_.generation,
                               known_.version,
                               member.first,
                               member.count,
                               known_.settings.search.SigmaAt(known_.version),
                               member.expires - known_.now,
                               held};
}

void SearchModel::CheckLease(const core::AskAnswer& answer,
                             const std::optional<core::EvaluationLease>& expected) {
  const std::string texts =
      absl::StrCat("leased ", TextOf(answer.lease), ", expected ", TextOf(expected));
  Check(TextOf(answer.lease) == TextOf(expected), "lease_wrong", texts);
  if (answer.lease.has_value() && expected.has_value()) {
    Check(answer.lease->sigma == expected->sigma, "sigma_wrong", texts);
    Check(answer.lease->expires_in == expected->expires_in, "expiry_wrong", texts);
  }
  Check(answer.finished == finished(), "finished_wrong", texts);
  Check(answer.generation == known_.generation && answer.version == known_.version, "lease_wrong",
        texts);
}

void SearchModel::CheckNext(const std::optional<core::EvaluationLease>& next,
                            const std::string& worker, uint32_t capacity) {
  std::optional<core::EvaluationLease> expected;
  if (capacity > 0) expected = LeaseTo(known_.members[worker], capacity);
  Check(TextOf(next) == TextOf(expected), "lease_wrong",
        absl::StrCat("a tell gets ", TextOf(next), ", expected ", TextOf(expected)));
}

void SearchModel::ServeWaiting(const core::SearchEffects& effects) {
  size_t place = 0;
  while (!known_.queue.empty()) {
    const auto [name, incarnation] = known_.queue.front();
    const auto found = known_.members.find(name);
    if (found == known_.members.end() || found->second.incarnation != incarnation ||
        found->second.tickets.empty()) {
      known_.queue.pop_front();
      continue;
    }
    Member& member = found->second;
    const std::optional<core::EvaluationLease> lease = LeaseTo(member, member.capacity);
    if (!lease.has_value() && !finished()) break;
    known_.queue.pop_front();
    for (const uint64_t ticket : member.tickets) {
      if (place == effects.given.size() || effects.given[place].ticket != ticket) {
        return Violate("kept_waiting",
                       absl::StrCat(name, " waits, although there is ", TextOf(lease), " for it"));
      }
      CheckLease(effects.given[place++].answer, lease);
    }
    member.tickets.clear();
    member.lease_end = std::max(member.lease_end, LeaseEnd());
  }
  Check(place == effects.given.size(), "given_too_much",
        absl::StrCat(effects.given.size(), " calls are let go, expected ", place));
}

// --- Losses.

bool SearchModel::HasEnough() const {
  const core::SearchConfig& search = known_.settings.search;
  const auto told = static_cast<uint64_t>(
      std::count_if(known_.pairs.begin(), known_.pairs.end(),
                    [](const Pair& pair) { return pair.losses.has_value(); }));
  return search.close == core::GenerationClose::kCount && told >= search.close_pairs;
}

core::TellCounts SearchModel::Take(const core::Tell& tell) {
  const core::SearchConfig& search = known_.settings.search;
  const size_t per_pair = tell.evaluate ? 1 : search.losses_per_pair();
  core::TellCounts counts;
  for (size_t i = 0; i * per_pair < tell.losses.size(); ++i) {
    Pair& pair = tell.evaluate ? *known_.evaluation : known_.pairs[tell.first_pair + i];
    const PairStatus status = tell.statuses.empty() ? PairStatus::kOk : tell.statuses[i];
    std::vector<double> losses(tell.losses.begin() + static_cast<ptrdiff_t>(i * per_pair),
                               tell.losses.begin() + static_cast<ptrdiff_t>((i + 1) * per_pair));
    bool finite = status == PairStatus::kOk;
    for (const double loss : losses) finite = finite && IsFinite(loss);
    const bool failed =
        status == PairStatus::kFailed ||
        (!finite && (tell.evaluate || search.non_finite == core::NonFinitePolicy::kRetry));
    // A failure counts once for each lease of the pair.
    const bool is_old = failed && pair.last_lease != tell.lease;
    if (pair.is_settled() || is_old || (!tell.evaluate && HasEnough())) {
      ++counts.num_repeated;
    } else if (failed) {
      pair.leased = false;
      pair.last_lease = 0;
      pair.dropped = ++pair.failures >= search.max_failures;
      ++(pair.dropped ? counts.num_dropped : counts.num_to_retry);
    } else if (!finite && search.non_finite == core::NonFinitePolicy::kDrop) {
      pair.leased = false;
      pair.dropped = true;
      ++counts.num_dropped;
    } else {
      for (double& loss : losses) {
        if (status == PairStatus::kNonFinite || !IsFinite(loss)) loss = search.WorstLoss();
      }
      pair.leased = false;
      pair.losses = losses;
      ++counts.num_accepted;
      if (!tell.evaluate) known_.first_told = std::min(known_.first_told, known_.now);
    }
  }
  return counts;
}

bool SearchModel::IsLost() const {
  if (known_.settings.search.needs_evaluation() && known_.evaluation->dropped) return true;
  return std::all_of(known_.pairs.begin(), known_.pairs.end(),
                     [](const Pair& pair) { return pair.dropped; });
}

absl::Time SearchModel::Deadline() const {
  const core::SearchConfig& search = known_.settings.search;
  const bool lacks = search.needs_evaluation() && !known_.evaluation->is_settled();
  if (search.close != core::GenerationClose::kDeadline || lacks ||
      known_.first_told == absl::InfiniteFuture()) {
    return absl::InfiniteFuture();
  }
  return known_.first_told + absl::Seconds(search.close_seconds);
}

bool SearchModel::MustClose() const {
  const core::SearchConfig& search = known_.settings.search;
  uint64_t told = 0;
  uint64_t settled = 0;
  for (const Pair& pair : known_.pairs) {
    told += pair.losses.has_value() ? 1 : 0;
    settled += pair.is_settled() ? 1 : 0;
  }
  if (told == 0) return false;
  const bool evaluates = known_.evaluation.has_value() && !known_.evaluation->is_settled();
  if (evaluates && (search.needs_evaluation() || search.close == core::GenerationClose::kAll)) {
    return false;
  }
  return settled == known_.pairs.size() ||
         (search.close == core::GenerationClose::kCount && told >= search.close_pairs) ||
         known_.now >= Deadline();
}

void SearchModel::CloseIfDue(const core::SearchEffects& effects) {
  if (finished()) return Check(!effects.step.has_value(), "closed_early", "the search is finished");
  if (IsLost()) {
    Check(!effects.step.has_value(), "closed_early", "the generation is lost");
    return OpenNext();
  }
  const bool must = MustClose();
  Check(!must || effects.step.has_value(), "not_closed", "the generation must close");
  Check(must || !effects.step.has_value(), "closed_early", "the generation must not close yet");
}

// --- Events.

void SearchModel::Saw(const server::Decision& decision) {
  if (!label_.empty()) return;
  known_.now = std::max(known_.now, decision.time);
  if (decision.search == nullptr) return Violate("effects_missing", "a search decided nothing");
  if (decision.search_event != nullptr) {
    if (const auto* ask = std::get_if<core::Ask>(decision.search_event)) On(*ask, decision);
    if (const auto* tell = std::get_if<core::Tell>(decision.search_event)) On(*tell, decision);
  } else if (const auto* join = std::get_if<core::Join>(decision.event)) {
    On(*join, decision);
  } else if (const auto* heartbeat = std::get_if<core::Heartbeat>(decision.event)) {
    On(*heartbeat, decision);
  } else if (const auto* leave = std::get_if<core::Leave>(decision.event)) {
    On(*leave, decision);
  } else if (const auto* ended = std::get_if<core::CallEnded>(decision.event)) {
    On(*ended, decision);
  } else if (const auto* tick = std::get_if<core::Tick>(decision.event)) {
    On(*tick, decision);
  } else if (const auto* taken = std::get_if<core::StepTaken>(decision.event)) {
    On(*taken, decision);
  } else if (const auto* configure = std::get_if<core::Configure>(decision.event)) {
    On(*configure, decision);
  }
  if (decision.search->step.has_value()) return;
  // A tick must be asked for when something is due.
  const absl::Time tick = decision.session.NextTick();
  const auto check = [&](absl::Time due, const std::string& what) {
    Check(tick <= due || tick <= known_.now, "tick_not_asked",
          absl::StrCat("a tick is asked for ", absl::FormatDuration(tick - due), " after ", what));
  };
  check(Deadline(), "the deadline");
  if (!finished() && (IsLost() || MustClose())) check(known_.now, "the last pair was lost");
  for (const auto& [name, member] : known_.members) {
    if (!member.live) continue;
    if (member.tickets.empty()) check(member.lease_end, absl::StrCat(name, " expires"));
    check(member.expires, absl::StrCat("the evaluation of ", name, " has taken too long"));
  }
}

void SearchModel::On(const core::Join& join, const server::Decision& decision) {
  if (!decision.effects.status.ok()) {
    // A late attempt of the process before.
    return Check(core::ReasonName(decision.effects.status) == "INCARNATION_FENCED", "error_wrong",
                 decision.effects.status.ToString());
  }
  const auto [found, is_new] = known_.members.try_emplace(join.worker);
  Member& member = found->second;
  if (decision.search->incarnation != join.incarnation) return Renew(member);  // a repeat
  Check(is_new || member.incarnation < join.incarnation, "fenced_taken", join.worker);
  Check(decision.effects.released.size() == member.tickets.size(), "kept_waiting",
        "calls of an older incarnation");
  if (member.live) GiveBack(member, true);
  member = Member{};
  member.incarnation = join.incarnation;
  Renew(member);
  ServeWaiting(*decision.search);
}

void SearchModel::On(const core::Heartbeat& heartbeat, const server::Decision& decision) {
  const std::string reason = ReasonFor(heartbeat.history, heartbeat.worker, heartbeat.incarnation);
  Check(core::ReasonName(decision.effects.status) == reason, "error_wrong", reason);
  if (reason.empty()) Renew(known_.members[heartbeat.worker]);
}

void SearchModel::On(const core::Leave& leave, const server::Decision& decision) {
  const std::string reason = ReasonFor(leave.history, leave.worker, leave.incarnation);
  Check(core::ReasonName(decision.effects.status) == reason, "error_wrong", reason);
  if (!reason.empty()) return;
  GiveBack(known_.members[leave.worker], false);
  known_.members.erase(leave.worker);
  ServeWaiting(*decision.search);
}

void SearchModel::On(const core::CallEnded& ended, const server::Decision& /*decision*/) {
  const auto found = known_.members.find(ended.worker);
  if (found == known_.members.end()) return;
  if (std::erase(found->second.tickets, ended.ticket) > 0) found->second.lease_end = LeaseEnd();
}

void SearchModel::On(const core::Tick& /*tick*/, const server::Decision& decision) {
  LookAtAll();
  CloseIfDue(*decision.search);
  if (!decision.search->step.has_value()) ServeWaiting(*decision.search);
}

void SearchModel::On(const core::Ask& ask, const server::Decision& decision) {
  const std::string reason = ReasonFor(ask.history, ask.worker, ask.incarnation);
  Check(core::ReasonName(decision.effects.status) == reason, "error_wrong",
        absl::StrCat("an ask gets ", core::ReasonName(decision.effects.status), ", expected ",
                     reason));
  if (!reason.empty()) return void(++num_refused_);
  Member& member = known_.members[ask.worker];
  Renew(member);
  const std::optional<core::EvaluationLease> lease = LeaseTo(member, ask.capacity);
  if (lease.has_value() || finished() || !ask.may_wait) {
    if (!decision.search->asked.has_value()) {
      return Violate("kept_waiting", absl::StrCat("an ask waits for ", TextOf(lease)));
    }
    return CheckLease(*decision.search->asked, lease);
  }
  Check(decision.search->waits, "lease_wrong", "there is nothing to lease");
  member.tickets.push_back(ask.ticket);
  member.capacity = ask.capacity;
  known_.queue.emplace_back(ask.worker, ask.incarnation);
}

void SearchModel::On(const core::Tell& tell, const server::Decision& decision) {
  std::string reason = ReasonFor(tell.history, tell.worker, tell.incarnation);
  const bool beyond =
      tell.generation > known_.generation ||
      (tell.generation == known_.generation && !tell.evaluate &&
       tell.first_pair + tell.losses.size() / known_.settings.search.losses_per_pair() >
           known_.pairs.size());
  if (reason.empty()) Renew(known_.members[tell.worker]);
  if (reason.empty() && beyond) reason = "FIELD_OUT_OF_RANGE";
  Check(core::ReasonName(decision.effects.status) == reason, "error_wrong",
        absl::StrCat("a tell gets ", core::ReasonName(decision.effects.status), ", expected ",
                     reason));
  if (!reason.empty() || !decision.search->told.has_value()) return void(++num_refused_);
  const core::TellAnswer& answer = *decision.search->told;
  core::TellAnswer expected;
  const size_t count = tell.losses.size() / known_.settings.search.losses_per_pair();
  if (tell.generation < known_.generation || finished()) {
    expected.verdict = TellVerdict::kLate;
  } else if (tell.evaluate
                 ? !known_.evaluation.has_value() || !(known_.begun || known_.ever_leased > 0)
                 : tell.first_pair + count > known_.ever_leased) {
    expected.verdict = TellVerdict::kNotLeased;
  } else {
    expected.counts = Take(tell);
    const core::TellCounts& counts = expected.counts;
    if (counts.num_accepted + counts.num_to_retry + counts.num_dropped == 0) {
      expected.verdict = TellVerdict::kRepeated;
    } else {
      known_.begun = true;
    }
  }
  const auto text = [](const core::TellAnswer& told) {
    return absl::StrCat("verdict ", told.verdict, ": ", told.counts.num_accepted, " accepted, ",
                        told.counts.num_repeated, " repeated, ", told.counts.num_to_retry,
                        " to retry, ", told.counts.num_dropped, " dropped");
  };
  Check(text(answer) == text(expected), "verdict_wrong",
        absl::StrCat(text(answer), "; expected ", text(expected)));
  if (expected.verdict == TellVerdict::kAccepted) {
    CloseIfDue(*decision.search);
    if (decision.search->step.has_value()) {
      teller_ = tell.worker;
      capacity_ = tell.capacity;
      return;
    }
    ServeWaiting(*decision.search);
  }
  CheckNext(answer.next, tell.worker, tell.capacity);
}

void SearchModel::On(const core::Configure& configure, const server::Decision& decision) {
  if (!decision.effects.status.ok()) return Violate("error_wrong", "a change is refused");
  const core::SessionConfig& config = decision.session.newest_config();
  const SearchKnowledge::Settings settings{
      config.search.value(), config.schedule.rate().value().learning_rate,
      config.aggregation.value().lease_seconds, configure.config_version};
  if (known_.begun && !finished()) {
    known_.next = settings;
    return;
  }
  const uint32_t number = known_.generation + (finished() ? 0 : 1);
  known_.settings = settings;
  known_.next.reset();
  Open(number);
  ServeWaiting(*decision.search);
}

}  // namespace talweg::simulation
