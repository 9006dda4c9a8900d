// SPDX-License-Identifier: Apache-2.0
//
// Values of version 0, drawn from a seed: the same seed, rules and layout give the same bits on
// every machine, for any number of threads.
//
//   CONSTANT  value
//   NORMAL    mean + standard_deviation n                     n: standard normal
//   UNIFORM   low + (high - low) u                            u in [0, 1)
//   KAIMING   variance gain^2 / fan_in                        He et al. 2015, arXiv:1502.01852
//   XAVIER    variance 2 gain^2 / (fan_in + fan_out)          Glorot, Bengio 2010
//
// Kaiming and Xavier are uniform in [-b, b) with b = sqrt(3 variance), or Gaussian. A tensor
// [outputs, inputs, kernel...] has fan_in = inputs * kernel, fan_out = outputs * kernel, as in
// PyTorch. Element i of the flat vector draws from counter i, whatever tensor it is in, so equal
// shapes never get equal values.
//
// Bounds and deviations are computed in double and rounded to float32 once; a value is
// `offset + scale * draw` in float32. So UNIFORM is never below low in float32, but can reach high,
// or pass it by as much as low and high - low were rounded; where low is 0 or -high it stays below
// high, as Kaiming and Xavier stay below b. About 9e7 normals or 1.8e8 uniforms a second a core.
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

// A checked plan: which tensor is drawn how. A value; borrows nothing.
class InitialValues {
 public:
  // The first rule whose pattern matches a tensor's name makes it. Each distribution is valid by
  // its field table. Fails with INITIAL_VALUES_INVALID, naming the field ("rules[2].tensors"): no
  // rules, what MatchTensors refuses, a tensor without a rule, a bound that float32 cannot hold,
  // Kaiming or Xavier for a tensor of fewer than two dimensions.
  static absl::StatusOr<InitialValues> Create(const Layout& layout, uint64_t seed,
                                              absl::Span<const InitialValueRule> rules);

  // Draws the elements of `shard` into `values`, the whole vector, [num_elements]. Disjoint shards
  // may be drawn at the same time; any cut gives the same bits.
  void Draw(Shard shard, absl::Span<float> values) const;

 private:
  struct PieceMaker;  // a distribution and a tensor to a Piece
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
