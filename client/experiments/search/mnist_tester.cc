// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_tester.h"

#include <algorithm>

#include "client/experiments/search/mnist_losses.h"

namespace talweg {
namespace {

constexpr size_t kBatch = 1000;

}  // namespace

MnistTester::MnistTester(const MnistSet& set, const std::vector<size_t>& widths)
    : network_(widths) {
  const std::vector<uint32_t> numbers = Numbers(set.size());
  for (size_t begin = 0; begin < set.size(); begin += kBatch) {
    batches_.push_back(GreyBatch(set, absl::MakeConstSpan(numbers).subspan(begin, kBatch)));
  }
}

MnistTester::Result MnistTester::Test(absl::Span<const float> parameters) {
  Result result;
  double num_images = 0;
  for (const MnistBatch& batch : batches_) {
    const BatchResult of_batch = network_.Evaluate(parameters, batch.inputs, batch.labels);
    const double size = static_cast<double>(batch.labels.size());
    result.loss += of_batch.loss * size;
    result.accuracy += static_cast<double>(of_batch.num_correct);
    num_images += size;
  }
  result.loss /= num_images;
  result.accuracy /= num_images;
  return result;
}

}  // namespace talweg
