// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/oracle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "tests/simulation/exact_number.h"

namespace talweg::simulation {
namespace {

using core::Verdict;

std::string Text(const core::Answer& answer) {
  constexpr const char* kNames[] = {"APPLIED",      "TOO_STALE", "REJECTED_NON_FINITE",
                                    "ROUND_CLOSED", "ABSTAINED", "PENDING"};
  return absl::StrCat(kNames[static_cast<size_t>(answer.verdict)], " ", answer.applied_version,
                      answer.replayed ? " again" : "",
                      answer.will_not_count ? " will not count" : "");
}

std::string Text(const std::string& error, const std::optional<core::Answer>& answer, bool waits) {
  if (!error.empty()) return error;
  if (answer.has_value()) return Text(*answer);
  return waits ? "waits" : "no answer";
}

bool Same(const core::Answer& a, const core::Answer& b) {
  return a.verdict == b.verdict && a.replayed == b.replayed &&
         a.applied_version == b.applied_version && a.will_not_count == b.will_not_count;
}

// The label of the promise that is broken if this error was due and did not come; for "", if an
// error came that was not due.
const char* LabelOfMissing(const std::string& error) {
  if (error == "HISTORY_CHANGED") return "foreign_history_taken";
  if (error == "INCARNATION_FENCED") return "fenced_taken";
  if (error == "WORKER_NOT_JOINED") return "stranger_taken";
  if (error == "SEQUENCE_TOO_OLD") return "old_sequence_taken";
  if (error == "SEQUENCE_REUSED") return "other_payload_taken";
  if (error == "VERSION_AHEAD") return "future_version_taken";
  return "error_wrong";
}

}  // namespace

Oracle::Oracle(const WorldConfig& world, Trace& trace)
    : world_(world), trace_(trace), model_(world) {}

void Oracle::Violate(Nanoseconds now, const std::string& label, const std::string& text) {
  trace_.Explain(now, absl::StrCat("VIOLATION ", label, ": ", text));
  if (fine()) {
    violation_ = {label, absl::StrCat("at ", static_cast<double>(now) / 1e9, " s: ", text)};
  }
}

void Oracle::Check(bool holds, const char* label, const std::string& text) {
  if (!holds) Violate(now_, label, text);
}

void Oracle::Created(uint64_t history, const Settings& settings, Nanoseconds now) {
  model_.Create(history, settings, now);
  ledger_.Clear();
  reference_.Begin(FirstParameters(world_), world_.decay);
  asked_.clear();
}

std::shared_ptr<const Oracle::Memory> Oracle::Remember() const {
  return std::make_shared<const Memory>(
      Memory{model_.Save(), ledger_.Now(), reference_.parameters()});
}

void Oracle::Restored(const Memory& memory, uint64_t history, const Settings& settings,
                      Nanoseconds now, const core::Session* session) {
  now_ = now;
  model_.Restore(memory.model, history, settings, now);
  ledger_.GoBackTo(memory.mark);
  reference_.Begin(memory.parameters, world_.decay);
  asked_.clear();
  if (session == nullptr) {
    return Violate(now, "state_refused", "a saved state cannot be loaded");
  }
  CheckCounters(*session);
}

void Oracle::SawCopy(bool same, Nanoseconds now) {
  if (!same) Violate(now, "state_differs", "a state that was loaded is saved as another");
}

uint32_t Oracle::WorkerOfTicket(uint64_t ticket) const {
  return model_.WorkerOfTicket(ticket).value_or(0);
}

void Oracle::Saw(const core::Event& event, const Payload& payload, const core::Effects& effects,
                 const core::Session& session, Nanoseconds now) {
  now_ = now;
  const bool is_step = std::holds_alternative<core::StepTaken>(event);
  const std::vector<Counted> counted = is_step ? model_.counted() : std::vector<Counted>{};
  const Settings settings = model_.settings();
  const uint64_t close_config_version = model_.close_config_version();
  const Abstained abstained{model_.num_abstained(), model_.abstained()};
  const Expected expected = model_.Handle(event, payload, now);
  const std::string error = effects.status.ok() ? "" : core::ReasonName(effects.status);
  trace_.Say(now, "event", event.index(), model_.version(), effects.waits, effects.fold,
             effects.step.has_value(), effects.released.size(), error.size());

  const auto* contribution = std::get_if<core::Contribution>(&event);
  if (contribution != nullptr) {
    CheckContribution(*contribution, expected, effects);
  } else {
    Check(error == expected.error, LabelOfMissing(expected.error),
          absl::StrCat("got \"", error, "\", expected \"", expected.error, "\""));
    Check(!effects.answer.has_value() && !effects.waits && !effects.fold, "answer_unasked",
          "nobody asked");
    Check(effects.incarnation == expected.incarnation, "fenced_by_itself",
          absl::StrCat("a joiner is incarnation ", effects.incarnation, ", expected ",
                       expected.incarnation));
  }
  if (effects.step.has_value() != expected.step) {
    const bool is_tick = std::holds_alternative<core::Tick>(event);
    Check(false,
          effects.step.has_value() ? "closed_early"
          : is_tick                ? "waits_for_expired"
                                   : "not_closed",
          absl::StrCat("with ", model_.counted().size(), " contributions and ",
                       model_.num_outstanding(), " expected"));
  }
  // The record comes first: answers are compared with it.
  Check((effects.made != nullptr) == is_step, "record_missing", "a record comes with each step");
  if (is_step && effects.made != nullptr) {
    CheckRecord(counted, settings, close_config_version, *effects.made);
    CheckAbstained(abstained, *effects.made);
  }
  CheckReleased(expected, effects);
  if (effects.step.has_value() && expected.step) CheckOrder(*effects.step);
  if (is_step && world_.num_elements > 0) {
    reference_.Take(counted, settings);
    const absl::Span<const float> parameters = session.parameters()->values.span();
    Check(parameters.size() == reference_.parameters().size() &&
              std::memcmp(parameters.data(), reference_.parameters().data(),
                          parameters.size() * sizeof(float)) == 0,
          "parameters_differ", absl::StrCat("at version ", model_.version()));
  }
  CheckCounters(session);
}

void Oracle::CheckContribution(const core::Contribution& contribution, const Expected& expected,
                               const core::Effects& effects) {
  const Key key{WorkerOf(contribution.worker), contribution.incarnation, contribution.sequence};
  const std::string error = effects.status.ok() ? "" : core::ReasonName(effects.status);
  const std::string got = Text(error, effects.answer, effects.waits);
  const std::string due = Text(expected.error, expected.answer, expected.waits);
  const std::string story =
      absl::StrCat(contribution.worker, "/", key.incarnation, "/", key.sequence, " at version ",
                   contribution.base_version, ": got ", got, ", expected ", due);
  if (trace_.aloud()) trace_.Explain(now_, story);
  const bool counts = effects.fold || (effects.step.has_value() && expected.counted);
  const bool same_answer = effects.answer.has_value() == expected.answer.has_value() &&
                           effects.waits == expected.waits &&
                           effects.will_not_count == expected.will_not_count &&
                           (!effects.answer.has_value() || Same(*effects.answer, *expected.answer));
  const bool anew = expected.repeats && !(effects.answer.has_value() && effects.answer->replayed);
  if (counts && !expected.counted) {
    Check(false,
          !expected.error.empty() ? LabelOfMissing(expected.error)
          : IsCounted(key)        ? "counted_twice"
          : anew                  ? "repeat_judged_anew"
          : expected.ahead        ? "bound_exceeded"
                                  : "counted_unasked",
          story);
  } else if (error != expected.error) {
    Check(false, LabelOfMissing(expected.error), story);
  } else if (!same_answer) {
    Check(false,
          anew             ? "repeat_judged_anew"
          : expected.ahead ? "bound_exceeded"
                           : "answer_wrong",
          story);
  } else if (expected.counted && !counts) {
    Check(false, "not_counted", story);
  } else if (effects.fold) {
    Check(effects.weight == expected.weight, "weight_wrong",
          absl::StrCat(story, ", weight ", effects.weight, " for ", expected.weight));
  }
  if (effects.waits) asked_[contribution.ticket] = key;
  if (effects.answer.has_value() && effects.answer->verdict != Verdict::kPending) {
    CheckFinal(key, *effects.answer);
  }
}

// Whether the contribution is part of the open round. In a synchronous round a worker may be part
// once, so any other contribution of its worker counts too.
bool Oracle::IsCounted(const Key& key) const {
  const std::vector<Counted>& counted = model_.counted();
  return std::any_of(counted.begin(), counted.end(), [&](const Counted& one) {
    return one.key == key || (model_.synchronous() && one.key.worker == key.worker);
  });
}

void Oracle::CheckFinal(const Key& key, const core::Answer& answer) {
  const Violation violation = ledger_.Answer(key, answer);
  if (!violation.label.empty()) Violate(now_, violation.label, violation.text);
}

void Oracle::CheckReleased(const Expected& expected, const core::Effects& effects) {
  absl::flat_hash_map<uint64_t, const Expected::Release*> due;
  for (const Expected::Release& release : expected.released) due[release.ticket] = &release;
  for (const core::Released& released : effects.released) {
    const std::string error = released.status.ok() ? "" : core::ReasonName(released.status);
    const std::string got = Text(error, released.answer, false);
    if (trace_.aloud()) {
      trace_.Explain(now_, absl::StrCat("ticket ", released.ticket, " is told ", got));
    }
    const auto asked = asked_.find(released.ticket);
    if (asked == asked_.end()) {
      Check(false, "nobody_waits", absl::StrCat("ticket ", released.ticket, ": ", got));
      continue;
    }
    const Key key = asked->second;
    asked_.erase(asked);
    const auto found = due.find(released.ticket);
    if (found == due.end()) {
      Check(false, model_.bounded() && error.empty() ? "bound_exceeded" : "let_go_early",
            absl::StrCat("ticket ", released.ticket, ": ", got, ", ", model_.Lead(key.worker),
                         " ahead"));
    } else {
      const Expected::Release& release = *found->second;
      const bool let_go = release.error.empty() && error.empty() && model_.bounded() &&
                          release.answer.verdict == Verdict::kPending &&
                          released.answer.verdict != Verdict::kPending;
      Check(error == release.error && (!error.empty() || Same(released.answer, release.answer)),
            let_go ? "bound_exceeded" : "answer_wrong",
            absl::StrCat("ticket ", released.ticket, ": got ", got, ", expected ",
                         Text(release.error, release.answer, false)));
      due.erase(found);
    }
    if (error.empty() && released.answer.verdict != Verdict::kPending) {
      CheckFinal(key, released.answer);
    }
  }
  for (const auto& [ticket, release] : due) {
    Check(false, "kept_waiting",
          absl::StrCat("ticket ", ticket, " should have got ",
                       Text(release->error, release->answer, false)));
    return;
  }
}

void Oracle::CheckOrder(const core::StepOrder& order) {
  const std::vector<Counted>& counted = model_.counted();
  const core::AggregationConfig& policy = model_.settings().policy;
  order_ = order;
  ordered_at_ = model_.now();
  ExactNumber weight;
  for (const Counted& one : counted) weight.Add(one.weight);
  Check(order.number == model_.version() + 1, "order_wrong", "another version");
  Check(order.contributors == counted.size(), "order_wrong",
        absl::StrCat(order.contributors, " contributors, counted ", counted.size()));
  Check(order.total_weight >= weight.Value(), "weight_missing",
        absl::StrCat("total ", order.total_weight, ", members weigh ", weight.Value()));
  Check(order.total_weight <= weight.Value(), "weight_surplus",
        absl::StrCat("total ", order.total_weight, ", members weigh ", weight.Value()));
  Check(order.learning_rate == model_.settings().learning_rate, "order_wrong", "another rate");
  const size_t trim = policy.reduction == core::Reduction::kTrimmedMean
                          ? static_cast<size_t>(std::floor(policy.trim_fraction *
                                                           static_cast<double>(counted.size())))
                          : 0;
  Check(order.trim == trim, "order_wrong", "trims another number");
  if (policy.reduce_order == core::ReduceOrder::kByWorker) {
    bool sorted = order.by_worker.size() == counted.size();
    for (size_t place = 0; sorted && place < counted.size(); ++place) {
      sorted = order.by_worker[place] < counted.size() &&
               (place == 0 || counted[order.by_worker[place - 1]].key.worker <
                                  counted[order.by_worker[place]].key.worker);
    }
    Check(sorted, "order_wrong", "not by worker");
  }
  // A worker is late if it was expected, is there, and is not part of the round. A worker that was
  // refused, or is waited for no longer, may be named as late or not.
  fewest_late_ = model_.synchronous() ? model_.num_outstanding() : 0;
  most_late_ = 0;
  if (!model_.synchronous()) return;
  for (uint32_t worker = 0; worker < world_.num_workers; ++worker) {
    if (model_.WasExpected(worker)) ++most_late_;
  }
}

void Oracle::CheckRecord(const std::vector<Counted>& counted, const Settings& settings,
                         uint64_t close_config_version, const core::VersionRecord& record) {
  const Violation violation =
      ledger_.Record(record, settings.policy.mode == core::AggregationMode::kSynchronous);
  if (!violation.label.empty()) Violate(now_, violation.label, violation.text);
  Check(record.version == model_.version(), "record_wrong", "another version");
  Check(record.config_version == settings.config_version, "record_wrong", "another configuration");
  Check(record.close_config_version ==
            (close_config_version == settings.config_version ? 0 : close_config_version),
        "record_wrong", "closed by the rule of another configuration");
  Check(record.total_weight == order_.total_weight, "record_wrong", "another weight");
  Check(FromTime(record.closed) >= ordered_at_ && FromTime(record.closed) <= model_.now(),
        "record_wrong", "closed at another time");
  Check(record.num_late >= fewest_late_ && record.num_late <= most_late_, "late_wrong",
        absl::StrCat(record.num_late, " late, expected ", fewest_late_, " to ", most_late_));
  Check(record.num_late + record.num_expired <= most_late_, "late_wrong",
        absl::StrCat(record.num_late, " late and ", record.num_expired, " expired, expected ",
                     most_late_, " at most"));
  for (const std::string& name : record.expired_workers) {
    Check(model_.WasExpected(WorkerOf(name)), "late_wrong",
          absl::StrCat(name, " is told as expired, and was not expected"));
  }
  Check(record.late_workers.size() == std::min<size_t>(record.num_late, core::kMaxLateNames),
        "late_wrong", "another number of names");
  bool same = record.members.size() == counted.size();
  for (size_t place = 0; same && place < counted.size(); ++place) {
    const core::RoundMember& member = record.members[place];
    const Counted& one = counted[place];
    same = WorkerOf(member.worker) == one.key.worker && member.incarnation == one.key.incarnation &&
           member.sequence == one.key.sequence && member.base_version == one.payload.base_version &&
           member.weight == one.weight && FromTime(member.time) == one.time;
  }
  Check(same, "record_wrong",
        absl::StrCat("its members are not those of version ", record.version));
  Check(counted.empty() || FromTime(record.opened) == counted.front().time, "record_wrong",
        "opened at another time");
}

void Oracle::CheckAbstained(const Abstained& abstained, const core::VersionRecord& record) {
  std::vector<std::string> names(abstained.workers.begin(), abstained.workers.end());
  if (names.size() > core::kMaxLateNames) names.resize(core::kMaxLateNames);
  Check(record.num_abstained == abstained.count && record.abstained_workers == names,
        "record_wrong",
        absl::StrCat(record.num_abstained, " abstentions, expected ", abstained.count));
}

void Oracle::CheckCounters(const core::Session& session) {
  const core::RoundMachine& machine = session.machine();
  const auto same = [&](const char* what, uint64_t got, uint64_t due) {
    if (got != due) {
      Check(false, "count_wrong", absl::StrCat(what, " is ", got, ", expected ", due));
    }
  };
  same("history", machine.history(), model_.history());
  same("version", machine.version(), model_.version());
  same("num_workers", machine.num_workers(), model_.num_workers());
  same("num_live_workers", machine.num_live_workers(), model_.num_live());
  same("num_waiting", machine.num_waiting(), model_.num_waiting());
  same("num_folded", machine.num_folded(), model_.num_folded());
  const Nanoseconds due = model_.NextDue();
  if (due != Model::kNever && machine.NextTick() > ToTime(std::max(due, model_.now()))) {
    Check(false, "tick_not_asked",
          absl::StrCat("something is due at ", static_cast<double>(due) / 1e9, " s, asked for is ",
                       absl::ToDoubleSeconds(machine.NextTick() - absl::UnixEpoch())));
  }
}

}  // namespace talweg::simulation
