// SPDX-License-Identifier: Apache-2.0
#define EIGEN_USE_BLAS
#include "client/experiments/autoencoder/autoencoder_network.h"

#include <Eigen/Core>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace talweg {
namespace {

template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Scalar>
using RowArray = Eigen::Array<Scalar, 1, Eigen::Dynamic>;

// `Element` is a Scalar, or a const one.
template <class Element>
using MatrixOf = std::conditional_t<std::is_const_v<Element>,
                                    const Matrix<std::remove_const_t<Element>>, Matrix<Element>>;

template <class Element>
Eigen::Map<MatrixOf<Element>> AsMatrix(Element* data, size_t rows, size_t columns) {
  return {data, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}

}  // namespace

template <class Scalar>
AutoencoderNetwork<Scalar>::AutoencoderNetwork(std::vector<size_t> widths)
    : shape_(std::move(widths)), outputs_(shape_.num_layers()), derivatives_(shape_.num_layers()) {}

template <class Scalar>
void AutoencoderNetwork<Scalar>::Forward(absl::Span<const Scalar> parameters,
                                         absl::Span<const Scalar> inputs) {
  parameters_ = parameters;
  inputs_ = inputs;
  for (size_t layer = 0; layer < shape_.num_layers(); ++layer) {
    const size_t in = shape_.num_inputs(layer);
    const size_t out = shape_.num_outputs(layer);
    outputs_[layer].resize(batch() * out);
    auto z = AsMatrix(outputs_[layer].data(), batch(), out);
    const auto weights = AsMatrix(parameters.data() + shape_.weights_begin(layer), out, in);
    const auto biases = AsMatrix(parameters.data() + shape_.biases_begin(layer), 1, out);
    z.noalias() = AsMatrix(this->inputs(layer).data(), batch(), in) * weights.transpose();
    z.rowwise() += biases.row(0);
    if (shape_.is_rectified(layer)) z = z.cwiseMax(Scalar{0});
  }
}

template <class Scalar>
double AutoencoderNetwork<Scalar>::LossAndMeans() {
  const size_t width = shape_.widths().back();
  auto outputs = AsMatrix(outputs_.back().data(), batch(), width);
  const auto targets = AsMatrix(inputs_.data(), batch(), width);
  RowArray<Scalar> decay;
  double loss = 0;
  for (Eigen::Index sample = 0; sample < outputs.rows(); ++sample) {
    auto z = outputs.row(sample).array();
    // At most 1, so that nothing overflows.
    decay = (-z.abs()).exp();
    loss += static_cast<double>(
        (z.max(Scalar{0}) - z * targets.row(sample).array() + decay.log1p()).sum());
    z = (z >= Scalar{0}).select(Scalar{1}, decay) / (Scalar{1} + decay);
  }
  return loss / static_cast<double>(batch());
}

template <class Scalar>
void AutoencoderNetwork<Scalar>::PropagateBelow(size_t layer) {
  const size_t in = shape_.num_inputs(layer);
  const size_t out = shape_.num_outputs(layer);
  derivatives_[layer - 1].resize(batch() * in);
  auto below = AsMatrix(derivatives_[layer - 1].data(), batch(), in);
  below.noalias() = AsMatrix(derivatives_[layer].data(), batch(), out) *
                    AsMatrix(parameters_.data() + shape_.weights_begin(layer), out, in);
  if (!shape_.is_rectified(layer - 1)) return;
  // h > 0 exactly where z > 0.
  const auto h = AsMatrix(inputs(layer).data(), batch(), in);
  below = (h.array() > Scalar{0}).select(below, Scalar{0});
}

template <class Scalar>
double AutoencoderNetwork<Scalar>::Evaluate(absl::Span<const Scalar> parameters,
                                            absl::Span<const Scalar> inputs) {
  Forward(parameters, inputs);
  return LossAndMeans();
}

template <class Scalar>
double AutoencoderNetwork<Scalar>::Gradient(absl::Span<const Scalar> parameters,
                                            absl::Span<const Scalar> inputs,
                                            absl::Span<Scalar> gradient) {
  Forward(parameters, inputs);
  const double loss = LossAndMeans();
  const size_t width = shape_.widths().back();
  derivatives_.back().resize(batch() * width);
  AsMatrix(derivatives_.back().data(), batch(), width) =
      (AsMatrix(outputs_.back().data(), batch(), width) - AsMatrix(inputs.data(), batch(), width)) /
      static_cast<Scalar>(batch());
  for (size_t layer = shape_.num_layers(); layer-- > 0;) {
    const size_t in = shape_.num_inputs(layer);
    const size_t out = shape_.num_outputs(layer);
    const auto slope = AsMatrix(derivatives_[layer].data(), batch(), out);
    AsMatrix(gradient.data() + shape_.weights_begin(layer), out, in).noalias() =
        slope.transpose() * AsMatrix(this->inputs(layer).data(), batch(), in);
    AsMatrix(gradient.data() + shape_.biases_begin(layer), 1, out) = slope.colwise().sum();
    if (layer > 0) PropagateBelow(layer);
  }
  return loss;
}

template <class Scalar>
void AutoencoderNetwork<Scalar>::SampledDerivatives(std::mt19937_64& random) {
  const size_t width = shape_.widths().back();
  derivatives_.back().resize(batch() * width);
  const Scalar* mean = outputs_.back().data();
  Scalar* derivative = derivatives_.back().data();
  for (size_t sample = 0; sample < batch(); ++sample) {
    uint64_t bits = 0;
    for (size_t pixel = 0; pixel < width; ++pixel, ++mean, ++derivative) {
      bits = pixel % 2 == 0 ? random() : bits >> 32;
      const double uniform = static_cast<double>(static_cast<uint32_t>(bits)) * 0x1p-32;
      const bool is_one = uniform < static_cast<double>(*mean);
      *derivative = *mean - (is_one ? Scalar{1} : Scalar{0});
    }
  }
  for (size_t layer = shape_.num_layers(); layer-- > 1;) PropagateBelow(layer);
}

template class AutoencoderNetwork<float>;
template class AutoencoderNetwork<double>;

}  // namespace talweg
