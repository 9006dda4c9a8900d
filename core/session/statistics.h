// SPDX-License-Identifier: Apache-2.0
//
// Statistics on their way from the wire into the averages of a method: how a contribution lays them
// out, and how they become the vector of all statistics (NumStatistics).
//
// A contribution has one more vector beside its gradient. It has, layer by layer in the order of
// the session's layers,
//
//   TRIANGLES   the packed upper triangles of A and of S
//   ROWS        the inputs, [num_rows, inputs], then the derivatives, [num_rows, outputs],
//   row-major
//
// of which a triangle with its side n takes n (n + 1) / 2 numbers. Rows have no 1 for the bias; the
// server adds it. With sharing there are T rows for each sample, one sample after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/aligned_buffer.h"
#include "core/curvature/kronecker_layer.h"
#include "core/session/layer_config.h"
#include "core/session/staged_gradient.h"
#include "core/session/work.h"

namespace talweg::core {

// What a contribution says of its statistics. A value.
struct StatisticsShape {
  // A number of samples is a weight, which is a float32.
  static constexpr uint64_t kMaxSamples = uint64_t{1} << 24;

  uint64_t num_samples = 0;  // N, in [1, kMaxSamples]
  // The derivatives are those of the mean loss over the N samples, and N times too small.
  bool of_mean_loss = false;
  // By layer: how many rows there are, a multiple of N; 0: triangles.
  std::vector<uint64_t> num_rows;

  // The numbers of the contribution's vector.
  uint64_t NumSent(const std::vector<KroneckerLayer>& layers) const;
  // Whether what is sent is the vector of all statistics already.
  bool IsWhole() const;
};

// Thread-compatible, except for the pieces of the work that it describes.
class StagedStatistics {
 public:
  // Throws std::bad_alloc.
  StagedStatistics(std::shared_ptr<const LayerTable> table, StatisticsShape shape);
  // Bytes that it takes.
  static uint64_t MemoryBytes(const std::vector<KroneckerLayer>& layers,
                              const StatisticsShape& shape);

  const StatisticsShape& shape() const { return shape_; }
  // What was sent: to be filled with Append, or Stage, from Begin(map_of_sent()) on.
  StagedGradient& sent() { return *sent_; }
  const std::shared_ptr<const GroupMap>& map_of_sent() const { return sent_map_; }

  // Adds the stages that make `ready` of what was sent, and measure it.
  void AddStages(Work& work);

  // Once these stages have ended.
  const std::shared_ptr<StagedGradient>& ready() const { return ready_; }
  bool finite() const { return sent_->finite() && ready_->finite(); }
  // Which layer has the first number that is not finite; only if not `finite`.
  size_t FirstNonFiniteLayer() const;
  // Of what was sent and how it is laid out.
  uint32_t Digest() const;

 private:
  void MakeFactor(size_t index, size_t factor);

  const std::shared_ptr<const LayerTable> table_;
  const StatisticsShape shape_;
  std::vector<uint64_t> sent_begins_,
      ready_begins_;  // of each factor: two for each layer, in order
  std::shared_ptr<const GroupMap> sent_map_, ready_map_;
  std::shared_ptr<StagedGradient> sent_;
  std::shared_ptr<StagedGradient> ready_;  // may be `sent_`
};

// The map of a vector that has no groups.
std::shared_ptr<const GroupMap> MapOfOne(uint64_t num_elements);

}  // namespace talweg::core
