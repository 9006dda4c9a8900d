// SPDX-License-Identifier: Apache-2.0
//
// What a session does if it searches: it asks its SearchMachine, and steps with estimates.
#include <new>
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/session/session.h"

namespace talweg::core {

absl::Status Session::CheckSearches(bool searches) const {
  if (searches == this->searches()) return absl::OkStatus();
  return MakeError(Reason::kWrongMethod,
                   searches ? "the session is trained by gradients, not by search"
                            : "the session is trained by search, not by gradients");
}

absl::StatusOr<Roles> Session::CheckRoles(Roles roles) const {
  if (roles.empty()) {
    if (searches()) return Roles{Role::kSearch};
    return config_.takes_statistics() ? Roles{Role::kGradient, Role::kStatistics}
                                      : Roles{Role::kGradient};
  }
  const bool fits = searches() ? roles == Roles{Role::kSearch} : !roles.Has(Role::kSearch);
  if (fits) return roles;
  return MakeError(Reason::kWrongMethod,
                   searches() ? "the session is trained by search, not by gradients"
                              : "the session is trained by gradients, not by search",
                   "roles");
}

ConfigureSearch Session::SearchConfiguration(const SessionConfig& config) const {
  ConfigureSearch configuration{config.schedule, config.search.value()};
  configuration.lease_seconds = config.aggregation.value().lease_seconds;
  configuration.worker_limit = config.aggregation.value().worker_limit();
  configuration.num_trained = config.NumTrained();
  configuration.config_version = config_version_;
  return configuration;
}

Outcome Session::Ask(const core::Ask& ask, absl::Time now) {
  return Follow(search_->Handle(ask, now));
}

absl::Status Session::PrepareTell(AllocateParameters allocate) {
  if (next_parameters_ == nullptr) {
    TALWEG_ASSIGN_OR_RETURN(next_parameters_, allocate());
  }
  try {
    estimate_->Prepare();
  } catch (const std::bad_alloc&) {
    return MakeError(Reason::kMemoryQuota, "the system has no memory for an estimate");
  }
  return absl::OkStatus();
}

Outcome Session::Tell(const core::Tell& tell, absl::Time now) {
  return Follow(search_->Handle(tell, now));
}

Outcome Session::Follow(SearchEffects decided) {
  Outcome outcome;
  outcome.effects.status = std::move(decided.status);
  outcome.effects.incarnation = decided.incarnation;
  outcome.effects.waits = decided.waits;
  outcome.effects.released = std::move(decided.released);
  if (decided.step.has_value()) {
    estimate_->Set(*decided.step);
    outcome.work = BeginStep(decided.step->step, *estimate_, nullptr, nullptr);
    outcome.effects.step = decided.step->step;
  } else {
    FollowPolicy();  // a generation may have been given up
  }
  outcome.search = std::make_unique<SearchEffects>(std::move(decided));
  return outcome;
}

Ended Session::EndSearchStep(const StepTaken& taken, absl::Time now) {
  Ended ended{taken, {}};
  ended.step->weight_norm = measures_->norm();
  ended.step->parameters_checksum = measures_->checksum();
  SearchEffects decided = search_->Handle(*ended.step, now);
  FollowPolicy();
  auto record = std::make_shared<VersionRecord>();
  record->version = decided.made->version;
  record->config_version = decided.made->config_version;
  record->opened = decided.made->opened;
  record->closed = decided.made->closed;
  record->total_weight = static_cast<double>(decided.made->pairs.size());
  ended.effects.made = std::move(record);
  ended.effects.released = std::move(decided.released);
  ended.search = std::make_unique<SearchEffects>(std::move(decided));
  return ended;
}

}  // namespace talweg::core
