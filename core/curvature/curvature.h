// SPDX-License-Identifier: Apache-2.0
//
// What K-FAC knows of the curvature: the running averages of every layer's two Kronecker factors,
// and their damped inverses.
//
//   average <- kept average + (1 - kept) new          for each version that statistics came for
//   A = average / (1 - prod(kept))                    so that no start from zero is left in it
//   inverses of  A + pi sqrt(lambda + c) I  and  S + sqrt(lambda + c) / pi I
//
// c is the coupled decay of the layer (the L2 penalty), whose curvature is c I, and pi is told in
// damping.h. With `starts_with_first`, the first average is the new one, whole: prod(kept) is 0
// from then on. That is for factors that begin with a pass over the data.
//
// Inverses are refreshed within a step, or beside the steps as an InverseRefresh that is installed
// when it is ready. A refresh replaces both inverses of a layer or, if one of them failed, neither.
// A refresh that is older than the last one is dropped, and leaves no trace.
//
// Source: Martens, Grosse 2015, arXiv:1503.05671, sections 5 and 6; Ba, Grosse, Martens 2017
// (inverses beside the steps). State: 4 bytes for each element of the packed factors, and of the
// inverses, which are whole squares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/base/state_visitor.h"
#include "core/curvature/damping.h"
#include "core/curvature/inverse_refresh.h"
#include "core/curvature/kronecker_layer.h"

namespace talweg::core {

// When inverses are refreshed.
enum class RefreshMode : uint8_t {
  kBackground,   // beside the steps; within a step at first, and if the last refresh is too old
  kSynchronous,  // within the steps
};

struct CurvatureSettings {
  double lambda = 0;  // >= 0
  PiRule pi = PiRule::kTrace;
  double kept = 0.95;  // share of the averages kept, in [0, 1)
  bool starts_with_first = false;
  RefreshMode refresh = RefreshMode::kBackground;
  uint64_t refresh_every = 1;  // steps, >= 1
  // Up to this step every step refreshes, and within itself: curvature changes fastest at first.
  uint64_t refresh_each_until = 0;
  uint64_t max_inverse_age = 0;  // steps; 0: any age will do
};

// Thread-compatible, except that AverageShard may run on disjoint shards at the same time.
class Curvature {
 public:
  explicit Curvature(std::vector<KroneckerLayer> layers);

  const std::vector<KroneckerLayer>& layers() const { return layers_; }
  // The length of the vector of all statistics (NumStatistics).
  uint64_t num_statistics() const { return factors_.size(); }

  static uint64_t StateBytes(const std::vector<KroneckerLayer>& layers);
  // Bytes that a refresh takes while it is under way, its results included.
  static uint64_t RefreshBytes(const std::vector<KroneckerLayer>& layers);

  // Step `number` begins, which makes the version of that number.
  void BeginStep(uint64_t number, const CurvatureSettings& settings) {
    number_ = number;
    settings_ = settings;
  }
  // The step has statistics: AverageShard follows for every element of their mean, in any cut.
  void BeginAverage();
  void AverageShard(Shard shard, absl::Span<const float> statistics);

  // Whether the open step must refresh the inverses itself, before it uses them.
  bool NeedsRefresh() const;
  // Whether a refresh beside the steps is due behind the open step.
  bool WantsRefresh() const;
  // Copies the factors as they are. `coupled` has the coupled decay of each layer.
  std::unique_ptr<InverseRefresh> BeginRefresh(absl::Span<const double> coupled);
  // Takes the results, when every task is over. Returns whether any of them is newer than what was
  // there.
  bool Install(InverseRefresh& refresh);

  // [side, side], row-major; only if the layer has inverses.
  absl::Span<const float> Inverse(size_t layer, size_t factor) const {
    return inverses_[2 * layer + factor];
  }
  bool HasInverses(size_t layer) const { return inverse_versions_[layer] > 0; }
  // What was added to the diagonal of the factor when it was inverted.
  double DampingOf(size_t layer, size_t factor) const { return dampings_[2 * layer + factor]; }

  // The oldest version of factors whose inverses are in use; 0 if there are none.
  uint64_t InverseVersion() const;
  size_t NumWithoutInverses() const;
  // How many inverses needed more damping than was asked for, and how many could not be made.
  uint64_t num_raised() const { return static_cast<uint64_t>(num_raised_); }
  uint64_t num_failed() const { return static_cast<uint64_t>(num_failed_); }

  // Slots "factors" and "inverse_0_inputs", "inverse_0_outputs", …; scalars that say of which
  // version they are.
  void VisitState(StateVisitor& visitor);

 private:
  bool HasNewFactors() const { return static_cast<double>(factors_version_) > refreshed_version_; }

  std::vector<KroneckerLayer> layers_;
  std::vector<uint64_t> begins_;  // of each layer in the factors
  AlignedBuffer factors_;         // packed averages, not yet divided by what they weigh
  double kept_product_ = 1;       // prod(kept): what the averages weigh is 1 - this
  double factors_version_ = 0;    // whose statistics are the last in the factors; 0: there are none
  // Of the factors that the newest refresh began with, and that the newest refresh that is over
  // had.
  double refreshed_version_ = 0;
  double finished_version_ = 0;
  std::vector<std::vector<float>> inverses_;  // of the inputs and of the outputs, layer by layer
  std::vector<double> inverse_versions_;      // by layer: the version of the factors; 0: none
  std::vector<double> dampings_;              // as `inverses_`
  double num_raised_ = 0;
  double num_failed_ = 0;

  // Of the open step.
  uint64_t number_ = 0;
  CurvatureSettings settings_;
  float keep_ = 0;
  float take_ = 1;
};

}  // namespace talweg::core
