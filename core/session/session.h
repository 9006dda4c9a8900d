// SPDX-License-Identifier: Apache-2.0
//
// A whole session: configuration, state machine, parameters and the method's state. It decides and
// computes. Its caller chooses the threads that compute, keeps what must survive a crash, and tells
// the workers.
//
// Each call that decides returns an Outcome: effects, which say what follows, and the work that the
// effects order (work.h), if there is any. Before the caller tells anybody of an outcome, it keeps
// what `effects.durable` names, runs the work, hands the work back to End, and keeps what the
// effects of End name.
//
// A session is trained by gradients or by search, as its configuration says. RoundMachine decides
// in the first case, SearchMachine in the second; both make versions, and everything behind the
// source of the gradient is the same. A call that is for the other kind fails with WRONG_METHOD.
//
// A version is immutable once it is visible: a step writes the next version beside it, and readers
// keep the version that they hold. The order of a step's arithmetic is told in stepper.h.
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
#include "core/search/search_machine.h"
#include "core/session/loss_estimate.h"
#include "core/session/parameter_measures.h"
#include "core/session/parameters.h"
#include "core/session/round_gradient.h"
#include "core/session/session_config.h"
#include "core/session/staged_gradient.h"
#include "core/session/state_digest.h"
#include "core/session/statistics.h"
#include "core/session/stepper.h"
#include "core/session/work.h"

namespace talweg::core {

// A contribution as its worker sent it, with the whole gradient.
struct ContributionInput {
  Contribution contribution;        // `finite`, `digest` and `loss` are filled in by the session
  std::vector<double> losses = {};  // the first loss counts
  // The worker sent the sum of its own steps, which is the negative of a gradient.
  bool is_difference = false;
  // As it was sent, and measured. Null if the worker abstains, or sends statistics alone.
  std::shared_ptr<StagedGradient> gradient = nullptr;
  // Ready; null if there are none.
  std::shared_ptr<StagedStatistics> statistics = nullptr;
  // The caller needs `gradient` back when the work has ended, so the gradient is folded at once.
  bool returns_gradient = false;
};

// What follows from an event.
struct Outcome {
  Effects effects;
  std::unique_ptr<Work> work;  // null: there is nothing to compute
  // Of a session that searches: what `effects` has no place for. Null in every other session.
  std::unique_ptr<SearchEffects> search = nullptr;
};

// What follows from a change of the configuration.
struct Reconfigured {
  std::optional<Configure> change;  // not set if it was refused, or if nothing differs
  Effects effects;
  std::unique_ptr<SearchEffects> search = nullptr;  // as in Outcome
};

// What follows from work that has ended.
struct Ended {
  std::optional<StepTaken> step;  // set if a version was made
  Effects effects;
  std::unique_ptr<SearchEffects> search = nullptr;  // as in Outcome
  // Inverses to be computed beside the steps, for Install; null if none are due.
  std::unique_ptr<InverseRefresh> refresh = nullptr;
};

// Thread-compatible.
class Session {
 public:
  // Starts at version 0 with the given parameters, [layout.num_elements], which are finite.
  Session(SessionConfig config, uint64_t history, std::shared_ptr<Parameters> initial);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Allocates the memory that a gradient may need. This comes before the contribution is
  // judged, because a decision cannot fail. `allocate` gives the vector of the next version, which
  // the session keeps while a round is open. Fails with FIELD_OUT_OF_RANGE if the contribution has
  // a weight and the reduction uses no weights, with MEMORY_QUOTA if the system has no memory, and
  // with the error of `allocate`.
  using AllocateParameters = absl::FunctionRef<absl::StatusOr<std::shared_ptr<Parameters>>()>;
  // `has_statistics` asks for what these need, too.
  absl::Status Prepare(bool has_weight, AllocateParameters allocate, bool has_statistics = false);

  // Frees the vector of the next version, unless a round is open.
  void ReleaseUnusedMemory();

  // Judges a contribution, after Prepare if it has a gradient, and fills in what
  // `input.contribution` lacks. This call computes the digest, chooses the loss that counts,
  // corrects the sign of a difference, and decides whether the step uses the gradient as it is or
  // the round folds it.
  Outcome Contribute(ContributionInput& input, absl::Time now);

  // As RoundMachine::Handle or SearchMachine::Handle, for every event except Contribution,
  // StepTaken and Configure.
  Outcome Handle(const Event& event, absl::Time now);

  // --- Only if the session searches; see CheckSearches.

  // OK, or WRONG_METHOD.
  absl::Status CheckSearches(bool searches) const;
  // The roles of a worker that joins and asked for `roles`; none: the role that trains the session.
  // Fails with WRONG_METHOD, naming the field, if a role is for the other kind of session.
  absl::StatusOr<Roles> CheckRoles(Roles roles) const;
  // Leases something to evaluate, as SearchMachine does. No work follows.
  Outcome Ask(const core::Ask& ask, absl::Time now);
  // Allocates the memory of the step that a Tell may order, as Prepare does.
  absl::Status PrepareTell(AllocateParameters allocate);
  // Takes losses, after PrepareTell.
  Outcome Tell(const core::Tell& tell, absl::Time now);

  // Changes hyper-parameters from the next version on: at once or, if a round is open, when that
  // round has closed. `history` 0 stands for the current history. Fails with HISTORY_CHANGED, and
  // with FIELD_IMMUTABLE as CheckLiveChange does. If nothing differs, nothing changes.
  Reconfigured Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now);

  // Takes the inverses of `refresh`, which came from Ended and is over, into use: the next version
  // is made with them, unless newer ones are there. One refresh is under way at a time, and the
  // next one is begun only when this one was installed.
  Outcome Install(InverseRefresh& refresh, absl::Time now);

  // Folds the contributions that the open round has not folded yet; null if there are none.
  std::unique_ptr<Work> BeginFold();
  // How many contributions of the open round are not folded yet.
  size_t num_unfolded() const { return round_.num_unfolded(); }

  // Must be called when `work` has run to its end. After a step, the new version is the current
  // version, and the effects answer the calls whose wait is over.
  Ended End(const Work& work, absl::Time now);

  // The points that can be read of the current version.
  enum class Point {
    kParameters,
    kLookahead,  // the point at which the gradient of the coming step is to be taken
    kAverage,    // the running average of the parameters; the parameters if no average is kept
  };
  // Whether reading the point gives the parameters themselves.
  bool IsParameters(Point point) const;
  // Copies the point to `to`, [num_elements].
  std::unique_ptr<Work> BeginRead(Point point, std::shared_ptr<Parameters> to);
  // Computes the digest of the state (state_digest.h) into `to`.
  std::unique_ptr<Work> BeginDigest(std::shared_ptr<StateDigest> to);
  // eta of the coming step.
  double NextLearningRate() const;

  const SessionConfig& config() const { return config_; }  // in force
  // The newest configuration that was accepted, and its number. It is in force with the next
  // version at the latest.
  const SessionConfig& newest_config() const { return next_config_ ? *next_config_ : config_; }
  uint64_t config_version() const { return config_version_; }
  // The number of the configuration that is in force.
  uint64_t policy_config_version() const {
    return rounds_ ? rounds_->config_version() : search_->config_version();
  }
  bool searches() const { return search_.has_value(); }
  // Only if the session does not search; only if it does.
  const RoundMachine& machine() const { return *rounds_; }
  const SearchMachine& search() const { return *search_; }
  // What both have.
  uint64_t history() const { return rounds_ ? rounds_->history() : search_->history(); }
  uint64_t version() const { return rounds_ ? rounds_->version() : search_->version(); }
  absl::Time NextTick() const { return rounds_ ? rounds_->NextTick() : search_->NextTick(); }
  absl::Status CheckHistory(uint64_t history) const {
    return rounds_ ? rounds_->CheckHistory(history) : search_->CheckHistory(history);
  }
  size_t num_workers() const { return rounds_ ? rounds_->num_workers() : search_->num_workers(); }
  size_t num_live_workers() const {
    return rounds_ ? rounds_->num_live_workers() : search_->num_live_workers();
  }
  const std::shared_ptr<const StepReport>& last_step() const {  // null before the first
    return rounds_ ? rounds_->last_step() : search_->last_step();
  }
  RefusalCounts refusals() const { return rounds_ ? rounds_->refusals() : RefusalCounts(); }
  const std::shared_ptr<const Parameters>& parameters() const { return parameters_; }
  size_t num_elements() const { return config_.layout->num_elements(); }

  // Bytes that the open round needs beyond SessionConfig::MemoryBytes.
  uint64_t ExtraRoundBytes() const { return round_.ExtraBytes(); }

  // Save writes the whole state except an open round as bytes, with a checksum at the end, and Load
  // reads them. A session that was loaded gives the same bits as one that never stopped. Pending
  // contributions are forgotten, and may be sent again. `history` means what it means to
  // RoundMachine::Load. Load fails with STATE_CORRUPT. No work may be under way during Save.
  std::string Save();
  static absl::StatusOr<std::unique_ptr<Session>> Load(absl::string_view bytes, absl::Time now,
                                                       uint64_t history = 0);

  // CRC32C of the state that Save writes, without its magic line and trailer. It is computed
  // without the memory that the bytes would need.
  uint32_t Checksum();

  // Tests only: a deliberate bug of the machine.
  void SwitchOn(Mutation mutation) { rounds_->SwitchOn(mutation); }
  void SwitchOn(SearchMutation mutation) { search_->SwitchOn(mutation); }

 private:
  // The step that is under way.
  struct OpenStep {
    GradientSource* source;
    std::unique_ptr<SingleContribution> single;  // the source, if it is a single contribution
    std::shared_ptr<Parameters> to;
    const Work* work;                     // the work that takes the step
    std::shared_ptr<StateDigest> digest;  // null: the step computes none
    uint32_t num_statistics;              // of the step's order
    double num_samples;
  };

  // Where a gradient, or statistics, are not finite.
  GradientFault FaultOf(const ContributionInput& input) const;
  // What to tell of the curvature that a step used; null if its method uses none.
  std::shared_ptr<const CurvatureNumbers> CurvatureOf(const OpenStep& step, absl::Time now);
  ConfigureSearch SearchConfiguration(const SessionConfig& config) const;
  // What follows from what the search decided (session_search.cc).
  Outcome Follow(SearchEffects decided);
  Ended EndSearchStep(const StepTaken& taken, absl::Time now);
  // Puts the newest configuration in force if the policy has begun to decide by it.
  void FollowPolicy();
  std::unique_ptr<Work> BeginStep(const StepOrder& order, GradientSource& source,
                                  std::unique_ptr<SingleContribution> single,
                                  std::unique_ptr<Work> work);
  void Begin(Work& work, SessionPart part, Access access);
  void PutInForce(SessionConfig config);
  void ReadPoint(Point point, Shard shard, absl::Span<const float> from,
                 absl::Span<float> to) const;
  void WriteState(ByteWriter& writer);
  absl::Status LoadRounds(ByteReader& reader, uint32_t format, absl::Time now, uint64_t history);
  absl::Status LoadSearch(ByteReader& reader, uint32_t format, absl::Time now, uint64_t history);

  SessionConfig config_;
  std::optional<SessionConfig> next_config_;  // in force with the next version
  uint64_t config_version_ = 1;               // of the newest configuration
  // Exactly one of these two decides.
  std::optional<RoundMachine> rounds_;
  std::optional<SearchMachine> search_;
  std::shared_ptr<const Parameters> parameters_;  // of the current version
  Stepper stepper_;
  RoundGradient round_;
  // Only if contributions may bring statistics: the sums of those for the next version.
  std::unique_ptr<RoundGradient> statistics_;
  std::shared_ptr<const GroupMap> statistics_map_;
  bool is_refreshing_ = false;  // An InverseRefresh was handed out and has not come back.
  absl::Time refresh_begun_;    // when it was handed out
  absl::Time inverses_time_;    // when the inverses in use were begun
  // Only if the session searches.
  std::unique_ptr<LossEstimate> estimate_;
  std::unique_ptr<ParameterMeasures> measures_;
  // The vector of the next version; null unless a round is open, or losses were told.
  std::shared_ptr<Parameters> next_parameters_;

  // Of the work under way.
  std::optional<OpenStep> open_step_;
  size_t num_reading_[kNumSessionParts] = {};
  bool is_changing_[kNumSessionParts] = {};
};

}  // namespace talweg::core
