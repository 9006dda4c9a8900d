// SPDX-License-Identifier: Apache-2.0
#define EIGEN_USE_BLAS
#include "client/experiments/mnist/network.h"

#include <cblas.h>

#include <Eigen/Core>
#include <cmath>
#include <utility>

namespace talweg {
namespace {

template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Scalar>
using RowVector = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

template <class Scalar>
Eigen::Map<const Matrix<Scalar>> AsMatrix(const Scalar* data, size_t rows, size_t columns) {
  return {data, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}
template <class Scalar>
Eigen::Map<Matrix<Scalar>> AsMatrix(Scalar* data, size_t rows, size_t columns) {
  return {data, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}
template <class Scalar>
Eigen::Map<const RowVector<Scalar>> AsRow(const Scalar* data, size_t size) {
  return {data, static_cast<Eigen::Index>(size)};
}
template <class Scalar>
Eigen::Map<RowVector<Scalar>> AsRow(Scalar* data, size_t size) {
  return {data, static_cast<Eigen::Index>(size)};
}

}  // namespace

template <class Scalar>
Network<Scalar>::Network(std::vector<size_t> widths)
    : widths_(std::move(widths)), outputs_(num_layers()) {
  for (size_t layer = 0; layer < num_layers(); ++layer) {
    begins_.push_back(num_parameters_);
    num_parameters_ += (widths_[layer] + 1) * widths_[layer + 1];
  }
}

template <class Scalar>
void Network<Scalar>::Forward(absl::Span<const Scalar> parameters, absl::Span<const Scalar> inputs,
                              size_t batch) {
  const Scalar* below = inputs.data();
  for (size_t layer = 0; layer < num_layers(); ++layer) {
    const size_t in = widths_[layer];
    const size_t out = widths_[layer + 1];
    outputs_[layer].resize(batch * out);
    auto z = AsMatrix(outputs_[layer].data(), batch, out);
    const auto weights = AsMatrix(parameters.data() + weights_begin(layer), out, in);
    z.noalias() = AsMatrix(below, batch, in) * weights.transpose();
    z.rowwise() += AsRow(parameters.data() + biases_begin(layer), out);
    if (layer + 1 < num_layers()) z = z.cwiseMax(Scalar{0});
    below = outputs_[layer].data();
  }
}

template <class Scalar>
BatchResult Network<Scalar>::LossAndSlope(absl::Span<const uint8_t> labels) {
  const size_t batch = labels.size();
  auto z = AsMatrix(outputs_.back().data(), batch, widths_.back());
  BatchResult result;
  for (size_t row = 0; row < batch; ++row) {
    auto outputs = z.row(static_cast<Eigen::Index>(row));
    const auto label = static_cast<Eigen::Index>(labels[row]);
    Eigen::Index best = 0;
    const Scalar largest = outputs.maxCoeff(&best);
    if (best == label) ++result.num_correct;
    // Shifted by the largest output, so that no exponential overflows.
    const Scalar chosen = outputs[label] - largest;
    outputs = (outputs.array() - largest).exp();
    const Scalar sum = outputs.sum();
    result.loss += std::log(static_cast<double>(sum)) - static_cast<double>(chosen);
    outputs /= sum;
    outputs[label] -= Scalar{1};
  }
  z /= static_cast<Scalar>(batch);
  result.loss /= static_cast<double>(batch);
  return result;
}

template <class Scalar>
BatchResult Network<Scalar>::Evaluate(absl::Span<const Scalar> parameters,
                                      absl::Span<const Scalar> inputs,
                                      absl::Span<const uint8_t> labels) {
  Forward(parameters, inputs, labels.size());
  return LossAndSlope(labels);
}

template <class Scalar>
BatchResult Network<Scalar>::Gradient(absl::Span<const Scalar> parameters,
                                      absl::Span<const Scalar> inputs,
                                      absl::Span<const uint8_t> labels,
                                      absl::Span<Scalar> gradient) {
  const size_t batch = labels.size();
  Forward(parameters, inputs, batch);
  const BatchResult result = LossAndSlope(labels);
  Matrix<Scalar> slope = AsMatrix(outputs_.back().data(), batch, widths_.back());  // dz_l
  for (size_t layer = num_layers(); layer-- > 0;) {
    const size_t in = widths_[layer];
    const size_t out = widths_[layer + 1];
    const auto below = AsMatrix(layer == 0 ? inputs.data() : outputs_[layer - 1].data(), batch, in);
    AsMatrix(gradient.data() + weights_begin(layer), out, in).noalias() = slope.transpose() * below;
    AsRow(gradient.data() + biases_begin(layer), out) = slope.colwise().sum();
    if (layer == 0) break;
    const Matrix<Scalar> above =
        slope * AsMatrix(parameters.data() + weights_begin(layer), out, in);
    // h > 0 exactly where z > 0.
    slope = (below.array() > Scalar{0}).select(above, Scalar{0});
  }
  return result;
}

template class Network<float>;
template class Network<double>;

void SetNumBlasThreads(int num_threads) { openblas_set_num_threads(num_threads); }

}  // namespace talweg
