// SPDX-License-Identifier: Apache-2.0
//
// adam_kernel: one fused Adam step of 25 M parameters on all cores, shard by shard through the
// optimizer's Apply as the server does it, against torch.optim.Adam(foreach=True) with as many
// threads, which waits as a child process (torch_adam.py) for its turn. Its parameters are 160
// tensors, as many as ResNet-50 has of that size: of cuts into 1 to 2,500 tensors the one that
// suited it best. adam_bandwidth: the same step's bytes per second, 28 an element (reads g, m, v,
// W, writes m, v, W), against a STREAM triad in double, 24 bytes an element, on the same threads:
// the faster of the loop as STREAM writes it and of one whose stores go past the caches.
//
//   adam_bench PYTHON NAME…    PYTHON has torch, or is "" where there is none
//
// A round measures a few steps of each side, in turn; the medians of the rounds are compared.
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/optimizers/adam.h"
#include "core/optimizers/optimizer_testing.h"
#include "tests/bench/line_process.h"
#include "tests/support/pool.h"

namespace {

using talweg::core::AlignedBuffer;
using talweg::core::NumShards;
using talweg::core::ShardAt;
using talweg::testing::LineProcess;
using talweg::testing::Pool;
using Clock = std::chrono::steady_clock;

constexpr size_t kElements = 25'000'000;
constexpr int kTorchTensors = 160;
constexpr int kRounds = 15;
constexpr int kSteps = 5;  // of each side in a round
constexpr double kKernelGoal = 5;
constexpr double kBandwidthGoal = 0.9;

// Seconds of one `run()`, over a few.
template <class Run>
double SecondsOf(const Run& run) {
  const auto start = Clock::now();
  for (int step = 0; step < kSteps; ++step) run();
  return std::chrono::duration<double>(Clock::now() - start).count() / kSteps;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

void Print(const char* name, double ours, const char* unit, const std::string& peer_name,
           double peer, double ratio, double goal) {
  std::printf("bench %s ours %.2f %s peer %s %.2f %s ratio %.2f goal >=%g %s\n", name, ours, unit,
              peer_name.c_str(), peer, unit, ratio, goal, ratio >= goal ? "ok" : "short");
}

// A session's worth of Adam: the next version is written beside the one that is read.
class OurAdam {
 public:
  static constexpr double kBytes = 28.0 * kElements;

  explicit OurAdam(Pool& pool)
      : pool_(pool),
        adam_({}, talweg::core::SpaceOf(kElements)),
        gradient_(kElements),
        from_(kElements),
        to_(kElements) {
    for (size_t i = 0; i < kElements; ++i) {
      gradient_.data()[i] = 1e-3f * static_cast<float>(i % 1001) - 0.5f;
    }
    Step();
    Step();  // both versions touched
  }

  void Step() {
    adam_.BeginStep(++number_);
    pool_.Run(NumShards(kElements), [this](size_t index) {
      const auto shard = ShardAt(index, kElements);
      adam_.Apply({1e-3, 0}, shard, gradient_.span().subspan(shard.begin, shard.size()),
                  from_.span(), to_.span());
    });
    std::swap(from_, to_);
  }

 private:
  Pool& pool_;
  talweg::core::Adam adam_;
  AlignedBuffer gradient_, from_, to_;
  uint64_t number_ = 0;
};

// STREAM's triad over three arrays, far larger than any cache, a part a thread.
class Triad {
 public:
  static constexpr double kBytes = 24.0 * kElements;

  explicit Triad(Pool& pool)
      : pool_(pool), a_(2 * kElements), b_(2 * kElements), c_(2 * kElements) {}

  void Run(bool streaming) {
    const size_t num_parts = pool_.num_threads();
    const size_t part = (kElements / num_parts + 8) / 8 * 8;
    pool_.Run(num_parts, [&](size_t index) {
      const size_t begin = std::min(index * part, kElements);
      (streaming ? StreamingLoop : PlainLoop)(Doubles(a_) + begin, Doubles(b_) + begin,
                                              Doubles(c_) + begin,
                                              std::min(part, kElements - begin));
    });
  }

 private:
  static double* Doubles(AlignedBuffer& buffer) { return reinterpret_cast<double*>(buffer.data()); }

  static void PlainLoop(double* __restrict a, const double* __restrict b,
                        const double* __restrict c, size_t n) {
    for (size_t i = 0; i < n; ++i) a[i] = b[i] + 3.0 * c[i];
  }

  static void StreamingLoop(double* __restrict a, const double* __restrict b,
                            const double* __restrict c, size_t n) {
    size_t i = 0;
#ifdef __SSE2__
    const __m128d scale = _mm_set1_pd(3.0);
    for (; i + 2 <= n; i += 2) {
      _mm_stream_pd(a + i, _mm_add_pd(_mm_load_pd(b + i), _mm_mul_pd(scale, _mm_load_pd(c + i))));
    }
    _mm_sfence();
#endif
    PlainLoop(a + i, b + i, c + i, n - i);
  }

  Pool& pool_;
  AlignedBuffer a_, b_, c_;
};

void RunKernel(Pool& pool, const std::string& python) {
  LineProcess torch({python, TALWEG_BENCH_DIR "/torch_adam.py", std::to_string(kTorchTensors),
                     std::to_string(kElements / kTorchTensors),
                     std::to_string(pool.num_threads())});
  std::string version;
  if (python.empty() || !torch.Read(&version)) {
    std::printf("bench adam_kernel: peer absent, no interpreter with torch\n");
    return;
  }
  OurAdam adam(pool);
  std::vector<double> our_seconds, torch_seconds;
  for (int round = 0; round < kRounds; ++round) {
    our_seconds.push_back(SecondsOf([&] { adam.Step(); }));
    torch.Write(std::to_string(kSteps));
    std::string seconds;
    if (!torch.Read(&seconds)) {
      std::printf("bench adam_kernel: peer ended in the middle of the run\n");
      return;
    }
    torch_seconds.push_back(std::atof(seconds.c_str()));
    // Its threads spin a little after a step; ours shall not pay for that.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const double ours = 1e3 * Median(our_seconds);
  const double peer = 1e3 * Median(torch_seconds);
  Print("adam_kernel", ours, "ms", "torch_foreach_" + version, peer, peer / ours, kKernelGoal);
}

void RunBandwidth(Pool& pool) {
  OurAdam adam(pool);
  Triad triad(pool);
  triad.Run(false);
  std::vector<double> our_rates, plain_rates, streaming_rates;
  for (int round = 0; round < kRounds; ++round) {
    our_rates.push_back(OurAdam::kBytes / SecondsOf([&] { adam.Step(); }));
    plain_rates.push_back(Triad::kBytes / SecondsOf([&] { triad.Run(false); }));
    streaming_rates.push_back(Triad::kBytes / SecondsOf([&] { triad.Run(true); }));
  }
  const double ours = 1e-9 * Median(our_rates);
  const double peer = 1e-9 * std::max(Median(plain_rates), Median(streaming_rates));
  Print("adam_bandwidth", ours, "GB/s", "stream_triad", peer, ours / peer, kBandwidthGoal);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: adam_bench PYTHON NAME...\n");
    return 2;
  }
  Pool pool(std::max(1u, std::thread::hardware_concurrency()));
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "adam_kernel") {
      RunKernel(pool, argv[1]);
    } else if (name == "adam_bandwidth") {
      RunBandwidth(pool);
    } else {
      std::fprintf(stderr, "adam_bench: no benchmark \"%s\"\n", name.c_str());
      return 2;
    }
  }
  return 0;
}
