// SPDX-License-Identifier: Apache-2.0
//
// A world that searches: what it is like, and its server.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "tests/simulation/search_story.h"

namespace talweg::simulation {
namespace {

core::Schedule ConstantRate(double learning_rate) {
  core::RateConfig rate;
  rate.learning_rate = learning_rate;
  const core::DecayKind& kind = *core::FindDecayKind("constant");
  return core::Schedule(core::ConfigOf<core::RateConfig>(rate), kind, kind.default_config());
}

}  // namespace

// --- What the world is like.

void SearchWorld::DrawSearch() {
  core::SearchConfig search;
  search.seed = config_.seed;
  search.num_pairs = random_.Whole(1, 24);
  search.sigma = 0.125;
  search.sigma_decay = random_.Chance(0.5) ? 1 : 0.96875;
  if (random_.Chance(0.3)) search.noise = core::SearchNoise::kRademacher;
  if (random_.Chance(0.3)) {
    search.perturbation = core::PerturbationKind::kLowRank;
    search.rank = random_.Whole(1, 3);
  }
  settings_.learning_rate = 0.03125;
  switch (random_.Below(4)) {
    case 0:
      search.method = core::SearchMethod::kRandomSearch;
      settings_.learning_rate = 1;
      break;
    case 1:
      search.method = core::SearchMethod::kEvolutionStrategy;
      search.differences = core::Differences::kOneSided;
      search.baseline = random_.Chance(0.5) ? core::Baseline::kMean : core::Baseline::kEvaluated;
      break;
    default:
      search.method = core::SearchMethod::kEvolutionStrategy;
      search.evaluate_every = random_.Chance(0.5) ? random_.Whole(1, 3) : 0;
  }
  if (random_.Chance(0.3)) search.direction = core::Direction::kMaximize;
  ChangeSearch(search);
  settings_.search = search;
  settings_.lease_seconds = random_.Whole(3, 10);
  settings_.config_version = 1;
  num_workers_ = static_cast<uint32_t>(random_.Whole(2, 8));
  compute_seconds_ = random_.Between(0.05, 1);
  slow_share_ = random_.Between(0, 0.1);
  loss_share_ = random_.Between(0, 0.15);
  twice_share_ = random_.Between(0, 0.3);
  failed_share_ = random_.Chance(0.5) ? random_.Between(0, 0.3) : 0;
  non_finite_share_ = random_.Chance(0.5) ? random_.Between(0, 0.2) : 0;
  fault_every_ = random_.Between(0.3, 4);
  crash_every_ = random_.Chance(0.6) ? random_.Between(5, 30) : 0;
  change_every_ = random_.Chance(0.6) ? random_.Between(2, 20) : 0;
}

// What may be changed live.
void SearchWorld::ChangeSearch(core::SearchConfig& search) {
  search.num_pairs = random_.Whole(1, 24);
  search.sigma = static_cast<double>(random_.Whole(1, 16)) / 64;
  search.evaluation_seconds = random_.Between(0.5, 8);
  search.max_failures = random_.Whole(1, 4);
  search.max_lost_leases = random_.Chance(0.5) ? random_.Whole(1, 4) : 16;
  search.non_finite =
      random_.Chance(0.5) ? core::NonFinitePolicy::kDrop : core::NonFinitePolicy::kRetry;
  search.close = core::GenerationClose::kAll;
  search.close_pairs = 0;
  search.close_seconds = 0;
  if (random_.Chance(0.3)) {
    search.close = core::GenerationClose::kCount;
    search.close_pairs = random_.Whole(1, search.num_pairs);
  } else if (random_.Chance(0.4)) {
    search.close = core::GenerationClose::kDeadline;
    search.close_seconds = random_.Between(0.2, 4);
  }
  if (!search.keeps_best()) {
    search.scale =
        random_.Chance(0.5) ? core::EstimateScale::kTutorial : core::EstimateScale::kGradient;
    search.shaping = static_cast<core::Shaping>(random_.Below(3));
    if (search.shaping == core::Shaping::kCenteredRanks && random_.Chance(0.5)) {
      search.non_finite = core::NonFinitePolicy::kWorst;
    }
  }
  // One loss has nothing to be compared with.
  if (!search.Validate().ok()) search.num_pairs = 2;
}

core::SessionConfig SearchWorld::ConfigOf(const Settings& settings) const {
  const core::Method& method = *core::FindMethod("gradient_descent");
  core::SessionConfig config{
      layout_, &method, method.default_config(), ConstantRate(settings.learning_rate), {}};
  core::AggregationConfig aggregation;
  aggregation.lease_seconds = settings.lease_seconds;
  config.aggregation = core::ConfigOf(aggregation);
  config.search = core::ConfigOf(settings.search);
  const absl::Status valid = settings.search.Validate();
  TALWEG_CHECK(valid.ok() && config.Resolve().ok());
  return config;
}

core::PlainPerturbation SearchWorld::PlainOf() const {
  const core::SearchConfig& search = settings_.search;
  core::PlainPerturbation plain{search.seed,
                                search.noise == core::SearchNoise::kRademacher,
                                static_cast<uint32_t>(search.rank),
                                {}};
  for (size_t tensor = 0; tensor < layout_->tensors().size(); ++tensor) {
    const std::vector<uint64_t>& shape = layout_->tensors()[tensor].shape;
    plain.tensors.push_back({layout_->size_of(tensor), shape.size() >= 2 ? shape.front() : 0});
  }
  return plain;
}

// --- The server.

void SearchWorld::Start() {
  if (host_ != nullptr) return;
  if (snapshots_.empty()) {
    const uint64_t history = env_.NewHistory();
    auto initial = std::make_shared<core::Parameters>(layout_->num_elements());
    std::vector<float> values(layout_->num_elements());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(Mix(config_.seed + i) % 2048) / 1024 - 1;
    }
    std::copy(values.begin(), values.end(), initial->values.data());
    model_ = std::make_unique<SearchModel>(PlainOf(), values, settings_, history);
    Host(std::make_unique<core::Session>(ConfigOf(settings_), history, std::move(initial)));
    return Save();
  }
  // Mostly the last snapshot comes back; now and then an older one is all that is left.
  const size_t back = random_.Chance(0.8) ? 0 : random_.Below(snapshots_.size());
  snapshots_.resize(snapshots_.size() - back);
  const Snapshot& snapshot = snapshots_.back();
  const bool lost = snapshot.num_kept != env_.num_kept();
  const uint64_t history = lost ? env_.NewHistory() : 0;
  if (lost) ++outcome_.new_histories;
  settings_ = snapshot.settings;
  auto session = core::Session::Load(snapshot.state, env_.MonotonicNow(), history);
  model_->Restore(snapshot.known, history, env_.MonotonicNow());
  trace_.Say(plan_.now(), "restored", history, settings_.config_version);
  if (!session.ok()) return model_->Violate("state_refused", session.status().ToString());
  const auto& values = (*session)->parameters()->values;
  if (!std::equal(values.span().begin(), values.span().end(), snapshot.known.parameters.begin())) {
    model_->Violate("state_differs", "parameters are others than those that were saved");
  }
  Host(*std::move(session));
  if (history != 0) Save();
}

void SearchWorld::Host(std::unique_ptr<core::Session> session) {
  session->SwitchOn(config_.mutation);
  host_ = std::make_shared<server::SessionHost>(
      server::SessionIdentity{"s", "", 0, session->history(), env_.WallNow()}, session->config(),
      server::MemoryBudget::Reservation(), env_);
  host_->SwitchOn(config_.host_mutation);
  host_->Restore(std::move(session));
  env_.RunPosted();
}

void SearchWorld::Save() {
  if (host_ == nullptr) return;
  host_->Save([this](const absl::StatusOr<std::string>& state) {
    if (!state.ok()) return;
    const auto copy = core::Session::Load(*state, env_.MonotonicNow());
    if (!copy.ok() || (*copy)->Save() != *state) {
      model_->Violate("state_differs", "what was saved is not what comes back");
    }
    if (snapshots_.size() == 3) snapshots_.erase(snapshots_.begin());
    snapshots_.push_back({*state, settings_, env_.num_kept(), model_->known()});
  });
  env_.RunPosted();
}

void SearchWorld::Crash() {
  if (host_ == nullptr) return;
  if (random_.Chance(0.7)) Save();
  ++outcome_.crashes;
  trace_.Say(plan_.now(), "server_crash", env_.num_kept());
  host_.reset();
  env_.Forget();
  plan_.In(random_.Between(0.05, 3), [this] { Start(); });
}

void SearchWorld::Reconfigure() {
  if (host_ == nullptr) return;
  Settings next = settings_;
  ChangeSearch(next.search);
  // Another rate than before, so that there is always something to change.
  if (!next.search.keeps_best()) {
    next.learning_rate = settings_.learning_rate > 0.25 ? 0.015625 : settings_.learning_rate * 2;
  }
  if (random_.Chance(0.3)) next.lease_seconds = random_.Whole(3, 10);
  ++outcome_.changes;
  trace_.Say(plan_.now(), "configure", next.search.num_pairs);
  host_->Reconfigure(
      0, [config = ConfigOf(next)](const core::SessionConfig&) { return config; },
      [this, next](const absl::StatusOr<server::SessionDescription>& changed) mutable {
        if (!changed.ok()) return model_->Violate("error_wrong", changed.status().ToString());
        next.config_version = changed->config_version;
        settings_ = next;
        Told();
      });
  env_.RunPosted();
}

uint64_t SearchWorld::VisibleVersion() {
  uint64_t version = 0;
  host_->Read(core::Session::Point::kParameters,
              [&version](const absl::StatusOr<server::PointOutcome>& point) {
                if (point.ok()) version = point->values->version;
              });
  return version;
}

// Somebody is told something.
void SearchWorld::Told() {
  if (env_.num_kept() < env_.num_decided()) {
    model_->Violate("told_before_durable", "a crash would undo what a call is told");
  }
}

}  // namespace talweg::simulation
