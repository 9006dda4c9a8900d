// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/world_config.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/match.h"
#include "core/base/check.h"

namespace talweg::simulation {
namespace {

using core::AggregationConfig;
using core::AggregationMode;
using core::CloseRule;

constexpr absl::string_view kSmallWorlds[] = {"all",
                                              "count",
                                              "count_or_fewer",
                                              "weight",
                                              "deadline",
                                              "late_welcome",
                                              "crowded",
                                              "beginners",
                                              "bounded",
                                              "bounded_limited",
                                              "asynchronous",
                                              "accumulated",
                                              "one_trainer",
                                              "exact_mean",
                                              "by_worker",
                                              "trimmed_mean",
                                              "median",
                                              "exact_bounded",
                                              "exact_accumulated",
                                              "abstaining",
                                              "abstaining_exact",
                                              "abstaining_bounded",
                                              "abstaining_windows"};
constexpr absl::string_view kBigWorlds[] = {"big_synchronous", "big_bounded", "big_asynchronous"};

// A time span that every clock can tell exactly.
double Span(Random& random, double low, double high) {
  return std::ceil(random.Between(low, high) * 64) / 64;
}

// Everything may go wrong, each seed in its own measure; in one of ten nothing does.
Faults DrawFaults(Random& random) {
  Faults faults;
  faults.tick_late_seconds = random.Chance(0.5) ? 0 : random.Between(0.0, 2.0);
  if (random.Chance(0.1)) return faults;
  const auto maybe = [&](double chance, double value) { return random.Chance(chance) ? value : 0; };
  faults.request_loss = maybe(0.7, random.Between(0.0, 0.15));
  faults.reply_loss = maybe(0.7, random.Between(0.0, 0.25));
  faults.duplicates = maybe(0.7, random.Between(0.0, 0.2));
  faults.slow_share = maybe(0.7, random.Between(0.0, 0.1));
  faults.slow_seconds = random.Between(1.0, 30.0);
  faults.worker_every = maybe(0.8, random.Between(0.5, 15.0));
  faults.server_crash_every = maybe(0.6, random.Between(10.0, 60.0));
  faults.delete_every = maybe(0.3, random.Between(20.0, 80.0));
  faults.configure_every = maybe(0.5, random.Between(3.0, 30.0));
  faults.clock_jump_every = maybe(0.3, random.Between(10.0, 60.0));
  faults.not_finite = maybe(0.5, 0.05);
  faults.reuses_sequence = maybe(0.3, 0.02);
  faults.impatient = maybe(0.4, random.Between(0.0, 0.1));
  faults.breaks_off = random.Unit();
  return faults;
}

WorldConfig DrawFleet(absl::string_view name, uint64_t seed, Random& random) {
  WorldConfig world;
  world.name = std::string(name);
  world.seed = seed;
  world.num_workers = static_cast<uint32_t>(random.Whole(2, 16));
  world.num_observers = random.Chance(0.3) ? 1 : 0;
  world.compute_seconds = random.Between(0.2, 2.0);
  world.straggler_share = random.Chance(0.5) ? random.Between(0.0, 0.4) : 0;
  world.straggler_factor = random.Between(2.0, 10.0);
  world.delay_seconds = random.Between(0.001, 0.2);
  world.step_seconds = random.Chance(0.5) ? 0 : random.Between(0.0, 0.3);
  world.call_timeout = random.Between(3.0, 40.0);
  world.asks_not_to_wait = random.Chance(0.4) ? random.Between(0.0, 0.5) : 0;
  world.goes_on_pending = random.Chance(0.4) ? random.Unit() : 0;
  world.pulls_anew = random.Chance(0.5) ? 0.2 : 0;
  world.heartbeat_share = random.Chance(0.6) ? 1 : random.Unit();
  if (random.Chance(0.6)) {
    world.lightest = 0.5;
    world.heaviest = random.Chance(0.5) ? 2 : 64;
  }
  world.policy.lease_seconds = random.Whole(2, 15);
  world.faults = DrawFaults(random);
  return world;
}

// How many workers may be part of a version.
uint64_t NumContributors(const WorldConfig& world) {
  const uint64_t gradient_workers = world.num_workers - world.num_observers;
  return std::min(gradient_workers, world.policy.worker_limit());
}

// The longest time, in seconds, that a worker takes from one version to its contribution to the
// next: it must be told the version, compute, be heard, and wait while steps of all other workers
// are taken.
double LongestTurn(const WorldConfig& world) {
  const double slowness = world.straggler_share > 0 ? std::max(1.0, world.straggler_factor) : 1;
  return 12 * world.delay_seconds + 1.5 * world.compute_seconds * slowness +
         world.step_seconds * static_cast<double>(world.num_workers);
}

// The most versions that all other workers together can make in that time.
uint64_t MostOvertaking(const WorldConfig& world) {
  const double turns = LongestTurn(world) / (0.5 * world.compute_seconds) + 2;
  return static_cast<uint64_t>(static_cast<double>(NumContributors(world) - 1) * turns);
}

// A max_staleness that refuses nobody.
uint64_t Welcoming(const WorldConfig& world) {
  return std::max<uint64_t>(1, MostOvertaking(world));
}

// Room in the calm for the slowest: a lease that ends, a call that is tried again, work and wait.
void SetCalm(WorldConfig& world) {
  const double slowest = world.compute_seconds * 1.5 * std::max(1.0, world.straggler_factor) * 4;
  world.calm_seconds = 60 + 2 * (world.call_timeout + slowest) + world.faults.slow_seconds * 6;
}

void SetSynchronous(WorldConfig& world, CloseRule close, Random& random) {
  AggregationConfig& policy = world.policy;
  policy.mode = AggregationMode::kSynchronous;
  policy.close = close;
  const uint64_t gradient_workers = world.num_workers - world.num_observers;
  if (close == CloseRule::kCount) {
    policy.close_count = random.Whole(1, gradient_workers);
  }
  // No more than all of them together weigh at least.
  if (close == CloseRule::kWeight) {
    policy.close_weight =
        random.Between(0.1, 1.0) * world.lightest * static_cast<double>(gradient_workers);
  }
  if (close == CloseRule::kDeadline) {
    const double turn = LongestTurn(world);
    policy.close_seconds =
        random.Chance(0.5) ? Span(random, 0.5, 8.0) : Span(random, 2 * turn, 3 * turn);
  }
  if (random.Chance(0.3)) policy.progress_seconds = Span(random, 2.0, 20.0);
}

void SetBounded(WorldConfig& world, Random& random) {
  AggregationConfig& policy = world.policy;
  policy.mode = AggregationMode::kBoundedStaleness;
  policy.max_rounds_ahead = random.Below(4);
  if (random.Chance(0.3)) policy.progress_seconds = Span(random, 2.0, 20.0);
}

void SetAsynchronous(WorldConfig& world, uint64_t steps, Random& random) {
  AggregationConfig& policy = world.policy;
  policy.gradient_accumulation_steps = steps;
  policy.max_staleness = random.Chance(0.5) ? random.Whole(4, 40) : Welcoming(world);
  if (steps > 1 && random.Chance(0.5)) policy.stale_scale = core::StaleScale::kInverse;
}

void SetStaging(WorldConfig& world) {
  world.policy.max_workers = world.num_workers + 2;
  world.lightest = world.heaviest = 1;
}

WorldConfig MakeBig(absl::string_view name, uint64_t seed, Random& random) {
  WorldConfig world;
  world.name = std::string(name);
  world.seed = seed;
  world.num_workers = 100'000;
  world.num_observers = 100;
  world.compute_seconds = 8;
  world.straggler_share = 0.01;
  world.straggler_factor = 2;
  world.delay_seconds = 0.2;
  // The host keeps one decision after the other: 100,000 joins at once leave no time for a disk.
  world.disk_seconds = 0;
  world.call_timeout = 20;
  world.pulls_anew = 0.2;
  world.heartbeat_share = 0.1;
  world.all_beat_in_calm = false;
  world.policy.lease_seconds = 30;
  world.lightest = 0.5;
  world.heaviest = 4;
  world.faults.request_loss = 0.01;
  world.faults.reply_loss = 0.01;
  world.faults.duplicates = 0.02;
  world.faults.slow_share = 0.02;
  world.faults.slow_seconds = 5;
  world.faults.worker_every = 0.005;
  world.faults.server_crash_every = 15;
  world.faults.delete_every = 20;
  world.faults.configure_every = 10;
  world.faults.clock_jump_every = 20;
  world.faults.not_finite = 0.001;
  world.faults.impatient = 0.001;
  world.faults.tick_late_seconds = 0.5;
  world.faults.breaks_off = 0.5;
  world.fault_seconds = 30;
  world.calm_seconds = 120;
  if (name == "big_synchronous") {
    world.compute_seconds = 4;
    SetSynchronous(world, CloseRule::kAll, random);
    world.policy.progress_seconds = 0;
  } else if (name == "big_bounded") {
    SetBounded(world, random);
    world.policy.progress_seconds = 0;
    world.policy.max_rounds_ahead = 2;
  } else {
    SetAsynchronous(world, 64, random);
    world.policy.max_staleness = 1'000'000;
  }
  return world;
}

}  // namespace

absl::Span<const absl::string_view> SmallWorlds() { return kSmallWorlds; }
absl::Span<const absl::string_view> BigWorlds() { return kBigWorlds; }

bool IsWorld(absl::string_view name) {
  const auto in = [&](absl::Span<const absl::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return in(kSmallWorlds) || in(kBigWorlds);
}

WorldConfig MakeWorld(absl::string_view name, uint64_t seed) {
  TALWEG_CHECK(IsWorld(name));
  uint64_t own = seed;
  for (const char letter : name) own = Mix(own + static_cast<uint64_t>(letter));
  Random random(own);
  if (name.substr(0, 4) == "big_") {
    WorldConfig world = MakeBig(name, seed, random);
    TALWEG_CHECK(world.policy.Validate().ok());
    return world;
  }
  WorldConfig world = DrawFleet(name, seed, random);
  AggregationConfig& policy = world.policy;
  if (name == "count" || name == "count_or_fewer") {
    SetSynchronous(world, CloseRule::kCount, random);
    if (name == "count_or_fewer") policy.too_few = core::TooFew::kClose;
  } else if (name == "weight") {
    SetSynchronous(world, CloseRule::kWeight, random);
    if (random.Chance(0.5)) policy.too_few = core::TooFew::kClose;
  } else if (name == "deadline") {
    SetSynchronous(world, CloseRule::kDeadline, random);
  } else if (name == "late_welcome") {
    SetSynchronous(world, CloseRule::kCount, random);
    policy.max_staleness = random.Chance(0.5) ? random.Whole(1, 8) : Welcoming(world);
    policy.stale_scale = core::StaleScale::kInverse;
  } else if (name == "crowded") {
    // There are more names than places: the table is full, and only workers that expired make room.
    SetSynchronous(world, random.Chance(0.5) ? CloseRule::kAll : CloseRule::kDeadline, random);
    world.num_observers = 0;
    const uint64_t missing = random.Whole(1, 3);
    policy.max_workers = world.num_workers > missing ? world.num_workers - missing : 1;
    policy.lease_seconds = random.Whole(1, 4);
  } else if (name == "beginners") {
    SetSynchronous(world, random.Chance(0.5) ? CloseRule::kAll : CloseRule::kDeadline, random);
    policy.min_workers = random.Whole(1, world.num_workers - world.num_observers);
  } else if (name == "abstaining" || name == "abstaining_exact") {
    constexpr CloseRule kRules[] = {CloseRule::kAll, CloseRule::kCount, CloseRule::kWeight,
                                    CloseRule::kDeadline};
    SetSynchronous(world, kRules[random.Below(4)], random);
    const bool may_be_few = policy.close == CloseRule::kCount || policy.close == CloseRule::kWeight;
    if (may_be_few && random.Chance(0.5)) policy.too_few = core::TooFew::kClose;
    if (random.Chance(0.3)) policy.min_workers = random.Whole(1, NumContributors(world));
    policy.workers_may_close = random.Chance(0.5);
  } else if (name == "bounded" || name == "exact_bounded" || name == "abstaining_bounded") {
    SetBounded(world, random);
  } else if (name == "bounded_limited") {
    SetBounded(world, random);
    policy.max_workers = world.num_workers;
    policy.max_staleness = (policy.max_workers - 1) * (2 * policy.max_rounds_ahead + 1);
  } else if (name == "asynchronous") {
    SetAsynchronous(world, 1, random);
  } else if (name == "accumulated" || name == "exact_accumulated" || name == "abstaining_windows") {
    SetAsynchronous(world, random.Whole(2, 12), random);
  } else if (name == "one_trainer") {
    world.num_workers = static_cast<uint32_t>(random.Whole(1, 2));
    world.num_observers = 0;
  } else {
    SetSynchronous(world, random.Chance(0.5) ? CloseRule::kAll : CloseRule::kDeadline, random);
  }
  if (name == "by_worker") {
    policy.reduce_order = core::ReduceOrder::kByWorker;
    policy.max_workers = world.num_workers + 2;
  } else if (name == "trimmed_mean") {
    policy.reduction = core::Reduction::kTrimmedMean;
    policy.trim_fraction = random.Between(0.05, 0.45);
    SetStaging(world);
  } else if (name == "median") {
    policy.reduction = core::Reduction::kMedian;
    SetStaging(world);
  }
  if (absl::StartsWith(name, "abstaining")) {
    world.abstains = random.Chance(0.3) ? random.Between(0.5, 1.0) : random.Between(0.0, 0.5);
    world.closes = policy.takes_closing() ? random.Between(0.0, 0.1) : random.Between(0.0, 0.01);
  }
  const absl::string_view with_arrays[] = {
      "exact_mean",    "by_worker",         "trimmed_mean",     "median",
      "exact_bounded", "exact_accumulated", "abstaining_exact", "abstaining_windows"};
  if (std::find(std::begin(with_arrays), std::end(with_arrays), name) != std::end(with_arrays)) {
    world.num_elements = static_cast<uint32_t>(random.Whole(1, 6));
    world.fault_seconds = 40;
    // Half of these worlds show the gradient itself; the others hide its last digits.
    if (random.Chance(0.5)) world.learning_rate = world.decay = 1;
  }
  SetCalm(world);
  TALWEG_CHECK(policy.Validate().ok());
  return world;
}

bool LeavesNobodyBehind(const WorldConfig& world, const AggregationConfig& policy) {
  const double turn = LongestTurn(world);
  const uint64_t others = NumContributors(world) - 1;
  // Under these policies nobody is late for good.
  const bool limited =
      policy.mode != AggregationMode::kBoundedStaleness || policy.max_staleness > 0;
  if (!limited || policy.max_staleness >= MostOvertaking(world)) return true;
  if (policy.mode == AggregationMode::kAsynchronous) return false;
  if (!world.all_beat_in_calm && static_cast<double>(policy.lease_seconds) < turn) return false;
  // Or the others must wait for the slowest, and long enough.
  if (policy.progress_seconds > 0 && policy.progress_seconds < turn) return false;
  if (policy.mode == AggregationMode::kBoundedStaleness) return true;
  switch (policy.close) {
    case CloseRule::kAll:
      return true;
    case CloseRule::kCount:
      return policy.close_count > others;
    case CloseRule::kWeight:
      return policy.close_weight > static_cast<double>(others) * world.heaviest;
    case CloseRule::kDeadline:
      // A worker that misses one round has begun soon enough for the next.
      return policy.close_seconds >= 2 * turn;
  }
  return false;
}

AggregationConfig ChangePolicy(const WorldConfig& world, const AggregationConfig& from,
                               Random& random) {
  const bool synchronous = from.mode == AggregationMode::kSynchronous;
  const uint64_t gradient_workers = world.num_workers - world.num_observers;
  for (int tries = 0; tries < 20; ++tries) {
    AggregationConfig to = from;
    switch (random.Below(8)) {
      case 0:
        to.lease_seconds = random.Whole(1, 20);
        break;
      case 1:
        if (from.max_staleness == 0) break;
        to.max_staleness = from.max_staleness + random.Below(8);
        break;
      case 2:
        to.progress_seconds = from.progress_seconds == 0 ? 0 : Span(random, 1.0, 20.0);
        break;
      case 3:
        if (from.mode == AggregationMode::kBoundedStaleness) to.max_rounds_ahead = random.Below(5);
        if (from.gradient_accumulation_steps > 1) {
          to.gradient_accumulation_steps = random.Whole(2, 12);
        }
        break;
      case 4:
        if (!synchronous || from.close == CloseRule::kAll || from.stages_all()) break;
        to.close = CloseRule::kCount;
        to.close_count = random.Whole(1, gradient_workers);
        to.close_weight = 0;
        to.close_seconds = 0;
        break;
      case 5:
        if (!synchronous || from.close == CloseRule::kAll) break;
        to.close = CloseRule::kDeadline;
        to.close_seconds = Span(random, 0.5, 8.0);
        to.close_count = 0;
        to.close_weight = 0;
        to.too_few = core::TooFew::kWait;
        break;
      case 6:
        if (synchronous) to.min_workers = random.Whole(1, gradient_workers);
        break;
      default:
        if (from.reduction == core::Reduction::kTrimmedMean) {
          to.trim_fraction = random.Between(0.05, 0.45);
        }
        break;
    }
    if (to.Validate().ok()) return to;
  }
  return from;
}

}  // namespace talweg::simulation
