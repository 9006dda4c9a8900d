// SPDX-License-Identifier: Apache-2.0
//
// A session whole: configuration, state machine, parameters and the method's state. It decides and
// computes; on which thread, and who is told when, is its caller's business.
//
// A contribution is prepared for, then judged (Handle), then, where it is part of the open round,
// taken. What was taken is folded when it suits the caller, or by the step that closes the round.
// Both are work in stages: BeginFold or BeginStep; for each stage RunPiece once for each piece (on
// any threads, at the same time), then EndStage; End. A version is immutable once it is visible:
// the step writes the next one beside it, and readers keep the one they hold.
//
// One order everywhere, PyTorch's: the contributions reduced, clipped by norm, then by value;
// coupled decay; the method's step with decoupled decay inside. Clipping by norm multiplies with
// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does. A group with a max_norm
// of its own is clipped by its own norm; all others share one norm. Frozen tensors are in no norm.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/aligned_buffer.h"
#include "core/base/byte_io.h"
#include "core/kernels/prepare_gradient.h"
#include "core/optimizers/optimizer.h"
#include "core/rounds/event.h"
#include "core/rounds/reducer.h"
#include "core/rounds/round_machine.h"
#include "core/session/session_config.h"
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

  // As RoundMachine::Handle; Configure goes through Reconfigure, StepTaken through End.
  Effects Handle(const Event& event, absl::Time now);

  // Changes hyper-parameters from the next version on: at once, or where a round is open when that
  // has closed. `history` 0 stands for the current one. FIELD_IMMUTABLE as CheckLiveChange,
  // HISTORY_CHANGED. Without a difference nothing changes.
  absl::Status Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now);

  // Takes the memory that a contribution may need, before it is judged: a decision cannot fail.
  // MEMORY_QUOTA where the system has none.
  absl::Status Prepare();
  // Takes a contribution's gradient, which is measured, where `effects` say so; it is let go when
  // it is folded.
  void Take(const Effects& effects, std::shared_ptr<StagedGradient> gradient);
  // Gradients that were taken and are not folded yet; a fold had better have at most kMaxFold.
  size_t num_unfolded() const { return taken_gradients_.size(); }
  static constexpr size_t kMaxUnfolded = kMaxFold;

  // Bytes that the open round takes beyond what SessionConfig::MemoryBytes says (Reducer).
  uint64_t ExtraRoundBytes() const { return reducer_.ExtraBytes(); }

  // Begins to fold what was taken.
  void BeginFold();
  // Begins the step that `effects` order. `gradient` is that of a round of one, measured; null
  // where the contributions were taken. The step's parameters go to `to`, which nobody reads,
  // [num_elements].
  void BeginStep(const Effects& effects, std::shared_ptr<StagedGradient> gradient,
                 std::shared_ptr<Parameters> to);
  size_t NumStages() const { return stages_.size(); }
  size_t NumPieces(size_t stage) const;
  void RunPiece(size_t stage, size_t index);
  void EndStage(size_t stage);
  // After a step: makes the new version visible, and answers those whose wait is over.
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

  const SessionConfig& config() const { return config_; }  // in force
  // The newest that was accepted, which will be in force with the next version, and its number.
  const SessionConfig& newest_config() const { return next_config_ ? *next_config_ : config_; }
  uint64_t config_version() const { return config_version_; }
  const RoundMachine& machine() const { return machine_; }
  const std::shared_ptr<const Parameters>& parameters() const { return parameters_; }
  size_t num_elements() const { return config_.layout->num_elements(); }

  // The whole state but an open round as bytes, closed by a checksum, and back. Continuing from it
  // gives the same bits as never having stopped; contributions that were pending are forgotten, and
  // may be sent again. `history` as RoundMachine::Load. Load fails with STATE_CORRUPT. No work may
  // be under way.
  std::string Save();
  static absl::StatusOr<std::unique_ptr<Session>> Load(absl::string_view bytes, absl::Time now,
                                                       uint64_t history = 0);

  // CRC32C of the state that Save writes (without its magic and trailer), without the memory for
  // it.
  uint32_t Checksum();

 private:
  enum class StageKind { kMeasure, kFold, kClose, kApply, kPass, kFinish };
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
  void PutInForce(SessionConfig config);
  std::vector<WeightedVector> Unfolded() const;
  void Apply(Shard shard);
  void Finish(Shard shard);
  void VisitSlots(StateVisitor& visitor);
  void WriteState(ByteWriter& writer);

  SessionConfig config_;
  std::optional<SessionConfig> next_config_;  // with the next version
  uint64_t config_version_ = 1;               // of the newest
  RoundMachine machine_;
  std::unique_ptr<Optimizer> optimizer_;
  std::shared_ptr<const Parameters> parameters_;  // of the visible version
  AlignedBuffer average_;                         // empty where none is kept
  Reducer reducer_;
  struct Taken {
    std::shared_ptr<StagedGradient> gradient;
    float weight;
  };
  std::vector<Taken> taken_gradients_;       // not folded yet, in the order in which they came
  std::unique_ptr<StagedGradient> reduced_;  // null before the first round of several

  // Of the work under way.
  std::vector<Stage> stages_;
  std::optional<StepOrder> order_;  // empty: a fold
  std::shared_ptr<StagedGradient> single_;
  StagedGradient* gradient_ = nullptr;  // that the step takes
  std::shared_ptr<Parameters> next_;
  std::vector<GroupStep> group_steps_;
  StepTaken taken_;
  std::vector<double> block_sums_;  // squares of the update
};

}  // namespace talweg::core
