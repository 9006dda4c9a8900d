// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_losses.h"

#include <utility>

namespace talweg {

MnistBatch GreyBatch(const MnistSet& set, absl::Span<const uint32_t> indices) {
  MnistBatch batch;
  batch.inputs.reserve(indices.size() * MnistSet::kPixels);
  for (const uint32_t index : indices) {
    const uint8_t* pixels = set.pixels.data() + index * MnistSet::kPixels;
    for (size_t i = 0; i < MnistSet::kPixels; ++i) {
      batch.inputs.push_back(static_cast<float>(pixels[i]) / 255);
    }
    batch.labels.push_back(set.labels[index]);
  }
  return batch;
}

MnistBatch BatchOfSeed(const MnistSet& set, size_t batch_size, uint64_t data_seed) {
  return GreyBatch(set, BatchStream(set.size(), batch_size, data_seed).Next());
}

MnistLosses::MnistLosses(const MnistSet& set, std::vector<size_t> widths, size_t batch_size)
    : set_(set), batch_size_(batch_size), network_(std::move(widths)) {}

absl::Status MnistLosses::Evaluate(const LeasedWork& work, std::vector<double>& losses) {
  const v1::EvaluationLease& lease = work.lease;
  if (lease.differences() == v1::DIFFERENCES_DIRECTIONAL) {
    return absl::InvalidArgumentError("these workers tell losses, no derivatives");
  }
  if (generation_ != lease.generation()) {
    generation_ = lease.generation();
    batch_ = BatchOfSeed(set_, batch_size_, lease.data_seed());
    parameters_.assign(work.parameters.begin(), work.parameters.end());
    network_.Set(parameters_, batch_.inputs, batch_.labels);
  }
  if (lease.evaluate()) {
    losses.push_back(static_cast<float>(network_.Loss()));
    return absl::OkStatus();
  }
  PerturbedPairs pairs = {work.perturbation};
  pairs.rank = lease.rank();
  pairs.generation = lease.generation();
  pairs.first_pair = lease.first_pair();
  pairs.num_pairs = lease.num_pairs();
  pairs.sigma = lease.sigma();
  pairs.both_signs = lease.differences() == v1::DIFFERENCES_CENTRAL;
  for (const double loss : network_.Losses(pairs)) losses.push_back(static_cast<float>(loss));
  return absl::OkStatus();
}

}  // namespace talweg
