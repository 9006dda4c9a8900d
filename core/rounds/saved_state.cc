// SPDX-License-Identifier: Apache-2.0
//
// A machine's state as bytes: counters, and the workers in the order of their names.
#include <memory>
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/members/saved_member.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {
namespace {

// What a worker is, in a byte. Only format 3 has kGradient, in place of roles, and no nonces. From
// format 4 on nonces follow the roles if kNonces is set, which a worker without nonces does not
// need.
constexpr uint8_t kGradient = 1, kCounted = 2, kHeld = 4, kNonces = 8;
constexpr uint32_t kFormatWithRoles = 4;
constexpr uint32_t kFormatWithRefusals = 4;

// Reads and checks the byte, and from format 4 on that of the roles.
absl::Status ReadKind(ByteReader& reader, uint32_t format, uint8_t& flags, Roles& roles) {
  TALWEG_RETURN_IF_ERROR(reader.Byte(flags));
  uint8_t allowed = kCounted | kHeld;
  if (format >= kFormatWithRoles) {
    allowed |= kNonces;
    TALWEG_RETURN_IF_ERROR(ReadRoles(reader, roles));
  } else {
    allowed |= kGradient;
    roles = (flags & kGradient) != 0 ? Roles{Role::kGradient} : Roles{Role::kStatistics};
  }
  return (flags & ~allowed) != 0 ? UnknownKindError() : absl::OkStatus();
}

void WriteWorker(const Worker& worker, uint32_t format,
                 const std::shared_ptr<const StepReport>& last_step, ByteWriter& writer) {
  WriteIdentity(worker, writer);
  const uint8_t flags = (worker.counted ? kCounted : 0) | (worker.held ? kHeld : 0);
  if (format >= kFormatWithRoles) {
    const bool has_nonces = worker.nonce != 0 || worker.replaced_nonce != 0;
    writer.Byte(flags | (has_nonces ? kNonces : 0));
    WriteRoles(worker.roles, writer);
    if (has_nonces) WriteNonces(worker, writer);
  } else {
    writer.Byte(flags | (worker.gives_gradients() ? kGradient : 0));
  }
  writer.Uint64(worker.clock);
  WriteSettled(worker.settled, last_step, format, writer);
}

// Inserts the worker into `workers`, and returns its index.
absl::StatusOr<uint32_t> ReadWorker(ByteReader& reader, uint32_t format,
                                    const std::shared_ptr<const StepReport>& last_step,
                                    Workers& workers, uint8_t& flags) {
  TALWEG_ASSIGN_OR_RETURN(const uint32_t index, ReadIdentity(reader, workers));
  Worker& worker = workers[index];
  TALWEG_RETURN_IF_ERROR(ReadKind(reader, format, flags, worker.roles));
  if ((flags & kNonces) != 0) TALWEG_RETURN_IF_ERROR(ReadNonces(reader, worker));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(worker.clock));
  TALWEG_RETURN_IF_ERROR(ReadSettled(reader, last_step, format, worker.settled));
  return index;
}

}  // namespace

void RoundMachine::Save(ByteWriter& writer, uint32_t format) const {
  TALWEG_CHECK(!closed_.has_value());
  writer.Uint64(history_);
  writer.Uint64(version_);
  WriteReport(last_step_, format, writer);
  writer.Uint64(clocks_.greatest());
  if (format >= kFormatWithRefusals) {
    writer.Uint64(refusals_.too_stale);
    writer.Uint64(refusals_.rejected_non_finite);
    writer.Uint64(refusals_.round_closed);
  }
  writer.Uint64(num_workers());
  for (const uint32_t index : workers_.table().Sorted()) {
    if (!workers_[index].left) WriteWorker(workers_[index], format, last_step_, writer);
  }
}

absl::Status RoundMachine::Load(ByteReader& reader, absl::Time now, uint64_t history,
                                uint32_t format) {
  RoundMachine loaded(1, policy_.configuration());
  loaded.now_ = now;
  uint64_t greatest_clock = 0;
  uint64_t num_workers = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.history_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.version_));
  TALWEG_RETURN_IF_ERROR(ReadReport(reader, format, loaded.last_step_));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(greatest_clock));
  if (format >= kFormatWithRefusals) {
    TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.refusals_.too_stale));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.refusals_.rejected_non_finite));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(loaded.refusals_.round_closed));
  }
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_workers));
  if (loaded.history_ == 0 || num_workers > AggregationConfig::kMaxWorkers) {
    return MakeError(Reason::kStateCorrupt, "state has no history or too many workers");
  }
  loaded.clocks_ = Clocks(policy_.bounded(), greatest_clock);
  for (uint64_t number = 0; number < num_workers; ++number) {
    uint8_t flags = 0;
    TALWEG_ASSIGN_OR_RETURN(const uint32_t index, ReadWorker(reader, format, loaded.last_step_,
                                                             loaded.workers_.table(), flags));
    Worker& worker = loaded.workers_[index];
    worker.progress_from = now;
    worker.part_of_version = loaded.version_;
    // Clocks are as they were: only workers that come later begin at the least clock. A worker that
    // had expired or made no progress is counted when it contributes again.
    if ((flags & kCounted) != 0) loaded.clocks_.CountAsSaved(worker);
    worker.held = (flags & kHeld) != 0;
    loaded.workers_.Restore(index, loaded.Rules());
  }
  // Held answers come back in an order that hashing does not choose, because they are told in it.
  for (const uint32_t index : loaded.workers_.table().Sorted()) {
    Worker& worker = loaded.workers_[index];
    if (!worker.held) continue;
    worker.held = false;
    if (loaded.clocks_.IsAhead(worker, loaded.RoundsAhead())) loaded.clocks_.Hold(index, worker);
  }
  if (history != 0) loaded.history_ = history;
  *this = std::move(loaded);
  return absl::OkStatus();
}

}  // namespace talweg::core
