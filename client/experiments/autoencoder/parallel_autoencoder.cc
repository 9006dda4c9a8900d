// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/parallel_autoencoder.h"

#include <algorithm>
#include <thread>

namespace talweg {
namespace {

constexpr size_t kLeastSamples = 16;  // of a slice: below, threads cost more than they bring

// Calls `work` with 0 .. count - 1, each on a thread of its own, the first on this one.
template <class Work>
void RunAll(size_t count, const Work& work) {
  std::vector<std::thread> threads;
  for (size_t i = 1; i < count; ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

ParallelAutoencoder::ParallelAutoencoder(const std::vector<size_t>& widths, size_t num_threads) {
  for (size_t i = 0; i < num_threads; ++i) {
    slices_.push_back({AutoencoderNetwork<float>(widths), {}, 0});
  }
  for (Slice& slice : slices_) {
    if (&slice != &slices_[0]) slice.gradient.resize(shape().num_parameters());
  }
  inputs_.resize(shape().num_layers());
  derivatives_.resize(shape().num_layers());
  gathered_.resize(shape().num_layers());
}

void ParallelAutoencoder::Cut(absl::Span<const float> inputs) {
  batch_inputs_ = inputs;
  batch_ = inputs.size() / shape().widths().front();
  num_slices_ = std::clamp<size_t>(batch_ / kLeastSamples, 1, slices_.size());
}

absl::Span<const float> ParallelAutoencoder::InputsOf(size_t slice) const {
  const size_t width = shape().widths().front();
  return batch_inputs_.subspan(begin(slice) * width, (begin(slice + 1) - begin(slice)) * width);
}

double ParallelAutoencoder::MeanLoss() const {
  double loss = 0;
  for (size_t i = 0; i < num_slices_; ++i) loss += Share(i) * slices_[i].loss;
  return loss;
}

double ParallelAutoencoder::Evaluate(absl::Span<const float> parameters,
                                     absl::Span<const float> inputs) {
  Cut(inputs);
  RunAll(num_slices_,
         [&](size_t i) { slices_[i].loss = slices_[i].network.Evaluate(parameters, InputsOf(i)); });
  return MeanLoss();
}

double ParallelAutoencoder::Gradient(absl::Span<const float> parameters,
                                     absl::Span<const float> inputs, absl::Span<float> gradient) {
  Cut(inputs);
  RunAll(num_slices_, [&](size_t i) {
    Slice& slice = slices_[i];
    slice.loss = slice.network.Gradient(parameters, InputsOf(i),
                                        i == 0 ? gradient : absl::MakeSpan(slice.gradient));
  });
  if (num_slices_ == 1) return slices_[0].loss;
  for (size_t i = 0; i < num_slices_; ++i) {
    const auto factor = static_cast<float>(Share(i));
    if (i == 0) {
      for (float& value : gradient) value *= factor;
    } else {
      const float* added = slices_[i].gradient.data();
      for (size_t j = 0; j < gradient.size(); ++j) gradient[j] += factor * added[j];
    }
  }
  return MeanLoss();
}

void ParallelAutoencoder::SampledDerivatives(std::mt19937_64& random) {
  const bool is_gathered = num_slices_ > 1;
  for (size_t layer = 0; is_gathered && layer < shape().num_layers(); ++layer) {
    if (layer > 0) gathered_[layer].inputs.resize(batch_ * shape().num_inputs(layer));
    gathered_[layer].derivatives.resize(batch_ * shape().num_outputs(layer));
  }
  RunAll(num_slices_, [&](size_t i) {
    AutoencoderNetwork<float>& network = slices_[i].network;
    std::mt19937_64 own = random;
    own.discard(begin(i) * network.NumDraws());
    network.SampledDerivatives(own);
    for (size_t layer = 0; is_gathered && layer < shape().num_layers(); ++layer) {
      const auto copy = [&](absl::Span<const float> rows, size_t width, std::vector<float>& to) {
        std::copy(rows.begin(), rows.end(), to.data() + begin(i) * width);
      };
      if (layer > 0) {
        copy(network.inputs(layer), shape().num_inputs(layer), gathered_[layer].inputs);
      }
      copy(network.derivatives(layer), shape().num_outputs(layer), gathered_[layer].derivatives);
    }
  });
  const AutoencoderNetwork<float>& first = slices_[0].network;
  random.discard(batch_ * first.NumDraws());
  for (size_t layer = 0; layer < shape().num_layers(); ++layer) {
    const Gathered& gathered = gathered_[layer];
    inputs_[layer] = is_gathered ? absl::MakeConstSpan(gathered.inputs) : first.inputs(layer);
    derivatives_[layer] =
        is_gathered ? absl::MakeConstSpan(gathered.derivatives) : first.derivatives(layer);
  }
  inputs_[0] = batch_inputs_;
}

}  // namespace talweg
