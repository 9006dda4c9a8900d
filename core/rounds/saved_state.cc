// SPDX-License-Identifier: Apache-2.0
//
// A machine's state as bytes: counters, and the workers in the order of their names.
#include <optional>
#include <string>
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {
namespace {

using Report = std::shared_ptr<const StepReport>;

// What a worker is, in a byte. Only format 3 has kGradient, in place of roles.
constexpr uint8_t kGradient = 1, kCounted = 2, kHeld = 4;
constexpr uint32_t kFormatWithRoles = 4;

// Reads and checks the byte, and from format 4 on that of the roles.
absl::Status ReadKind(ByteReader& reader, uint32_t format, uint8_t& flags, Roles& roles) {
  TALWEG_RETURN_IF_ERROR(reader.Byte(flags));
  uint8_t allowed = kCounted | kHeld;
  uint8_t bits = 0;
  if (format >= kFormatWithRoles) {
    TALWEG_RETURN_IF_ERROR(reader.Byte(bits));
  } else {
    allowed |= kGradient;
    bits = ((flags & kGradient) != 0 ? Roles{Role::kGradient} : Roles{Role::kStatistics}).bits();
  }
  if ((flags & ~allowed) != 0 || !Roles::AreValidBits(bits)) {
    return MakeError(Reason::kStateCorrupt, "state has an unknown verdict or kind of worker");
  }
  roles = Roles::FromBits(bits);
  return absl::OkStatus();
}

void WriteReport(const Report& report, ByteWriter& writer) {
  writer.Byte(report != nullptr ? 1 : 0);
  if (report == nullptr) return;
  writer.Double(report->learning_rate);
  writer.Double(report->gradient_norm);
  writer.Double(report->clip_factor);
  writer.Double(report->update_norm);
  writer.Uint64(report->staleness);
  writer.Uint32(report->contributors);
  writer.Byte(report->loss.has_value() ? 1 : 0);
  writer.Double(report->loss.value_or(0));
  writer.Double(report->total_weight);
  writer.Uint32(report->num_late);
  writer.Uint32(static_cast<uint32_t>(report->late_workers.size()));
  for (const std::string& name : report->late_workers) writer.Text(name);
}

absl::Status ReadReport(ByteReader& reader, Report& report) {
  uint8_t present = 0;
  TALWEG_RETURN_IF_ERROR(reader.Byte(present));
  report = nullptr;
  if (present == 0) return absl::OkStatus();
  StepReport read;
  uint8_t has_loss = 0;
  double loss = 0;
  uint32_t num_names = 0;
  TALWEG_RETURN_IF_ERROR(reader.Double(read.learning_rate));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.gradient_norm));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.clip_factor));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.update_norm));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(read.staleness));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(read.contributors));
  TALWEG_RETURN_IF_ERROR(reader.Byte(has_loss));
  TALWEG_RETURN_IF_ERROR(reader.Double(loss));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.total_weight));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(read.num_late));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(num_names));
  if (num_names > kMaxLateNames) {
    return MakeError(Reason::kStateCorrupt, "state has too many names of late workers");
  }
  if (has_loss != 0) read.loss = loss;
  for (uint32_t index = 0; index < num_names; ++index) {
    TALWEG_RETURN_IF_ERROR(reader.Text(read.late_workers.emplace_back()));
  }
  report = std::make_shared<const StepReport>(std::move(read));
  return absl::OkStatus();
}

}  // namespace

void RoundMachine::Save(ByteWriter& writer, uint32_t format) const {
  TALWEG_CHECK(!closed_.has_value());
  writer.Uint64(history_);
  writer.Uint64(version_);
  WriteReport(last_step_, writer);
  writer.Uint64(clocks_.greatest());
  writer.Uint64(num_workers());
  for (const uint32_t index : workers_.Sorted()) {
    if (!workers_[index].left) SaveWorker(workers_[index], format, writer);
  }
}

void RoundMachine::SaveWorker(const Worker& worker, uint32_t format, ByteWriter& writer) const {
  writer.Text(worker.name);
  writer.Uint64(worker.incarnation);
  const uint8_t flags = (worker.counted ? kCounted : 0) | (worker.held ? kHeld : 0);
  if (format >= kFormatWithRoles) {
    writer.Byte(flags);
    writer.Byte(worker.roles.bits());
  } else {
    writer.Byte(flags | (worker.gives_gradients() ? kGradient : 0));
  }
  writer.Uint64(worker.clock);
  writer.Uint64(worker.settled.sequence);
  writer.Uint32(worker.settled.digest);
  writer.Byte(static_cast<uint8_t>(worker.settled.verdict));
  writer.Uint64(worker.settled.version);
  // Most workers share the report of the last step.
  const bool is_last = worker.settled.report != nullptr && worker.settled.report == last_step_;
  writer.Byte(is_last ? 1 : 0);
  if (!is_last) WriteReport(worker.settled.report, writer);
}

absl::Status RoundMachine::Load(ByteReader& reader, absl::Time now, uint64_t history,
                                uint32_t format) {
  RoundMachine loaded(1, config_);
  loaded.now_ = now;
  uint64_t greatest_clock = 0;
  uint64_t num_workers = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.history_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.version_));
  TALWEG_RETURN_IF_ERROR(ReadReport(reader, loaded.last_step_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(greatest_clock));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_workers));
  if (loaded.history_ == 0 || num_workers > AggregationConfig::kMaxWorkers) {
    return MakeError(Reason::kStateCorrupt, "state has no history or too many workers");
  }
  loaded.clocks_ = Clocks(bounded(), greatest_clock);
  for (uint64_t number = 0; number < num_workers; ++number) {
    TALWEG_RETURN_IF_ERROR(loaded.LoadWorker(reader, format));
  }
  // Held answers come back in an order that hashing does not choose, because they are told in it.
  for (const uint32_t index : loaded.workers_.Sorted()) {
    Worker& worker = loaded.workers_[index];
    if (!worker.held) continue;
    worker.held = false;
    if (loaded.clocks_.IsAhead(worker, loaded.RoundsAhead())) loaded.clocks_.Hold(index, worker);
  }
  if (history != 0) loaded.history_ = history;
  *this = std::move(loaded);
  return absl::OkStatus();
}

absl::Status RoundMachine::LoadWorker(ByteReader& reader, uint32_t format) {
  std::string name;
  uint8_t flags = 0;
  uint8_t verdict = 0;
  uint8_t is_last = 0;
  TALWEG_RETURN_IF_ERROR(reader.Text(name));
  if (workers_.Find(name) != Workers::kNone) {
    return MakeError(Reason::kStateCorrupt, "state has a worker twice");
  }
  const uint32_t index = workers_.Insert(name);
  Worker& worker = workers_[index];
  TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.incarnation));
  TALWEG_RETURN_IF_ERROR(ReadKind(reader, format, flags, worker.roles));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.clock));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.settled.sequence));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(worker.settled.digest));
  TALWEG_RETURN_IF_ERROR(reader.Byte(verdict));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.settled.version));
  TALWEG_RETURN_IF_ERROR(reader.Byte(is_last));
  if (verdict >= static_cast<uint8_t>(Verdict::kPending)) {
    return MakeError(Reason::kStateCorrupt, "state has an unknown verdict or kind of worker");
  }
  worker.settled.verdict = static_cast<Verdict>(verdict);
  if (is_last != 0) {
    worker.settled.report = last_step_;
  } else {
    TALWEG_RETURN_IF_ERROR(ReadReport(reader, worker.settled.report));
  }
  worker.lease_end = LeaseEnd();
  worker.progress_from = now_;
  leases_.Begin(worker);
  // Clocks are as they were: only workers that come later begin at the least clock. A worker that
  // had expired or made no progress is counted when it contributes again.
  if ((flags & kCounted) != 0) clocks_.CountAsSaved(worker);
  worker.held = (flags & kHeld) != 0;
  SetAlarm(index);
  return absl::OkStatus();
}

}  // namespace talweg::core
