// SPDX-License-Identifier: Apache-2.0
//
// K-FAC through a real server, on the layers of the autoencoder
// 784-1000-500-250-30-250-500-1000-784.
//
// kfac_bytes: a message of statistics against dense float32 factors.
// kfac_step_cost: a step of K-FAC with statistics, batch 1000, the worker's own computing included,
// against a step of momentum: two sessions of one server, in turn.
// kfac_no_stall: the slowest steps while inverses are refreshed all the time, against those of the
// same session at rest, in turn; once with a core left over, once with all cores in use.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/experiments/autoencoder/autoencoder_shape.h"
#include "client/experiments/autoencoder/autoencoder_training.h"
#include "client/experiments/autoencoder/parallel_autoencoder.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/mnist/network_session.h"
#include "tests/bench/measure.h"
#include "tests/support/server_process.h"

namespace talweg {
namespace {

constexpr size_t kBatch = 1000;

std::vector<size_t> Widths() {
  return {std::begin(kMnistAutoencoderWidths), std::end(kMnistAutoencoderWidths)};
}

// The line of a benchmark of which less is better.
void PrintLess(const std::string& name, double ours, const char* unit, const std::string& peer_name,
               double peer, double goal) {
  const double ratio = ours / peer;
  std::printf("bench %s ours %.2f %s peer %s %.2f %s ratio %.2f goal <=%g %s\n", name.c_str(), ours,
              unit, peer_name.c_str(), peer, unit, ratio, goal, ratio <= goal ? "ok" : "short");
  std::fflush(stdout);
}

template <class T>
T Must(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "kfac_bench: %s\n", std::string(value.status().message()).c_str());
  std::exit(1);
}

// A session of the autoencoder, joined by one worker.
Session MakeSession(const Client& client, const std::string& id, const AutoencoderMethod& method) {
  v1::CreateSessionRequest request;
  request.set_session_id(id);
  SetNetwork(Widths(), 1, request);
  request.mutable_config()->mutable_schedule()->set_learning_rate(method.learning_rate);
  method.set(*request.mutable_config());
  Must(client.CreateSession(request));
  return Must(client.Join(id, "worker"));
}

// Images and what a worker computes from them.
struct Work {
  explicit Work(size_t num_threads)
      : network(Widths(), num_threads),
        images(kBatch * Widths().front()),
        parameters(network.shape().num_parameters()),
        gradient(parameters.size()) {
    for (float& pixel : images) pixel = static_cast<float>(random() % 256) / 255;
    // Small parameters, so that every unit has something to do.
    for (float& value : parameters) value = (static_cast<float>(random() % 2001) - 1000) * 3e-5f;
  }

  void Gradient() { network.Gradient(parameters, images, absl::MakeSpan(gradient)); }
  Statistics StatisticsOf() {
    network.SampledDerivatives(random);
    Statistics statistics;
    statistics.num_samples = kBatch;
    for (size_t layer = 0; layer < network.shape().num_layers(); ++layer) {
      statistics.layers.push_back({AutoencoderShape::weights_name(layer), kBatch,
                                   network.inputs(layer), network.derivatives(layer)});
    }
    return statistics;
  }

  std::mt19937_64 random{7};
  ParallelAutoencoder network;
  std::vector<float> images, parameters, gradient;
};

void BytesOfStatistics() {
  const AutoencoderShape shape(Widths());
  uint64_t dense = 0;
  std::vector<std::vector<float>> triangles;
  for (size_t layer = 0; layer < shape.num_layers(); ++layer) {
    for (const size_t side : {shape.num_inputs(layer) + 1, shape.num_outputs(layer)}) {
      dense += side * side * sizeof(float);
      triangles.emplace_back(side * (side + 1) / 2);
    }
  }
  for (const v1::Dtype dtype : {v1::DTYPE_FLOAT32, v1::DTYPE_BFLOAT16}) {
    Statistics statistics;
    statistics.num_samples = kBatch;
    statistics.dtype = dtype;
    for (size_t layer = 0; layer < shape.num_layers(); ++layer) {
      statistics.layers.push_back({AutoencoderShape::weights_name(layer), 0, triangles[2 * layer],
                                   triangles[2 * layer + 1]});
    }
    const StatisticsVector vector(statistics);
    v1::StepRequest request;
    *request.mutable_header()->mutable_statistics() = ToProto(statistics, /*alone=*/true);
    v1::Section& section = *request.add_sections();
    section.set_kind(v1::SECTION_KIND_STATISTICS);
    section.set_dtype(dtype);
    section.mutable_data()->resize(vector.bytes());
    const bool is_wide = dtype == v1::DTYPE_FLOAT32;
    PrintLess(is_wide ? "kfac_bytes" : "kfac_bytes_bfloat16",
              static_cast<double>(request.ByteSizeLong()) / 1048576, "MiB", "dense_float32",
              static_cast<double>(dense) / 1048576, is_wide ? 0.52 : 0.27);
  }
}

void StepCost() {
  constexpr int kWarmUp = 22;  // the refreshes of every step are over then
  constexpr int kSteps = 40;   // two refreshes
  const testing::ServerProcess server({"--log_level=warning"});
  const Client client = Must(Client::Connect(server.address()));
  Session kfac = MakeSession(client, "kfac", KfacMethod(Widths(), 1, /*synchronous=*/false));
  Session momentum = MakeSession(client, "momentum", MomentumMethod(1e-3));
  SetNumBlasThreads(1);
  Work of_kfac(std::max(1u, std::thread::hardware_concurrency()));
  Work of_momentum(std::max(1u, std::thread::hardware_concurrency()));
  double kfac_seconds = 0;
  double momentum_seconds = 0;
  for (int step = 0; step < kWarmUp + kSteps; ++step) {
    const double with = testing::SecondsOf(1, [&] {
      of_kfac.Gradient();
      const Statistics statistics = of_kfac.StatisticsOf();
      StepOptions options;
      options.statistics = &statistics;
      Must(kfac.Step(of_kfac.gradient, absl::MakeSpan(of_kfac.parameters), {}, options));
    });
    const double without = testing::SecondsOf(1, [&] {
      of_momentum.Gradient();
      Must(momentum.Step(of_momentum.gradient, absl::MakeSpan(of_momentum.parameters)));
    });
    if (step < kWarmUp) continue;
    kfac_seconds += with;
    momentum_seconds += without;
  }
  // Means, because a refresh comes once in 20 steps.
  PrintLess("kfac_step_cost", 1000 * kfac_seconds / kSteps, "ms", "momentum",
            1000 * momentum_seconds / kSteps, 2.1);
}

double Percentile99(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() * 99 / 100];
}

void NoStall(bool with_free_core) {
  constexpr int kBlocks = 10;
  constexpr int kStepsOfBlock = 60;
  std::vector<std::string> flags = {"--log_level=warning"};
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  if (with_free_core) flags.push_back("--threads=" + std::to_string(std::max(1u, cores - 1)));
  const testing::ServerProcess server(flags);
  const Client client = Must(Client::Connect(server.address()));
  AutoencoderMethod method = KfacMethod(Widths(), 1, /*synchronous=*/false);
  const auto set = method.set;
  method.set = [set](v1::SessionConfig& config) {
    set(config);
    v1::Kfac& kfac = *config.mutable_optimizer()->mutable_kfac();
    kfac.set_refresh_every(1);
    kfac.set_refresh_each_until(0);
    kfac.set_max_inverse_age(0);
  };
  Session session = MakeSession(client, "kfac", method);
  SetNumBlasThreads(1);
  Work work(cores);
  work.Gradient();
  const Statistics statistics = work.StatisticsOf();
  uint64_t refreshes = 0;
  uint64_t last_version = 0;
  const auto step = [&](std::vector<double>& seconds) {
    seconds.push_back(testing::SecondsOf(1, [&] {
      const StepResult result = Must(session.Step(work.gradient, absl::MakeSpan(work.parameters)));
      const uint64_t version = result.report->curvature().inverse_version();
      refreshes += version != last_version ? 1 : 0;
      last_version = version;
    }));
  };
  std::vector<double> busy, calm, ignored;
  Must(session.SendStatistics(statistics));
  step(ignored);
  for (int block = 0; block < kBlocks; ++block) {
    for (int i = 0; i < kStepsOfBlock; ++i) {
      // New statistics, so that a refresh begins whenever the last one is over.
      if (i % 10 == 0) Must(session.SendStatistics(statistics));
      if (i % 10 == 0) step(ignored);
      step(busy);
    }
    // Until the last refresh is over.
    for (uint64_t seen = 0; seen != last_version;) {
      seen = last_version;
      std::this_thread::sleep_for(std::chrono::seconds(2));
      step(ignored);
    }
    for (int i = 0; i < kStepsOfBlock; ++i) step(calm);
  }
  const std::string name = with_free_core ? "kfac_no_stall" : "kfac_no_stall_busy";
  PrintLess(name, 1000 * Percentile99(busy), "ms", "at_rest", 1000 * Percentile99(calm), 1.2);
  std::printf("info %s %d refreshes; medians %.2f and %.2f ms\n", name.c_str(),
              static_cast<int>(refreshes), 1000 * testing::Median(busy),
              1000 * testing::Median(calm));
}

}  // namespace
}  // namespace talweg

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "kfac_bytes") {
    talweg::BytesOfStatistics();
  } else if (name == "kfac_step_cost") {
    talweg::StepCost();
  } else if (name == "kfac_no_stall") {
    talweg::NoStall(/*with_free_core=*/true);
    talweg::NoStall(/*with_free_core=*/false);
  } else {
    std::fprintf(stderr, "usage: kfac_bench kfac_bytes|kfac_step_cost|kfac_no_stall\n");
    return 2;
  }
  return 0;
}
