// SPDX-License-Identifier: Apache-2.0
//
// reduce_16: 16 contributions of 64 MiB folded as they come and closed to their mean, bytes in per
// second, against memcpy of the same bytes with the same threads.
//
// sim_scale_MODE: one contribution in the state machine, with its share of the rounds it closes, in
// a session of 100,000 workers against one of 1,000. Workers come in a shuffled order, as they do
// from a network: another cache line each time. The same number of contributions is timed in turn.
// `flat` is the same against 100 sessions of 1,000 workers in turn, which take as much memory: what
// is left of the ratio there is not the machine's memory.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/rounds/reducer.h"
#include "core/rounds/round_machine.h"
#include "core/schedules/schedule.h"
#include "tests/bench/measure.h"
#include "tests/support/pool.h"

namespace {

using namespace talweg::core;
using talweg::testing::Median;
using talweg::testing::Pool;
using talweg::testing::SecondsOf;

int Reduce16() {
  constexpr size_t kContributions = 16;
  constexpr size_t kElements = size_t{16} << 20;
  constexpr int kRounds = 7;
  Pool pool(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<AlignedBuffer> sources;
  for (size_t i = 0; i < kContributions; ++i) {
    AlignedBuffer& source = sources.emplace_back(kElements);
    for (size_t k = 0; k < kElements; ++k) {
      source.data()[k] = static_cast<float>((k * 2654435761u + i * 40503u) % 2000) / 1000 - 1;
    }
  }
  std::vector<AlignedBuffer> copies;
  for (size_t i = 0; i < kContributions; ++i) copies.emplace_back(kElements);
  AlignedBuffer mean(kElements);

  AggregationConfig config;
  config.mode = AggregationMode::kSynchronous;
  Reducer reducer(config, kElements);
  reducer.Prepare(0);
  const size_t num_shards = NumShards(kElements);
  StepOrder order;
  order.contributors = kContributions;
  order.total_weight = kContributions;
  const auto part = [&](size_t begin) {
    std::vector<WeightedVector> vectors;
    for (size_t i = begin; i < begin + kMaxFold; ++i) vectors.push_back({sources[i].data(), 1});
    return vectors;
  };
  const auto reduce = [&] {
    reducer.BeginFold(part(0));
    pool.Run(num_shards, [&](size_t index) { reducer.FoldShard(index); });
    reducer.EndFold();
    reducer.BeginClose(order, part(kMaxFold), mean.span());
    pool.Run(num_shards, [&](size_t index) { reducer.CloseShard(index); });
    reducer.EndClose();
  };
  const auto copy = [&] {
    pool.Run(num_shards * kContributions, [&](size_t index) {
      const Shard shard = ShardAt(index % num_shards, kElements);
      const size_t i = index / num_shards;
      std::memcpy(copies[i].data() + shard.begin, sources[i].data() + shard.begin,
                  shard.size() * sizeof(float));
    });
  };
  reduce();
  copy();
  std::vector<double> ours, peer;
  for (int round = 0; round < kRounds; ++round) {
    ours.push_back(SecondsOf(1, reduce));
    peer.push_back(SecondsOf(1, copy));
  }
  const double bytes = static_cast<double>(kContributions * kElements * sizeof(float));
  const double our_speed = bytes / Median(ours) / 1e9;
  const double peer_speed = bytes / Median(peer) / 1e9;
  talweg::testing::Print("reduce_16", our_speed, "GB/s", "memcpy", peer_speed,
                         our_speed / peer_speed, 0.5);
  return 0;
}

// A session of workers that contribute one after the other in an order of their own.
class Fleet {
 public:
  Fleet(const Configure& configuration, size_t num_workers, uint32_t seed)
      : machine_(7, configuration), messages_(num_workers) {
    for (size_t worker = 0; worker < num_workers; ++worker) {
      Contribution& message = messages_[worker];
      message.history = 7;
      message.worker = "worker-" + std::to_string(worker);
      message.incarnation = worker + 1;
      message.finite = true;
      machine_.Handle(Join{message.worker, message.incarnation}, now_);
    }
    std::shuffle(messages_.begin(), messages_.end(), std::mt19937(seed));
  }

  void Contribute() {
    Contribution& contribution = messages_[next_];
    next_ = (next_ + 1) % messages_.size();
    now_ += absl::Microseconds(1);
    ++contribution.sequence;
    contribution.base_version = machine_.version();
    contribution.ticket = ++ticket_;
    const Effects effects = machine_.Handle(contribution, now_);
    if (effects.step.has_value()) machine_.Handle(StepTaken{}, now_);
    if (machine_.NextTick() <= now_) machine_.Handle(Tick{}, now_);
  }

 private:
  RoundMachine machine_;
  absl::Time now_ = absl::UnixEpoch();
  // In the order in which they come, which is how they lie in memory: what comes from a network was
  // just written.
  std::vector<Contribution> messages_;
  size_t next_ = 0;
  uint64_t ticket_ = 0;
};

int SimScale(const std::string& mode) {
  constexpr size_t kSmall = 1000;
  constexpr size_t kLarge = 100000;
  constexpr int kRounds = 9;
  const DecayKind& kind = DecayKinds().front();
  Configure configuration{
      Schedule(ConfigOf<RateConfig>({.learning_rate = 1}), kind, kind.default_config()), {}, 1};
  if (mode == "synchronous") {
    configuration.aggregation.mode = AggregationMode::kSynchronous;
  } else if (mode == "bounded") {
    configuration.aggregation.mode = AggregationMode::kBoundedStaleness;
    configuration.aggregation.max_rounds_ahead = 3;
  } else {
    configuration.aggregation.max_staleness = 1000000;
  }
  Fleet large(configuration, kLarge, 1);
  std::vector<std::unique_ptr<Fleet>> many;
  for (size_t i = 0; i < kLarge / kSmall; ++i) {
    many.push_back(std::make_unique<Fleet>(configuration, kSmall, static_cast<uint32_t>(i + 2)));
  }
  Fleet& small = *many.front();
  const auto contribute = [](Fleet& fleet) { fleet.Contribute(); };
  const auto in_turn = [&] {
    for (const auto& fleet : many) {
      for (int i = 0; i < 100; ++i) fleet->Contribute();
    }
  };
  // Whole rounds each time, so that the cost of closing them is in it.
  for (size_t i = 0; i < kLarge; ++i) contribute(large);
  std::vector<double> larges, smalls, turns;
  for (int round = 0; round < kRounds; ++round) {
    larges.push_back(SecondsOf(kLarge, [&] { contribute(large); }));
    for (size_t i = 0; i < kSmall; ++i) contribute(small);
    smalls.push_back(SecondsOf(kLarge, [&] { contribute(small); }));
    turns.push_back(SecondsOf(10, in_turn) / (100.0 * static_cast<double>(many.size())));
  }
  const double ours = Median(larges) * 1e9;
  const double peer = Median(smalls) * 1e9;
  const double turn = Median(turns) * 1e9;
  std::printf("bench sim_scale_%s ours %.0f ns peer 1000_workers %.0f ns ratio %.2f goal <=2 %s\n",
              mode.c_str(), ours, peer, ours / peer, ours / peer <= 2 ? "ok" : "short");
  std::printf("info sim_scale_%s ours %.0f ns peer 100_sessions %.0f ns ratio %.2f\n", mode.c_str(),
              ours, turn, ours / turn);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "reduce_16") return Reduce16();
  for (const char* mode : {"synchronous", "bounded", "asynchronous"}) {
    if (name == std::string("sim_scale_") + mode) return SimScale(mode);
  }
  std::fprintf(stderr, "rounds_bench: no benchmark \"%s\"\n", name.c_str());
  return 2;
}
