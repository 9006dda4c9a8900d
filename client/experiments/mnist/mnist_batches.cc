// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_batches.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace talweg {
namespace {

constexpr size_t kEvaluationBatch = 1000;

}  // namespace

void MnistBatch::Fill(const MnistSet& set, absl::Span<const uint32_t> indices) {
  inputs.resize(indices.size() * MnistSet::kPixels);
  labels.resize(indices.size());
  for (size_t i = 0; i < indices.size(); ++i) {
    set.CopyInput(indices[i],
                  absl::MakeSpan(inputs).subspan(i * MnistSet::kPixels, MnistSet::kPixels));
    labels[i] = set.labels[indices[i]];
  }
}

std::vector<uint32_t> Numbers(size_t size) {
  std::vector<uint32_t> numbers(size);
  std::iota(numbers.begin(), numbers.end(), 0u);
  return numbers;
}

void Shuffle(std::mt19937_64& random, std::vector<uint32_t>& order) {
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
}

BatchStream::BatchStream(size_t num_images, size_t batch_size, uint64_t seed)
    : batch_size_(batch_size), random_(seed), order_(Numbers(num_images)), begin_(num_images) {}

absl::Span<const uint32_t> BatchStream::Next() {
  batch_.clear();
  while (batch_.size() < batch_size_) {
    if (begin_ == order_.size()) {
      Shuffle(random_, order_);
      begin_ = 0;
    }
    const size_t count = std::min(batch_size_ - batch_.size(), order_.size() - begin_);
    const auto first = order_.begin() + static_cast<std::ptrdiff_t>(begin_);
    batch_.insert(batch_.end(), first, first + static_cast<std::ptrdiff_t>(count));
    begin_ += count;
  }
  return batch_;
}

double Accuracy(ParallelGradient& network, absl::Span<const float> parameters,
                const MnistSet& set) {
  const std::vector<uint32_t> indices = Numbers(set.size());
  size_t num_correct = 0;
  MnistBatch batch;
  for (size_t begin = 0; begin < set.size(); begin += kEvaluationBatch) {
    batch.Fill(set, absl::MakeConstSpan(indices).subspan(begin, kEvaluationBatch));
    num_correct += network.Evaluate(parameters, batch.inputs, batch.labels).num_correct;
  }
  return static_cast<double>(num_correct) / static_cast<double>(set.size());
}

}  // namespace talweg
