// SPDX-License-Identifier: Apache-2.0
//
// A session whole: configuration, state machine, parameters and the method's state. It decides and
// computes; on which thread, and who is told when, is its caller's business.
//
// What Handle orders for a contribution is work in stages: Begin; for each stage RunPiece once for
// each piece (on any threads, at the same time), then EndStage; End. A version is immutable once it
// is visible: the step writes the next one beside it, and readers keep the one they hold.
//
// One order everywhere, PyTorch's: the mean of the contributions, clipped by norm, then by value;
// coupled decay; the method's step with decoupled decay inside. Clipping by norm multiplies with
// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does. A group with a max_norm
// of its own is clipped by its own norm; all others share one norm. Frozen tensors are in no norm.
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
#include "core/kernels/prepare_gradient.h"
#include "core/optimizers/optimizer.h"
#include "core/session/session_config.h"
#include "core/session/session_machine.h"
#include "core/session/staged_gradient.h"

namespace talweg::core {

// The parameters of one version, [num_elements].
struct Parameters {
  explicit Parameters(size_t num_elements) : values(num_elements) {}
  uint64_t version = 0;
  AlignedBuffer values;
};

// Thread-compatible, but for RunPiece.
class Session {
 public:
  // At version 0 with the given parameters, [layout.num_elements], which are finite.
  Session(SessionConfig config, uint64_t history, std::shared_ptr<Parameters> initial);

  // As SessionMachine::Handle; Configure goes through Reconfigure instead.
  Effects Handle(const Event& event, absl::Time now);

  // Changes hyper-parameters from the next version on; `history` 0 stands for the current one.
  // FIELD_IMMUTABLE as CheckLiveChange, HISTORY_CHANGED. Without a difference nothing changes.
  absl::Status Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now);

  // Begins what `effects` order (a fold, a step) with the contribution's gradient, which is
  // measured and outlives End. The step's parameters go to `to`, which nobody reads,
  // [num_elements].
  void Begin(const Effects& effects, StagedGradient& gradient, std::shared_ptr<Parameters> to);
  size_t NumStages() const { return stages_.size(); }
  size_t NumPieces(size_t stage) const;
  void RunPiece(size_t stage, size_t index);
  void EndStage(size_t stage);
  // Makes the new version visible, if there is one, and answers the contribution.
  Effects End(absl::Time now);

  // Points to read beside the parameters. No work may be under way.
  enum class Point {
    kLookahead,  // where the gradient of the coming step is to be taken
    kAverage,    // the running average of the parameters; they themselves where none is kept
  };
  bool IsParameters(Point point) const;
  void ReadPoint(Point point, Shard shard, absl::Span<float> to) const;
  // eta of the coming step.
  double NextLearningRate() const;

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
  enum class StageKind { kMeasure, kFold, kMean, kApply, kPass, kFinish };
  struct Stage {
    StageKind kind;
    size_t pass = 0;
  };
  // How a group is stepped.
  struct GroupStep {
    bool frozen = false;
    StepRates rates;
    GradientPreparation preparation;
  };

  GroupStep GroupStepOf(size_t group, double learning_rate) const;
  void OpenApply();
  void Apply(Shard shard);
  void Finish(Shard shard);
  void VisitSlots(StateVisitor& visitor);
  void WriteState(ByteWriter& writer);

  SessionConfig config_;
  uint64_t config_version_ = 1;
  SessionMachine machine_;
  std::unique_ptr<Optimizer> optimizer_;
  std::shared_ptr<const Parameters> parameters_;  // of the visible version
  AlignedBuffer average_;                         // empty where none is kept
  std::vector<double> sums_;                      // of folded gradients; empty without accumulation

  // Of the work under way.
  std::vector<Stage> stages_;
  Effects effects_;
  StagedGradient* gradient_ = nullptr;
  std::shared_ptr<Parameters> next_;
  std::vector<GroupStep> group_steps_;
  StepTaken taken_;
  std::vector<double> block_sums_;  // squares of the update
};

}  // namespace talweg::core
