// SPDX-License-Identifier: Apache-2.0
//
// noise: normals per second on one thread, against torch.randn on one thread (torch_randn.py;
// NumPy's Philox where there is no torch), both into 256 KiB that stay in the cache. The goal
// depends on the instructions of the machine. A second line tells of AVX2 where there is something
// better.
//
// es_update: the estimate of an update, 1600 pairs of 669,706 normals, against drawing as many
// normals and no more, both on one thread.
//
// es_update_table: the same estimate on all cores, against random slices of a table of noise and
// products in NumPy (noise_table.py) with batches of 500 slices, as OpenAI's starter has them. A
// second line tells of the size of batches that suits the peer best, and of our estimate with
// signs.
//
// es_update_low_rank: the estimate of the MNIST network 784-512-512-10 from 1600 pairs of rank 1,
// against the dense one, both on one thread.
//
//   noise_bench PYTHON NAME…    PYTHON has torch and NumPy, or is "" if no interpreter has them
//
// Estimates are made shard by shard, as the server does it. A round measures each side once, in
// turn; the medians of the rounds are compared.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/base/shard.h"
#include "core/noise/perturbation.h"
#include "core/noise/philox.h"
#include "core/noise/stream.h"
#include "hwy/targets.h"
#include "tests/bench/measure.h"
#include "tests/bench/peer.h"
#include "tests/support/pool.h"

namespace {

using talweg::core::DrawNumbers;
using talweg::core::KeyOfSeed;
using talweg::core::kShard;
using talweg::core::NoiseDomain;
using talweg::core::NoiseScheme;
using talweg::core::NumShards;
using talweg::core::PairWeight;
using talweg::core::Perturbation;
using talweg::core::PhiloxRoundKeys;
using talweg::core::ShardAt;
using talweg::core::TensorExtent;
using talweg::testing::Median;
using talweg::testing::Peer;
using talweg::testing::Pool;
using talweg::testing::Print;
using talweg::testing::SecondsOf;

constexpr uint32_t kPairs = 1600;
constexpr int kUpdateRounds = 7;
constexpr size_t kTableElements = 250'000'000;  // the starter's
constexpr int kStarterBatch = 500;
constexpr int kBestBatch = 4;

const std::vector<TensorExtent> kMnist = {{784 * 512, 784}, {512, 0},        {512 * 512, 512},
                                          {512, 0},         {512 * 10, 512}, {10, 0}};

// An estimate of the MNIST network from pairs with weights of either sign.
class Update {
 public:
  Update(NoiseScheme scheme, uint32_t rank)
      : perturbation_(1, scheme, rank, kMnist), gradient_(perturbation_.num_elements()) {
    for (uint32_t pair = 0; pair < kPairs; ++pair) {
      weights_.push_back({pair, 1e-3f * static_cast<float>(pair % 101) - 0.05f});
    }
  }

  size_t num_elements() const { return gradient_.size(); }

  void Run(Pool& pool) {
    pool.Run(NumShards(gradient_.size()), [this](size_t index) {
      const auto shard = ShardAt(index, gradient_.size());
      perturbation_.Estimate(7, weights_, 0.5, shard.begin,
                             std::span(gradient_).subspan(shard.begin, shard.size()));
    });
  }

 private:
  Perturbation perturbation_;
  std::vector<PairWeight> weights_;
  std::vector<float> gradient_;
};

class Normals {
 public:
  // `size` normals of a stream of its own.
  void Draw(size_t size, uint32_t pair) {
    for (size_t done = 0; done < size; done += numbers_.size()) {
      DrawNumbers(keys_, {NoiseDomain::kDenseNormal, pair, 1}, done, 1,
                  std::span(numbers_).first(std::min(numbers_.size(), size - done)));
    }
  }

 private:
  PhiloxRoundKeys keys_{KeyOfSeed(1)};
  std::vector<float> numbers_ = std::vector<float>(kShard);
};

bool PeerIsThere(const Peer& peer, const std::string& name) {
  if (peer.name().empty())
    std::printf("bench %s: peer absent, no interpreter has it\n", name.c_str());
  return !peer.name().empty();
}

bool PeerEnded(const std::string& name) {
  std::printf("bench %s: peer ended in the middle of the run\n", name.c_str());
  return false;
}

// Millions of normals per second with one target.
double NormalsRate(int calls) {
  Normals normals;
  uint32_t pair = 0;
  return 1e-6 * kShard / SecondsOf(calls, [&] { normals.Draw(kShard, pair++); });
}

double NoiseGoal(int64_t target) {
  // A smaller number is a better target.
  return target < HWY_AVX2 ? 4 : target == HWY_AVX2 ? 2 : 1;
}

bool RunNoise(const std::string& python) {
  constexpr int kRounds = 25, kCalls = 200;
  Peer peer(python.empty() ? "python3" : python, "torch_randn.py", {std::to_string(kShard)});
  if (!PeerIsThere(peer, "noise")) return false;
  const int64_t best = hwy::SupportedAndGeneratedTargets().front();
  std::vector<double> ours, with_avx2, theirs;
  for (int round = 0; round < kRounds; ++round) {
    ours.push_back(NormalsRate(kCalls));
    if (best < HWY_AVX2) {
      hwy::SetSupportedTargetsForTest(HWY_AVX2);
      with_avx2.push_back(NormalsRate(kCalls));
      hwy::SetSupportedTargetsForTest(0);
    }
    const std::optional<double> seconds = peer.SecondsFor(kCalls);
    if (!seconds.has_value()) return PeerEnded("noise");
    theirs.push_back(1e-6 * kShard / *seconds);
  }
  const double peer_rate = Median(theirs);
  Print("noise", Median(ours), "M/s", peer.name(), peer_rate, Median(ours) / peer_rate,
        NoiseGoal(best));
  std::printf("info noise instructions %s", hwy::TargetName(best));
  if (!with_avx2.empty()) {
    const double ratio = Median(with_avx2) / peer_rate;
    std::printf("; with AVX2 %.2f M/s ratio %.2f goal >=2 %s", Median(with_avx2), ratio,
                ratio >= 2 ? "ok" : "short");
  }
  std::printf("\n");
  return true;
}

void RunUpdate() {
  Pool one_thread(1);
  Update update(NoiseScheme::kNormal, 0);
  Normals normals;
  std::vector<double> ours, drawing;
  for (int round = 0; round < kUpdateRounds; ++round) {
    ours.push_back(SecondsOf(1, [&] { update.Run(one_thread); }));
    drawing.push_back(SecondsOf(1, [&] {
      for (uint32_t pair = 0; pair < kPairs; ++pair) normals.Draw(update.num_elements(), pair);
    }));
  }
  const double mine = 1e3 * Median(ours), peer = 1e3 * Median(drawing);
  std::printf("bench es_update ours %.2f ms peer drawing_alone %.2f ms ratio %.2f goal <=1.25 %s\n",
              mine, peer, mine / peer, mine / peer <= 1.25 ? "ok" : "short");
}

bool RunTable(const std::string& python) {
  Pool pool(std::max(1u, std::thread::hardware_concurrency()));
  Update normals(NoiseScheme::kNormal, 0), signs(NoiseScheme::kRademacher, 0);
  Peer peer(python, "noise_table.py",
            {std::to_string(kPairs), std::to_string(normals.num_elements()),
             std::to_string(kTableElements)});
  if (!PeerIsThere(peer, "es_update_table")) return false;
  std::vector<double> ours, with_signs, starter, best;
  for (int round = 0; round < kUpdateRounds + 1; ++round) {
    ours.push_back(SecondsOf(1, [&] { normals.Run(pool); }));
    with_signs.push_back(SecondsOf(1, [&] { signs.Run(pool); }));
    const std::optional<double> seconds = peer.SecondsFor(kStarterBatch);
    const std::optional<double> best_seconds = peer.SecondsFor(kBestBatch);
    if (!seconds.has_value() || !best_seconds.has_value()) return PeerEnded("es_update_table");
    starter.push_back(*seconds);
    best.push_back(*best_seconds);
    // In the first round it gets its memory from the system.
    if (round == 0) {
      starter.clear();
      best.clear();
    }
  }
  const double mine = 1e3 * Median(ours), theirs = 1e3 * Median(starter);
  Print("es_update_table", mine, "ms", peer.name(), theirs, theirs / mine, 2);
  const double mine_signs = 1e3 * Median(with_signs), theirs_best = 1e3 * Median(best);
  std::printf(
      "info es_update_table on %zu cores; numpy with batches of %d %.2f ms ratio %.2f; ours with "
      "signs %.2f ms ratio %.2f to batches of %d, %.2f to batches of %d\n",
      pool.num_threads(), kBestBatch, theirs_best, theirs_best / mine, mine_signs,
      theirs / mine_signs, kStarterBatch, theirs_best / mine_signs, kBestBatch);
  return true;
}

void RunLowRank() {
  Pool one_thread(1);
  Update low_rank(NoiseScheme::kNormal, 1), dense(NoiseScheme::kNormal, 0);
  std::vector<double> ours, peer;
  for (int round = 0; round < kUpdateRounds; ++round) {
    ours.push_back(SecondsOf(5, [&] { low_rank.Run(one_thread); }));
    peer.push_back(SecondsOf(1, [&] { dense.Run(one_thread); }));
  }
  const double mine = 1e3 * Median(ours), theirs = 1e3 * Median(peer);
  Print("es_update_low_rank", mine, "ms", "dense", theirs, theirs / mine, 10);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: noise_bench PYTHON NAME...\n");
    return 2;
  }
  bool measured = true;
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "noise") {
      measured = RunNoise(argv[1]) && measured;
    } else if (name == "es_update") {
      RunUpdate();
    } else if (name == "es_update_table") {
      measured = RunTable(argv[1]) && measured;
    } else if (name == "es_update_low_rank") {
      RunLowRank();
    } else {
      std::fprintf(stderr, "noise_bench: no benchmark \"%s\"\n", name.c_str());
      return 2;
    }
  }
  return measured ? 0 : 1;
}
