// SPDX-License-Identifier: Apache-2.0
//
// A session whole: configuration, state machine, parameters and the method's state. It decides and
// computes; on which thread, and who is told when, is its caller's business.
//
// A step, after Handle has ordered one: BeginStep, ApplyShard once for each shard (on any threads,
// at the same time), EndStep. A version is immutable once it is visible: the step writes the next
// one beside it, and readers keep the one they hold.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/aligned_buffer.h"
#include "core/base/byte_io.h"
#include "core/optimizers/optimizer.h"
#include "core/session/session_config.h"
#include "core/session/session_machine.h"

namespace talweg::core {

// The parameters of one version, [num_elements].
struct Parameters {
  explicit Parameters(size_t num_elements) : values(num_elements) {}
  uint64_t version = 0;
  AlignedBuffer values;
};

// Thread-compatible, but for ApplyShard.
class Session {
 public:
  // At version 0 with the given parameters, [layout.num_elements], which are finite.
  Session(SessionConfig config, uint64_t history, std::shared_ptr<Parameters> initial);

  // As SessionMachine::Handle; Configure goes through Reconfigure instead.
  Effects Handle(const Event& event, absl::Time now);

  // Changes hyper-parameters from the next version on; `history` 0 stands for the current one.
  // FIELD_IMMUTABLE as CheckLiveChange, HISTORY_CHANGED. Without a difference nothing changes.
  absl::Status Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now);

  // Opens the step: its parameters go to `to`, which nobody reads, [num_elements].
  void BeginStep(const StepContext& step, std::shared_ptr<Parameters> to);
  // Applies `gradient`, the whole vector, to the elements of shard `index` (see ShardAt).
  void ApplyShard(size_t index, absl::Span<const float> gradient);
  // Makes the new version visible and answers the contribution.
  Effects EndStep(absl::Time now);

  const SessionConfig& config() const { return config_; }
  uint64_t config_version() const { return config_version_; }
  const SessionMachine& machine() const { return machine_; }
  const std::shared_ptr<const Parameters>& parameters() const { return parameters_; }
  size_t num_elements() const { return config_.layout->num_elements(); }

  // The whole state as bytes, closed by a checksum, and back. Continuing from it gives the same
  // bits as never having stopped. Load fails with STATE_CORRUPT. No step may be open.
  std::string Save();
  static absl::StatusOr<std::unique_ptr<Session>> Load(absl::string_view bytes, absl::Time now);

  // CRC32C of the state that Save writes (without its magic and trailer), without the memory for
  // it.
  uint32_t Checksum();

 private:
  void WriteState(ByteWriter& writer);

  SessionConfig config_;
  uint64_t config_version_ = 1;
  SessionMachine machine_;
  std::unique_ptr<Optimizer> optimizer_;
  std::shared_ptr<const Parameters> parameters_;  // of the visible version
  std::shared_ptr<Parameters> next_;              // of the open step
  std::vector<double> block_sums_;                // squares of the open step's update
};

}  // namespace talweg::core
