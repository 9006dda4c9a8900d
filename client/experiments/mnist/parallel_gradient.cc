// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/parallel_gradient.h"

#include <algorithm>
#include <thread>

namespace talweg {
namespace {

constexpr size_t kLeastImages = 16;  // of a slice: below, threads cost more than they bring

}  // namespace

ParallelGradient::ParallelGradient(const std::vector<size_t>& widths, size_t num_threads) {
  for (size_t i = 0; i < num_threads; ++i) slices_.push_back({Network<float>(widths), {}, {}});
  for (Slice& slice : slices_) {
    if (&slice != &slices_[0]) slice.gradient.resize(num_parameters());
  }
}

BatchResult ParallelGradient::Gradient(absl::Span<const float> parameters,
                                       absl::Span<const float> inputs,
                                       absl::Span<const uint8_t> labels,
                                       absl::Span<float> gradient) {
  const size_t batch = labels.size();
  const size_t width = inputs.size() / batch;
  const size_t num_slices = std::clamp<size_t>(batch / kLeastImages, 1, slices_.size());
  const auto begin = [&](size_t index) { return batch * index / num_slices; };
  const auto run = [&](size_t index) {
    Slice& slice = slices_[index];
    const size_t size = begin(index + 1) - begin(index);
    slice.result = slice.network.Gradient(
        parameters, inputs.subspan(begin(index) * width, size * width),
        labels.subspan(begin(index), size), index == 0 ? gradient : absl::MakeSpan(slice.gradient));
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < num_slices; ++i) threads.emplace_back(run, i);
  run(0);
  for (std::thread& thread : threads) thread.join();

  if (num_slices == 1) return slices_[0].result;
  BatchResult whole;
  for (size_t i = 0; i < num_slices; ++i) {
    const double share = static_cast<double>(begin(i + 1) - begin(i)) / static_cast<double>(batch);
    whole.loss += share * slices_[i].result.loss;
    whole.num_correct += slices_[i].result.num_correct;
    const auto factor = static_cast<float>(share);
    if (i == 0) {
      for (float& value : gradient) value *= factor;
    } else {
      const float* added = slices_[i].gradient.data();
      for (size_t j = 0; j < gradient.size(); ++j) gradient[j] += factor * added[j];
    }
  }
  return whole;
}

}  // namespace talweg
