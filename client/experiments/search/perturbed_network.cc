// SPDX-License-Identifier: Apache-2.0
#define EIGEN_USE_BLAS
#include "client/experiments/search/perturbed_network.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <utility>

namespace talweg {
namespace {

// Pairs of low rank whose signs share a product: 400 rows of a batch of 100. More rows fall out of
// the cache.
constexpr uint32_t kPairsAtOnce = 2;

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using RowVector = Eigen::Matrix<float, 1, Eigen::Dynamic>;

Eigen::Map<const Matrix> AsMatrix(const float* data, size_t rows, size_t columns) {
  return {data, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}
Eigen::Map<Matrix> AsMatrix(float* data, size_t rows, size_t columns) {
  return {data, static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns)};
}
Eigen::Map<const RowVector> AsRow(const float* data, size_t size) {
  return {data, static_cast<Eigen::Index>(size)};
}

}  // namespace

PerturbedNetwork::PerturbedNetwork(std::vector<size_t> widths) {
  size_t largest = 0;
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    Layer layer;
    layer.in = widths[i];
    layer.out = widths[i + 1];
    layer.weights = num_parameters_;
    layer.biases = layer.weights + layer.in * layer.out;
    num_parameters_ += layer.size();
    largest = std::max(largest, layer.size());
    layers_.push_back(layer);
  }
  change_.resize(largest);
  moved_.resize(largest);
}

void PerturbedNetwork::Set(absl::Span<const float> parameters, absl::Span<const float> inputs,
                           absl::Span<const uint8_t> labels) {
  parameters_ = parameters;
  inputs_ = inputs;
  labels_ = labels;
  const Layer& first = layers_.front();
  const size_t batch = labels.size();
  base_.resize(batch * first.out);
  auto z = AsMatrix(base_.data(), batch, first.out);
  z.noalias() = AsMatrix(inputs.data(), batch, first.in) *
                AsMatrix(parameters.data() + first.weights, first.out, first.in).transpose();
  z.rowwise() += AsRow(parameters.data() + first.biases, first.out);
}

double PerturbedNetwork::Loss() {
  const size_t batch = labels_.size();
  below_ = base_;
  for (size_t l = 1; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    auto h = AsMatrix(below_.data(), batch, layer.in);
    h = h.cwiseMax(0.0f);
    above_.resize(batch * layer.out);
    auto z = AsMatrix(above_.data(), batch, layer.out);
    z.noalias() = h * AsMatrix(parameters_.data() + layer.weights, layer.out, layer.in).transpose();
    z.rowwise() += AsRow(parameters_.data() + layer.biases, layer.out);
    std::swap(below_, above_);
  }
  return MeanLoss(below_.data());
}

std::vector<double> PerturbedNetwork::Losses(const PerturbedPairs& pairs) {
  std::vector<double> losses;
  losses.reserve(size_t{pairs.num_pairs} * (pairs.both_signs ? 2 : 1));
  if (pairs.rank == 0) {
    DenseLosses(pairs, losses);
  } else {
    LowRankLosses(pairs, losses);
  }
  return losses;
}

void PerturbedNetwork::DenseLosses(const PerturbedPairs& pairs, std::vector<double>& losses) {
  const size_t batch = labels_.size();
  const size_t num_signs = pairs.both_signs ? 2 : 1;
  for (uint32_t i = 0; i < pairs.num_pairs; ++i) {
    const core::Draw draw = {pairs.generation, pairs.first_pair + i};
    // `below_` holds the signs one below the other: [num_signs, batch, width].
    for (size_t l = 0; l < layers_.size(); ++l) {
      const Layer& layer = layers_[l];
      const absl::Span<float> change = absl::MakeSpan(change_).first(layer.size());
      pairs.perturbation.Displacement(draw, pairs.sigma, layer.weights, change);
      const auto change_of_biases = AsRow(change.data() + layer.in * layer.out, layer.out);
      above_.resize(num_signs * batch * layer.out);
      if (l == 0) {
        response_.resize(batch * layer.out);
        auto response = AsMatrix(response_.data(), batch, layer.out);
        response.noalias() = AsMatrix(inputs_.data(), batch, layer.in) *
                             AsMatrix(change.data(), layer.out, layer.in).transpose();
        response.rowwise() += change_of_biases;
        const auto base = AsMatrix(std::as_const(base_).data(), batch, layer.out);
        AsMatrix(above_.data(), batch, layer.out) = base + response;
        if (pairs.both_signs) {
          AsMatrix(above_.data() + batch * layer.out, batch, layer.out) = base - response;
        }
      } else {
        const auto parameters = AsRow(parameters_.data() + layer.weights, layer.size());
        const auto all_change = AsRow(change.data(), layer.size());
        for (size_t sign = 0; sign < num_signs; ++sign) {
          Eigen::Map<RowVector> moved(moved_.data(), static_cast<Eigen::Index>(layer.size()));
          if (sign == 0) {
            moved = parameters + all_change;
          } else {
            moved = parameters - all_change;
          }
          auto z = AsMatrix(above_.data() + sign * batch * layer.out, batch, layer.out);
          z.noalias() = AsMatrix(below_.data() + sign * batch * layer.in, batch, layer.in) *
                        AsMatrix(moved_.data(), layer.out, layer.in).transpose();
          z.rowwise() += AsRow(moved_.data() + layer.in * layer.out, layer.out);
        }
      }
      if (l + 1 < layers_.size()) {
        auto h = AsMatrix(above_.data(), num_signs * batch, layer.out);
        h = h.cwiseMax(0.0f);
      }
      std::swap(below_, above_);
    }
    for (size_t sign = 0; sign < num_signs; ++sign) {
      losses.push_back(MeanLoss(below_.data() + sign * batch * layers_.back().out));
    }
  }
}

void PerturbedNetwork::LowRankLosses(const PerturbedPairs& pairs, std::vector<double>& losses) {
  const size_t batch = labels_.size();
  const size_t num_signs = pairs.both_signs ? 2 : 1;
  const size_t rank = pairs.rank;
  const float scale = pairs.perturbation.ScaleOf(pairs.sigma);
  std::vector<float> a;
  std::vector<float> b;
  std::vector<float> bias;
  Matrix projected;
  for (uint32_t begin = 0; begin < pairs.num_pairs; begin += kPairsAtOnce) {
    const uint32_t count = std::min(kPairsAtOnce, pairs.num_pairs - begin);
    // `below_` holds all signs of all pairs one below the other: [count, num_signs, batch, width].
    const size_t num_rows = count * num_signs * batch;
    for (size_t l = 0; l < layers_.size(); ++l) {
      const Layer& layer = layers_[l];
      above_.resize(num_rows * layer.out);
      if (l > 0) {
        auto z = AsMatrix(above_.data(), num_rows, layer.out);
        z.noalias() = AsMatrix(std::as_const(below_).data(), num_rows, layer.in) *
                      AsMatrix(parameters_.data() + layer.weights, layer.out, layer.in).transpose();
        z.rowwise() += AsRow(parameters_.data() + layer.biases, layer.out);
      }
      a.resize(rank * layer.out);
      b.resize(rank * layer.in);
      bias.resize(layer.out);
      for (uint32_t i = 0; i < count; ++i) {
        const core::Draw draw = {pairs.generation, pairs.first_pair + begin + i};
        pairs.perturbation.Factors(draw, 2 * l, a, b);
        pairs.perturbation.Displacement(draw, pairs.sigma, layer.biases, bias);
        const auto change_of_biases = AsRow(bias.data(), layer.out);
        const auto a_rows = AsMatrix(std::as_const(a).data(), rank, layer.out);
        const auto b_rows = AsMatrix(std::as_const(b).data(), rank, layer.in);
        for (size_t sign = 0; sign < num_signs; ++sign) {
          const size_t row = (i * num_signs + sign) * batch;
          const float signed_scale = sign == 0 ? scale : -scale;
          auto z = AsMatrix(above_.data() + row * layer.out, batch, layer.out);
          if (l == 0) z = AsMatrix(std::as_const(base_).data(), batch, layer.out);
          const float* rows = l == 0 ? inputs_.data() : below_.data() + row * layer.in;
          if (l > 0 || sign == 0) {
            projected.noalias() = AsMatrix(rows, batch, layer.in) * b_rows.transpose();
          }
          z.noalias() += (signed_scale * projected) * a_rows;
          if (sign == 0) {
            z.rowwise() += change_of_biases;
          } else {
            z.rowwise() -= change_of_biases;
          }
        }
      }
      if (l + 1 < layers_.size()) {
        auto h = AsMatrix(above_.data(), num_rows, layer.out);
        h = h.cwiseMax(0.0f);
      }
      std::swap(below_, above_);
    }
    for (size_t i = 0; i < count * num_signs; ++i) {
      losses.push_back(MeanLoss(below_.data() + i * batch * layers_.back().out));
    }
  }
}

double PerturbedNetwork::MeanLoss(const float* outputs) const {
  const size_t batch = labels_.size();
  const auto z = AsMatrix(outputs, batch, layers_.back().out);
  double loss = 0;
  for (size_t row = 0; row < batch; ++row) {
    const auto of_image = z.row(static_cast<Eigen::Index>(row));
    // Shifted by the largest output, so that no exponential overflows.
    const float largest = of_image.maxCoeff();
    const float sum = (of_image.array() - largest).exp().sum();
    const float chosen = of_image[static_cast<Eigen::Index>(labels_[row])] - largest;
    loss += std::log(static_cast<double>(sum)) - static_cast<double>(chosen);
  }
  return loss / static_cast<double>(batch);
}

}  // namespace talweg
