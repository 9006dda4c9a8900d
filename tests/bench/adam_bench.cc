// SPDX-License-Identifier: Apache-2.0
//
// adam_kernel: one fused Adam step of 25 M parameters on all cores, shard by shard through the
// optimizer's Apply as the server does it, against torch.optim.Adam(foreach=True) with as many
// threads, which waits as a child process (torch_adam.py) for its turn. Torch's parameters are 160
// tensors, as many as ResNet-50 has of that size: of cuts into 1 to 2,500 tensors this one suited
// torch best. adam_bandwidth: the bytes per second of the same step, 28 per element (it reads g, m,
// v, W and writes m, v, W), against a STREAM triad in double, 24 bytes per element, on the same
// threads. The triad is the faster of the loop as STREAM writes it and of a loop whose stores go
// past the caches.
//
//   adam_bench PYTHON NAME…    PYTHON has torch, or is "" if no interpreter has it
//
// A round measures a few steps of each side, in turn; the medians of the rounds are compared.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/process/child_process.h"
#include "client/process/program_path.h"
#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/optimizers/adam.h"
#include "core/optimizers/optimizer_testing.h"
#include "tests/bench/measure.h"
#include "tests/bench/triad.h"
#include "tests/support/pool.h"

namespace {

using talweg::ChildProcess;
using talweg::ChildStreams;
using talweg::FindProgram;
using talweg::core::AlignedBuffer;
using talweg::core::NumShards;
using talweg::core::ShardAt;
using talweg::testing::Median;
using talweg::testing::Pool;
using talweg::testing::Print;
using talweg::testing::SecondsOf;
using talweg::testing::Triad;

constexpr size_t kElements = 25'000'000;
constexpr int kTorchTensors = 160;
constexpr int kRounds = 15;
constexpr int kSteps = 5;  // of each side in a round
constexpr double kKernelGoal = 5;
constexpr double kBandwidthGoal = 0.9;

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

// The peer, which is asked and answers in lines and waits between its turns. Null if there is no
// such interpreter.
std::unique_ptr<ChildProcess> StartTorch(const std::string& python, size_t num_threads) {
  const std::string program = FindProgram(python);
  if (program.empty()) return nullptr;
  ChildStreams streams;
  streams.input = ChildStreams::Input::kPipe;
  streams.errors_with_output = false;
  streams.own_process_group = false;
  return ChildProcess::Start(
             program,
             {TALWEG_BENCH_DIR "/torch_adam.py", std::to_string(kTorchTensors),
              std::to_string(kElements / kTorchTensors), std::to_string(num_threads)},
             streams)
      .value();
}

void RunKernel(Pool& pool, const std::string& python) {
  const std::unique_ptr<ChildProcess> torch = StartTorch(python, pool.num_threads());
  const std::string version = torch == nullptr ? "" : torch->AwaitLine().value_or("");
  if (version.empty()) {
    std::printf("bench adam_kernel: peer absent, no interpreter with torch\n");
    return;
  }
  OurAdam adam(pool);
  std::vector<double> our_seconds, torch_seconds;
  for (int round = 0; round < kRounds; ++round) {
    our_seconds.push_back(SecondsOf(kSteps, [&] { adam.Step(); }));
    torch->Write(std::to_string(kSteps) + "\n");
    const std::optional<std::string> seconds = torch->AwaitLine();
    if (!seconds.has_value()) {
      std::printf("bench adam_kernel: peer ended in the middle of the run\n");
      return;
    }
    torch_seconds.push_back(std::atof(seconds->c_str()));
    // Its threads spin a little after a step; ours shall not pay for that.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  torch->CloseInput();
  torch->Wait();
  const double ours = 1e3 * Median(our_seconds);
  const double peer = 1e3 * Median(torch_seconds);
  Print("adam_kernel", ours, "ms", "torch_foreach_" + version, peer, peer / ours, kKernelGoal);
}

void RunBandwidth(Pool& pool) {
  OurAdam adam(pool);
  Triad triad(pool, kElements);
  std::vector<double> our_rates, plain_rates, streaming_rates;
  for (int round = 0; round < kRounds; ++round) {
    our_rates.push_back(OurAdam::kBytes / SecondsOf(kSteps, [&] { adam.Step(); }));
    plain_rates.push_back(triad.bytes() / SecondsOf(kSteps, [&] { triad.Run(false); }));
    streaming_rates.push_back(triad.bytes() / SecondsOf(kSteps, [&] { triad.Run(true); }));
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
