// SPDX-License-Identifier: Apache-2.0
//
// A session whole: configuration, state machine, parameters and the method's state. It decides and
// computes. On which thread something is computed, what is kept for a crash, and when somebody is
// told, is its caller's business.
//
// Each call that decides returns an Outcome: effects, which say what follows, and the work that
// they order (work.h), if any. The caller keeps what `effects.durable` names, runs the work, hands
// it back to End, and keeps what those effects name, before it tells anybody.
//
// A version is immutable once it is visible: a step writes the next one beside it, and readers keep
// the one that they hold. The order of a step's arithmetic stands in stepper.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/byte_io.h"
#include "core/rounds/event.h"
#include "core/rounds/round_machine.h"
#include "core/session/parameters.h"
#include "core/session/round_gradient.h"
#include "core/session/session_config.h"
#include "core/session/staged_gradient.h"
#include "core/session/stepper.h"
#include "core/session/work.h"

namespace talweg::core {

// A contribution as its worker sent it, with the whole gradient.
struct ContributionInput {
  Contribution contribution;        // `finite`, `digest` and `loss` are filled in by the session
  std::vector<double> losses = {};  // the first one counts
  // What was sent is the sum of the worker's own steps: a gradient's negative.
  bool is_difference = false;
  std::shared_ptr<StagedGradient> gradient = nullptr;  // as it was sent, measured
  // The caller needs `gradient` for something else: it is folded at once.
  bool returns_gradient = false;
};

// What follows from an event.
struct Outcome {
  Effects effects;
  std::unique_ptr<Work> work;  // null: there is nothing to compute
};

// What follows from work that has ended.
struct Ended {
  std::optional<StepTaken> step;  // set if a version was made
  Effects effects;
};

// Thread-compatible.
class Session {
 public:
  // At version 0 with the given parameters, [layout.num_elements], which are finite.
  Session(SessionConfig config, uint64_t history, std::shared_ptr<Parameters> initial);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes the memory that a contribution may need before it is judged, because a decision cannot
  // fail: `take` gives the vector of the next version, which the session keeps while a round is
  // open. FIELD_OUT_OF_RANGE if the contribution brings a weight and the reduction takes none;
  // MEMORY_QUOTA if the system has no memory; what `take` fails with.
  using AllocateParameters = absl::FunctionRef<absl::StatusOr<std::shared_ptr<Parameters>>()>;
  absl::Status Prepare(bool has_weight, AllocateParameters allocate);

  // Gives back the vector of the next version, unless a round is open.
  void ReleaseUnusedMemory();

  // Judges a contribution that was prepared for, and fills in what `input.contribution` lacks.
  // Digest, loss, sign and whether the round takes it as it is or folds it are decided here.
  Outcome Contribute(ContributionInput& input, absl::Time now);

  // As RoundMachine::Handle, for every event except Contribution, StepTaken and Configure.
  Outcome Handle(const Event& event, absl::Time now);

  // Changes hyper-parameters from the next version on: at once, or, if a round is open, when that
  // has closed. `history` 0 stands for the current one. FIELD_IMMUTABLE as CheckLiveChange,
  // HISTORY_CHANGED. If nothing differs, nothing changes.
  Effects Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now);

  // Folds what the open round has not folded yet; null if there is nothing.
  std::unique_ptr<Work> BeginFold();
  // Contributions of the open round that are not folded yet.
  size_t num_unfolded() const { return round_.num_unfolded(); }

  // Work has ended. After a step the new version is the current one, and the effects answer the
  // calls whose wait is over.
  Ended End(const Work& work, absl::Time now);

  // What there is to read of the current version.
  enum class Point {
    kParameters,
    kLookahead,  // where the gradient of the coming step is to be taken
    kAverage,    // the running average of the parameters; the parameters if none is kept
  };
  // Whether the point is the parameters themselves.
  bool IsParameters(Point point) const;
  // Copies the point to `to`, [num_elements].
  std::unique_ptr<Work> BeginRead(Point point, std::shared_ptr<Parameters> to);
  // eta of the coming step.
  double NextLearningRate() const;

  const SessionConfig& config() const { return config_; }  // in force
  // The newest that was accepted, which will be in force with the next version, and its number.
  const SessionConfig& newest_config() const { return next_config_ ? *next_config_ : config_; }
  uint64_t config_version() const { return config_version_; }
  const RoundMachine& machine() const { return machine_; }
  const std::shared_ptr<const Parameters>& parameters() const { return parameters_; }
  size_t num_elements() const { return config_.layout->num_elements(); }

  // Bytes that the open round takes beyond what SessionConfig::MemoryBytes says.
  uint64_t ExtraRoundBytes() const { return round_.ExtraBytes(); }

  // The whole state except an open round as bytes, closed by a checksum, and back. Continuing from
  // it gives the same bits as never having stopped; contributions that were pending are forgotten,
  // and may be sent again. `history` as RoundMachine::Load. Load fails with STATE_CORRUPT. No work
  // may be under way.
  std::string Save();
  static absl::StatusOr<std::unique_ptr<Session>> Load(absl::string_view bytes, absl::Time now,
                                                       uint64_t history = 0);

  // CRC32C of the state that Save writes (without its magic and trailer), without the memory for
  // it.
  uint32_t Checksum();

  // Tests only: a deliberate bug of the machine.
  void SwitchOn(Mutation mutation) { machine_.SwitchOn(mutation); }

 private:
  // A step under way.
  struct OpenStep {
    std::unique_ptr<SingleContribution> single;  // null: the round's
    std::shared_ptr<Parameters> to;
  };

  GradientSource& SourceOf(OpenStep& step);
  std::unique_ptr<Work> BeginStep(const Effects& effects,
                                  std::unique_ptr<SingleContribution> single,
                                  std::unique_ptr<Work> work);
  void Begin(Work& work, SessionPart part, Access access);
  void PutInForce(SessionConfig config);
  void ReadPoint(Point point, Shard shard, absl::Span<const float> from,
                 absl::Span<float> to) const;
  void WriteState(ByteWriter& writer);

  SessionConfig config_;
  std::optional<SessionConfig> next_config_;  // with the next version
  uint64_t config_version_ = 1;               // of the newest
  RoundMachine machine_;
  std::shared_ptr<const Parameters> parameters_;  // of the current version
  Stepper stepper_;
  RoundGradient round_;
  std::shared_ptr<Parameters>
      next_parameters_;  // of the next version, while a round is open; else null

  // Of the work under way.
  std::optional<OpenStep> open_step_;
  size_t num_reading_[kNumSessionParts] = {};
  bool is_changing_[kNumSessionParts] = {};
};

}  // namespace talweg::core
