// SPDX-License-Identifier: Apache-2.0
//
// kernel_METHOD for each method of the registry, at its defaults: one step of 25 M parameters in
// 160 tensors on all cores, shard by shard through Apply and the passes as the server does it. What
// the step must move, in bytes per second, against a STREAM triad on the same threads: 12 bytes per
// element for g, W and the next W, 8 for each element of a slot (read and written), and 12 more for
// each pass over the parameters.
//
// Muon, which computes more than it moves, is held to its flops instead: a step of matrices of 21 M
// elements against sgemm of matrices of the same sizes, with one thread each. Products that are
// symmetric count by half, because only half of them is computed.
//
//   kernel_bench list | NAME…
//
// A round measures a few steps of each side, in turn; the medians of the rounds are compared.
#include <cblas.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/aligned_buffer.h"
#include "core/linalg/newton_schulz.h"
#include "core/linalg/one_thread.h"
#include "core/optimizers/muon.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/registry.h"
#include "tests/bench/measure.h"
#include "tests/bench/triad.h"
#include "tests/support/pool.h"

namespace {

using namespace talweg::core;
using namespace talweg::testing;

constexpr size_t kElements = 25'000'000;
constexpr size_t kTensors = 160;
constexpr int kRounds = 15;
constexpr int kSteps = 5;  // of each side in a round
constexpr double kBandwidthGoal = 0.85;

constexpr std::pair<uint64_t, uint64_t> kMatrices[] = {  // as many as Muon has lanes
    {1024, 4096}, {4096, 1024}, {1024, 4096}, {4096, 1024},
    {1024, 1024}, {1024, 1024}, {1024, 1024}, {1024, 1024}};
constexpr int kMatrixRounds = 7;
constexpr double kFlopsGoal = 0.7;

ParameterSpace SpaceWith(const std::vector<std::vector<uint64_t>>& shapes) {
  std::vector<TensorSpec> tensors;
  for (const auto& shape : shapes) tensors.push_back({std::to_string(tensors.size()), shape});
  return {std::make_shared<const Layout>(*Layout::Create(std::move(tensors))), {}};
}

// A session's worth of a method: the next version is written beside the one that is read.
class Run {
 public:
  Run(Pool& pool, const Method& method, const ParameterSpace& space)
      : pool_(pool),
        optimizer_(method.create(*method.default_config(), space)),
        gradient_(space.num_elements()),
        from_(space.num_elements()),
        to_(space.num_elements()) {
    for (size_t i = 0; i < gradient_.size(); ++i) {
      gradient_.data()[i] = 1e-3f * static_cast<float>(i * 7919 % 1001) - 0.5f;
      from_.data()[i] = 1e-3f * static_cast<float>(i * 104729 % 1001) - 0.5f;
    }
    Step();
    Step();  // both versions touched
  }

  void Step() {
    TakeStep(
        *optimizer_, ++number_, StepRates{1e-3, 0.01}, kShard,
        [this](size_t num_indices, const auto& job) { pool_.Run(num_indices, job); },
        gradient_.span(), from_.span(), to_.span());
    std::swap(from_, to_);
  }

  // What a step reads and writes of g, W, slots, and in its passes.
  double bytes() const {
    class Counter final : public StateVisitor {
     public:
      void Slot(absl::string_view, absl::Span<float> values) override { elements += values.size(); }
      void Scalar(absl::string_view, double&) override {}
      size_t elements = 0;
    } slots;
    optimizer_->VisitState(slots);
    return 12.0 * static_cast<double>(from_.size() * (1 + optimizer_->NumPasses())) +
           8.0 * static_cast<double>(slots.elements);
  }

 private:
  Pool& pool_;
  std::unique_ptr<Optimizer> optimizer_;
  AlignedBuffer gradient_, from_, to_;
  uint64_t number_ = 0;
};

void RunBandwidth(Pool& pool, const Method& method, Triad& triad) {
  Run run(pool, method,
          SpaceWith(std::vector<std::vector<uint64_t>>(kTensors, {kElements / kTensors})));
  std::vector<double> our_rates, plain_rates, streaming_rates;
  for (int round = 0; round < kRounds; ++round) {
    our_rates.push_back(run.bytes() / SecondsOf(kSteps, [&] { run.Step(); }));
    plain_rates.push_back(triad.bytes() / SecondsOf(kSteps, [&] { triad.Run(false); }));
    streaming_rates.push_back(triad.bytes() / SecondsOf(kSteps, [&] { triad.Run(true); }));
  }
  const double ours = 1e-9 * Median(our_rates);
  const double peer = 1e-9 * std::max(Median(plain_rates), Median(streaming_rates));
  Print("kernel_" + std::string(method.name), ours, "GB/s", "stream_triad", peer, ours / peer,
        kBandwidthGoal);
}

// The products of a Newton-Schulz step as sgemm does them, whole: X X^T, A A, B X.
class Products {
 public:
  Products(uint64_t rows, uint64_t cols)
      : n_(static_cast<blasint>(std::min(rows, cols))),
        m_(static_cast<blasint>(std::max(rows, cols))),
        x_(rows * cols),
        y_(rows * cols),
        a_(static_cast<size_t>(n_) * n_),
        b_(a_.size()) {
    std::fill(x_.span().begin(), x_.span().end(), 1e-3f);
  }
  double flops() const { return 2.0 * n_ * n_ * (2.0 * m_ + n_); }
  void Multiply() {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n_, n_, m_, 1, x_.data(), m_, x_.data(),
                m_, 0, a_.data(), n_);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n_, n_, n_, 1, a_.data(), n_, a_.data(),
                n_, 0, b_.data(), n_);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n_, m_, n_, 1, b_.data(), n_, x_.data(),
                m_, 0, y_.data(), m_);
  }

 private:
  blasint n_, m_;
  AlignedBuffer x_, y_, a_, b_;
};

void RunFlops(Pool& pool, const Method& method) {
  UseOneThread();
  std::vector<std::vector<uint64_t>> shapes;
  std::vector<Products> products;
  double our_flops = 0;
  double peer_flops = 0;
  for (const auto& [rows, cols] : kMatrices) {
    shapes.push_back({rows, cols});
    products.emplace_back(rows, cols);
    our_flops += NewtonSchulzFlops(rows, cols, MuonConfig{}.newton_schulz_steps);
    peer_flops += products.back().flops();
  }
  Run run(pool, method, SpaceWith(shapes));
  std::vector<double> our_rates, peer_rates;
  for (int round = 0; round < kMatrixRounds; ++round) {
    our_rates.push_back(our_flops / SecondsOf(1, [&] { run.Step(); }));
    peer_rates.push_back(peer_flops / SecondsOf(3, [&] {
                           pool.Run(products.size(), [&](size_t i) { products[i].Multiply(); });
                         }));
  }
  const double ours = 1e-9 * Median(our_rates);
  const double peer = 1e-9 * Median(peer_rates);
  Print("kernel_" + std::string(method.name), ours, "GFLOP/s", "sgemm", peer, ours / peer,
        kFlopsGoal);
}

}  // namespace

int main(int argc, char** argv) {
  Pool pool(std::max(1u, std::thread::hardware_concurrency()));
  std::unique_ptr<Triad> triad;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "list") {
      for (const Method& method : Methods()) {
        std::printf("kernel_%s\n", std::string(method.name).c_str());
      }
      continue;
    }
    const Method* method = name.rfind("kernel_", 0) == 0 ? FindMethod(name.substr(7)) : nullptr;
    if (method == nullptr) {
      std::fprintf(stderr, "kernel_bench: no benchmark \"%s\"\n", name.c_str());
      return 2;
    }
    if (method->name == "muon") {
      RunFlops(pool, *method);
    } else {
      if (triad == nullptr) triad = std::make_unique<Triad>(pool, kElements);
      RunBandwidth(pool, *method, *triad);
    }
  }
  return 0;
}
