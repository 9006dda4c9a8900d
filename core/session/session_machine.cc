// SPDX-License-Identifier: Apache-2.0
#include "core/session/session_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::core {
namespace {

Effects Error(absl::Status status) {
  Effects effects;
  effects.status = std::move(status);
  return effects;
}

void WriteReport(const StepReport& report, ByteWriter& writer) {
  writer.Double(report.learning_rate);
  writer.Double(report.gradient_norm);
  writer.Double(report.clip_factor);
  writer.Double(report.update_norm);
  writer.Uint64(report.staleness);
  writer.Uint32(report.contributors);
  writer.Byte(report.loss.has_value() ? 1 : 0);
  writer.Double(report.loss.value_or(0));
}

absl::Status ReadReport(ByteReader& reader, StepReport& report) {
  uint8_t has_loss = 0;
  double loss = 0;
  TALWEG_RETURN_IF_ERROR(reader.Double(report.learning_rate));
  TALWEG_RETURN_IF_ERROR(reader.Double(report.gradient_norm));
  TALWEG_RETURN_IF_ERROR(reader.Double(report.clip_factor));
  TALWEG_RETURN_IF_ERROR(reader.Double(report.update_norm));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(report.staleness));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(report.contributors));
  TALWEG_RETURN_IF_ERROR(reader.Byte(has_loss));
  TALWEG_RETURN_IF_ERROR(reader.Double(loss));
  if (has_loss != 0) report.loss = loss;
  return absl::OkStatus();
}

void WriteOptionalReport(const std::optional<StepReport>& report, ByteWriter& writer) {
  writer.Byte(report.has_value() ? 1 : 0);
  if (report.has_value()) WriteReport(*report, writer);
}

absl::Status ReadOptionalReport(ByteReader& reader, std::optional<StepReport>& report) {
  uint8_t present = 0;
  TALWEG_RETURN_IF_ERROR(reader.Byte(present));
  report.reset();
  if (present == 0) return absl::OkStatus();
  return ReadReport(reader, report.emplace());
}

}  // namespace

SessionMachine::SessionMachine(uint64_t history, const Schedule& schedule,
                               const AggregationConfig& aggregation)
    : history_(history), schedule_(schedule), aggregation_(aggregation) {
  TALWEG_CHECK(history != 0);
}

Effects SessionMachine::Handle(const Event& event, absl::Time now) {
  return std::visit([&](const auto& typed) { return On(typed, now); }, event);
}

absl::Status CheckHistory(uint64_t history, uint64_t current, uint64_t version) {
  if (history == current) return absl::OkStatus();
  return MakeError(Reason::kHistoryChanged,
                   absl::StrCat("history ", history, " is not the session's, which is ", current,
                                " at version ", version),
                   "", {{"history", absl::StrCat(current)}, {"version", absl::StrCat(version)}});
}

absl::Status SessionMachine::CheckHistory(uint64_t history) const {
  return core::CheckHistory(history, history_, version_);
}

size_t SessionMachine::NumLiveWorkers(absl::Time now) const {
  size_t live = 0;
  for (const auto& [name, worker] : workers_) {
    if (now < worker.lease_end) ++live;
  }
  return live;
}

absl::Time SessionMachine::LeaseEnd(absl::Time now) const {
  return now + absl::Seconds(static_cast<int64_t>(aggregation_.lease_seconds));
}

absl::StatusOr<SessionMachine::Worker*> SessionMachine::FindWorker(uint64_t history,
                                                                   const std::string& name,
                                                                   uint64_t incarnation,
                                                                   absl::Time now) {
  TALWEG_RETURN_IF_ERROR(CheckHistory(history));
  const auto found = workers_.find(name);
  if (found == workers_.end() || incarnation > found->second.incarnation) {
    return MakeError(
        Reason::kWorkerNotJoined,
        absl::StrCat("worker \"", name, "\" has not joined as incarnation ", incarnation));
  }
  Worker& worker = found->second;
  if (incarnation < worker.incarnation) {
    return MakeError(Reason::kIncarnationFenced,
                     absl::StrCat("incarnation ", incarnation, " of worker \"", name,
                                  "\" was replaced by incarnation ", worker.incarnation));
  }
  worker.lease_end = LeaseEnd(now);
  return &worker;
}

Effects SessionMachine::On(const Join& join, absl::Time now) {
  const auto found = workers_.find(join.worker);
  if (found == workers_.end() && workers_.size() >= kMaxWorkers && !ForgetExpiredWorker(now)) {
    return Error(MakeError(
        Reason::kTooManyWorkers,
        absl::StrCat("the session has ", workers_.size(), " workers, allowed: ", kMaxWorkers)));
  }
  TALWEG_CHECK(found == workers_.end() || found->second.incarnation < join.incarnation);
  Worker& worker = workers_[join.worker];
  worker = Worker{};
  worker.incarnation = join.incarnation;
  worker.lease_end = LeaseEnd(now);
  return {};
}

bool SessionMachine::ForgetExpiredWorker(absl::Time now) {
  const auto oldest = std::min_element(
      workers_.begin(), workers_.end(),
      [](const auto& a, const auto& b) { return a.second.lease_end < b.second.lease_end; });
  if (oldest == workers_.end() || oldest->second.lease_end > now) return false;
  workers_.erase(oldest);
  return true;
}

Effects SessionMachine::On(const Heartbeat& heartbeat, absl::Time now) {
  return Error(
      FindWorker(heartbeat.history, heartbeat.worker, heartbeat.incarnation, now).status());
}

Effects SessionMachine::On(const Leave& leave, absl::Time now) {
  const absl::StatusOr<Worker*> worker =
      FindWorker(leave.history, leave.worker, leave.incarnation, now);
  if (!worker.ok()) return Error(worker.status());
  workers_.erase(leave.worker);
  return {};
}

Effects SessionMachine::On(const Contribution& contribution, absl::Time now) {
  TALWEG_CHECK(!open_step_.has_value());
  const absl::StatusOr<Worker*> found =
      FindWorker(contribution.history, contribution.worker, contribution.incarnation, now);
  if (!found.ok()) return Error(found.status());
  Worker& worker = **found;

  if (contribution.sequence < worker.last_sequence) {
    return Error(MakeError(Reason::kSequenceTooOld,
                           absl::StrCat("sequence ", contribution.sequence,
                                        " is older than the last judged, ", worker.last_sequence),
                           "header.sequence"));
  }
  if (contribution.sequence == worker.last_sequence) {
    if (contribution.digest != worker.last_digest) {
      return Error(MakeError(
          Reason::kSequenceReused,
          absl::StrCat("sequence ", contribution.sequence, " was judged with another payload"),
          "header.sequence"));
    }
    Effects effects;
    effects.answer = worker.last_answer;
    // A pending one is told what became of it.
    if (effects.answer->verdict == Verdict::kPending &&
        version_ >= effects.answer->applied_version) {
      effects.answer->verdict = Verdict::kApplied;
      if (effects.answer->applied_version == version_) effects.answer->report = last_step_;
    }
    effects.answer->replayed = true;
    return effects;
  }
  if (contribution.base_version > version_) {
    return Error(MakeError(Reason::kVersionAhead,
                           absl::StrCat("base version ", contribution.base_version,
                                        " is newer than the session, which is at ", version_),
                           "header.base_version"));
  }

  const uint64_t staleness = version_ - contribution.base_version;
  Answer answer;
  answer.applied_version = version_;
  if (staleness > aggregation_.max_staleness) {
    answer.verdict = aggregation_.max_staleness == 0 ? Verdict::kRoundClosed : Verdict::kTooStale;
  } else if (!contribution.finite) {
    answer.verdict = Verdict::kRejectedNonFinite;
  }
  worker.last_sequence = contribution.sequence;
  worker.last_digest = contribution.digest;
  worker.last_answer = answer;
  Effects effects;
  if (answer.verdict != Verdict::kApplied) {
    effects.answer = answer;
    return effects;
  }

  answer.applied_version = version_ + 1;
  ++round_.contributors;
  round_.staleness = std::max(round_.staleness, staleness);
  if (contribution.loss.has_value()) {
    ++round_.num_losses;
    round_.loss_sum += *contribution.loss;
  }
  effects.fold = aggregation_.gradient_accumulation_steps > 1;
  if (round_.contributors < aggregation_.gradient_accumulation_steps) {
    answer.verdict = Verdict::kPending;
    worker.last_answer = answer;
    effects.answer = answer;
    return effects;
  }

  StepReport& report = answer.report.emplace();
  report.learning_rate = schedule_.LearningRate(version_ + 1);
  report.staleness = round_.staleness;
  report.contributors = round_.contributors;
  if (round_.num_losses > 0) report.loss = round_.loss_sum / round_.num_losses;
  effects.step = StepOrder{answer.applied_version, report.learning_rate, round_.contributors};
  round_ = Round{};
  open_step_ = OpenStep{contribution.worker, std::move(answer)};
  return effects;
}

Effects SessionMachine::On(const StepTaken& taken, absl::Time /*now*/) {
  TALWEG_CHECK(open_step_.has_value());
  Answer answer = std::move(open_step_->answer);
  answer.report->gradient_norm = taken.gradient_norm;
  answer.report->clip_factor = taken.clip_factor;
  answer.report->update_norm = taken.update_norm;
  version_ = answer.applied_version;
  last_step_ = answer.report;
  // The worker may have left, or joined anew, meanwhile: then nobody can repeat this sequence.
  const auto found = workers_.find(open_step_->worker);
  if (found != workers_.end() && found->second.last_sequence != 0) {
    found->second.last_answer = answer;
  }
  open_step_.reset();
  Effects effects;
  effects.answer = std::move(answer);
  return effects;
}

Effects SessionMachine::On(const Configure& configure, absl::Time /*now*/) {
  schedule_ = configure.schedule;
  aggregation_ = configure.aggregation;
  return {};
}

void SessionMachine::Save(ByteWriter& writer) const {
  TALWEG_CHECK(!open_step_.has_value());
  writer.Uint64(history_);
  writer.Uint64(version_);
  WriteOptionalReport(last_step_, writer);
  writer.Uint32(round_.contributors);
  writer.Uint64(round_.staleness);
  writer.Uint32(round_.num_losses);
  writer.Double(round_.loss_sum);
  writer.Uint64(workers_.size());
  for (const auto& [name, worker] : workers_) {
    writer.Text(name);
    writer.Uint64(worker.incarnation);
    writer.Uint64(worker.last_sequence);
    writer.Uint32(worker.last_digest);
    writer.Byte(static_cast<uint8_t>(worker.last_answer.verdict));
    writer.Uint64(worker.last_answer.applied_version);
    WriteOptionalReport(worker.last_answer.report, writer);
  }
}

absl::Status SessionMachine::Load(ByteReader& reader, absl::Time now) {
  uint64_t num_workers = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(history_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(version_));
  TALWEG_RETURN_IF_ERROR(ReadOptionalReport(reader, last_step_));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(round_.contributors));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(round_.staleness));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(round_.num_losses));
  TALWEG_RETURN_IF_ERROR(reader.Double(round_.loss_sum));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_workers));
  if (history_ == 0 || num_workers > kMaxWorkers) {
    return MakeError(Reason::kStateCorrupt, "state has no history or too many workers");
  }
  workers_.clear();
  for (uint64_t index = 0; index < num_workers; ++index) {
    std::string name;
    Worker worker;
    uint8_t verdict = 0;
    TALWEG_RETURN_IF_ERROR(reader.Text(name));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.incarnation));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.last_sequence));
    TALWEG_RETURN_IF_ERROR(reader.Uint32(worker.last_digest));
    TALWEG_RETURN_IF_ERROR(reader.Byte(verdict));
    if (verdict > static_cast<uint8_t>(Verdict::kPending)) {
      return MakeError(Reason::kStateCorrupt, "state has an unknown verdict");
    }
    worker.last_answer.verdict = static_cast<Verdict>(verdict);
    TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.last_answer.applied_version));
    TALWEG_RETURN_IF_ERROR(ReadOptionalReport(reader, worker.last_answer.report));
    worker.lease_end = LeaseEnd(now);
    workers_.emplace(std::move(name), std::move(worker));
  }
  return absl::OkStatus();
}

}  // namespace talweg::core
