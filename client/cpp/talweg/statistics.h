// SPDX-License-Identifier: Apache-2.0
//
// Statistics of the curvature, for sessions that train by kfac: what a worker knows of each layer's
// inputs and of the derivatives at its outputs. proto/talweg/v1/training_service.proto says what
// the numbers are (messages Statistics and LayerStatistics).
//
//   Statistics statistics{.num_samples = batch, .layers = {{"w1", batch, inputs1, derivatives1},
//                                                          {"w2", batch, inputs2, derivatives2}}};
//   StepOptions options;
//   options.statistics = &statistics;
//   session.Step(gradient, parameters, {}, options);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "talweg/v1/section.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// The statistics of one layer. Borrows both spans.
struct LayerStatistics {
  std::string weight;  // the name of its weight's tensor
  // How many rows there are: one for each sample or, if the layer's weights are shared by several
  // places of a sample, one for each place. 0: the spans are packed upper triangles.
  uint64_t num_rows = 0;
  // [num_rows, inputs] without a 1 for the bias, or the triangle of A.
  absl::Span<const float> inputs;
  // [num_rows, outputs], each row the derivative of one sample's loss; or the triangle of S.
  absl::Span<const float> derivatives;
};

// The statistics of every layer of the session, in the order of its configuration.
struct Statistics {
  uint64_t num_samples = 0;   // in [1, 2^24]
  bool of_mean_loss = false;  // the derivatives are those of the mean loss over the samples
  v1::StatisticsTarget target = v1::STATISTICS_TARGET_MODEL;
  v1::Dtype dtype = v1::DTYPE_FLOAT32;  // how the numbers travel
  std::vector<LayerStatistics> layers;
};

// The upper triangle of `square`, [side, side], row-major, as the wire has it: its rows, each from
// the diagonal on; side (side + 1) / 2 numbers.
std::vector<float> PackUpperTriangle(size_t side, absl::Span<const float> square);

// What `statistics` is on the wire; `alone`: there is no gradient beside it.
v1::Statistics ToProto(const Statistics& statistics, bool alone);

// The numbers of some statistics as one vector. Borrows them.
class StatisticsVector {
 public:
  StatisticsVector() = default;
  explicit StatisticsVector(const Statistics& statistics);

  uint64_t size() const { return size_; }
  v1::Dtype dtype() const { return dtype_; }
  uint64_t bytes() const;
  // Writes the numbers from `begin` on, `count` of them, as they travel.
  void Encode(uint64_t begin, uint64_t count, char* bytes) const;
  // A copy of all numbers.
  std::vector<float> Copy() const;
  // The same numbers, borrowed from a copy.
  StatisticsVector Of(absl::Span<const float> copy) const;

 private:
  std::vector<absl::Span<const float>> pieces_;
  uint64_t size_ = 0;
  v1::Dtype dtype_ = v1::DTYPE_FLOAT32;
};

}  // namespace talweg
