// SPDX-License-Identifier: Apache-2.0
//
// The values of version 0, drawn from a seed: the same seed, rules and layout give the same bits on
// every machine and for any number of threads.
//
//   CONSTANT  value
//   NORMAL    mean + standard_deviation n                     n: standard normal
//   UNIFORM   low + (high - low) u                            u in [0, 1)
//   KAIMING   variance gain^2 / fan_in                        He et al. 2015, arXiv:1502.01852
//   XAVIER    variance 2 gain^2 / (fan_in + fan_out)          Glorot, Bengio 2010
//
// Kaiming and Xavier are uniform in [-b, b) with b = sqrt(3 variance), or Gaussian. A tensor
// [outputs, inputs, kernel...] has fan_in = inputs * kernel, fan_out = outputs * kernel, as in
// PyTorch. Element i of the flat vector draws from counter i, whichever tensor the element is in,
// so that tensors of equal shape do not get equal values.
//
// Bounds and deviations are computed in double and rounded to float32 once; a value is `offset +
// scale * draw` in float32. So UNIFORM is never below low in float32, but it can reach high, or
// exceed high by the rounding errors of low and of high - low. If low is 0 or -high, a value stays
// below high; so Kaiming and Xavier stay below b. One core draws about 9e7 normals or 1.8e8
// uniforms per second.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/base/layout.h"
#include "core/base/shard.h"

namespace talweg::core {

struct ConstantValues {
  double value = 0;
  static auto Fields() { return std::tuple{Field{"value", &ConstantValues::value}}; }
};
struct NormalValues {
  double mean = 0;
  double standard_deviation = 1;
  static auto Fields() {
    return std::tuple{Field{"mean", &NormalValues::mean},
                      Field{"standard_deviation", &NormalValues::standard_deviation, AtLeast(0)}};
  }
};
struct UniformValues {
  double low = 0;
  double high = 1;
  static auto Fields() {
    return std::tuple{Field{"low", &UniformValues::low}, Field{"high", &UniformValues::high}};
  }
  absl::Status Validate() const;  // high >= low
};
struct KaimingValues {
  double gain = 1.4142135623730951;  // sqrt(2), for ReLU
  bool gaussian = false;
  static auto Fields() {
    return std::tuple{Field{"gain", &KaimingValues::gain, Positive()},
                      Field{"gaussian", &KaimingValues::gaussian}};
  }
};
struct XavierValues {
  double gain = 1;
  bool gaussian = false;
  static auto Fields() {
    return std::tuple{Field{"gain", &XavierValues::gain, Positive()},
                      Field{"gaussian", &XavierValues::gaussian}};
  }
};

using Distribution =
    std::variant<ConstantValues, NormalValues, UniformValues, KaimingValues, XavierValues>;

struct InitialValueRule {
  std::string tensors;  // name or pattern, see name_pattern.h
  Distribution distribution;
};

// A checked plan, which says how each tensor is drawn. A value that borrows nothing.
class InitialValues {
 public:
  // A tensor is made by the first rule whose pattern matches its name. Each distribution is valid
  // by its field table. Fails with INITIAL_VALUES_INVALID, naming the field ("rules[2].tensors"),
  // if there are no rules, if MatchTensors refuses the patterns, if a tensor has no rule, if
  // float32 cannot hold a bound, or if Kaiming or Xavier is asked for a tensor of fewer than two
  // dimensions.
  static absl::StatusOr<InitialValues> Create(const Layout& layout, uint64_t seed,
                                              absl::Span<const InitialValueRule> rules);

  // Draws the elements of `shard` into `values`, which is the whole vector, [num_elements].
  // Disjoint shards may be drawn at the same time; any cut gives the same bits.
  void Draw(Shard shard, absl::Span<float> values) const;

 private:
  struct PieceMaker;  // makes a Piece of a distribution and a tensor
  enum class Kind { kConstant, kUniform, kNormal };
  // One tensor: `offset + scale * draw`.
  struct Piece {
    uint64_t begin = 0;
    uint64_t end = 0;
    Kind kind = Kind::kConstant;
    float offset = 0;
    float scale = 0;
  };

  uint64_t seed_ = 0;
  std::vector<Piece> pieces_;  // in the order of the flat vector, without gaps
};

}  // namespace talweg::core
