// SPDX-License-Identifier: Apache-2.0
//
// A machine's state as bytes: counters, and the workers in the order of their names.
#include <optional>
#include <string>
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/rounds/round_state.h"

namespace talweg::core {
namespace {

using Report = std::shared_ptr<const StepReport>;

// What a worker is, in a byte.
constexpr uint8_t kGradient = 1, kCounted = 2, kHeld = 4;
constexpr uint8_t kAllFlags = kGradient | kCounted | kHeld;

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

void RoundMachine::Save(ByteWriter& writer) const {
  const State& state = *state_;
  TALWEG_CHECK(!state.open_step.has_value());
  writer.Uint64(state.history);
  writer.Uint64(state.version);
  WriteReport(state.last_step, writer);
  writer.Uint64(state.clocks.greatest());
  writer.Uint64(num_workers());
  for (const uint32_t index : state.workers.Sorted()) {
    const Worker& worker = state.workers[index];
    if (worker.left) continue;
    writer.Text(worker.name);
    writer.Uint64(worker.incarnation);
    writer.Byte((worker.gradient ? kGradient : 0) | (worker.counted ? kCounted : 0) |
                (worker.held ? kHeld : 0));
    writer.Uint64(worker.clock);
    writer.Uint64(worker.settled.sequence);
    writer.Uint32(worker.settled.digest);
    writer.Byte(static_cast<uint8_t>(worker.settled.verdict));
    writer.Uint64(worker.settled.version);
    // Most workers share the report of the last step.
    const bool is_last =
        worker.settled.report != nullptr && worker.settled.report == state.last_step;
    writer.Byte(is_last ? 1 : 0);
    if (!is_last) WriteReport(worker.settled.report, writer);
  }
}

absl::Status RoundMachine::Load(ByteReader& reader, absl::Time now, uint64_t history) {
  auto state = std::make_unique<State>(1, state_->config);
  state->now = now;
  uint64_t greatest_clock = 0;
  uint64_t num_workers = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(state->history));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(state->version));
  TALWEG_RETURN_IF_ERROR(ReadReport(reader, state->last_step));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(greatest_clock));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_workers));
  if (state->history == 0 || num_workers > AggregationConfig::kMaxWorkers) {
    return MakeError(Reason::kStateCorrupt, "state has no history or too many workers");
  }
  state->clocks = Clocks(greatest_clock);
  for (uint64_t number = 0; number < num_workers; ++number) {
    std::string name;
    uint8_t flags = 0;
    uint8_t verdict = 0;
    uint8_t is_last = 0;
    TALWEG_RETURN_IF_ERROR(reader.Text(name));
    if (state->workers.Find(name) != WorkerTable::kNone) {
      return MakeError(Reason::kStateCorrupt, "state has a worker twice");
    }
    const uint32_t index = state->workers.Insert(name);
    Worker& worker = state->workers[index];
    TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.incarnation));
    TALWEG_RETURN_IF_ERROR(reader.Byte(flags));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.clock));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.settled.sequence));
    TALWEG_RETURN_IF_ERROR(reader.Uint32(worker.settled.digest));
    TALWEG_RETURN_IF_ERROR(reader.Byte(verdict));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.settled.version));
    TALWEG_RETURN_IF_ERROR(reader.Byte(is_last));
    if (verdict >= static_cast<uint8_t>(Verdict::kPending) || (flags & ~kAllFlags) != 0) {
      return MakeError(Reason::kStateCorrupt, "state has an unknown verdict or kind of worker");
    }
    worker.settled.verdict = static_cast<Verdict>(verdict);
    worker.gradient = (flags & kGradient) != 0;
    if (is_last != 0) {
      worker.settled.report = state->last_step;
    } else {
      TALWEG_RETURN_IF_ERROR(ReadReport(reader, worker.settled.report));
    }
    worker.lease_end = state->LeaseEnd();
    worker.live = true;
    worker.progress_from = now;
    ++state->num_live;
    if (worker.gradient) ++state->num_live_gradient;
    // Clocks are as they were: to begin at the least is for those who come later, and who had
    // expired or made no progress counts when it contributes again.
    worker.counted = state->bounded() && worker.gradient && (flags & kCounted) != 0;
    if (worker.counted) state->clocks.Add(worker.clock);
    worker.held = (flags & kHeld) != 0;
    state->SetAlarm(index);
  }
  // In an order that hashing does not choose: they are answered in it.
  for (const uint32_t index : state->workers.Sorted()) {
    Worker& worker = state->workers[index];
    if (!worker.held) continue;
    worker.held = false;
    if (state->IsAhead(worker)) state->Hold(index);
  }
  if (history != 0) state->history = history;
  state_ = std::move(state);
  return absl::OkStatus();
}

}  // namespace talweg::core
