// SPDX-License-Identifier: Apache-2.0
#include "core/session/initial_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/check.h"
#include "core/base/name_pattern.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/noise/normal.h"
#include "core/noise/philox.h"

namespace talweg::core {
namespace {

absl::Status Invalid(absl::string_view message, absl::string_view field) {
  return MakeError(Reason::kInitialValuesInvalid, message, field);
}

// Whether float32 holds `value`. False for a NaN.
bool Fits(double value) { return std::abs(value) <= std::numeric_limits<float>::max(); }

struct Fans {
  double in = 0;
  double out = 0;
};

// [outputs, inputs, kernel...]. The layout bounds the products.
Fans FansOf(const TensorSpec& tensor) {
  uint64_t kernel = 1;
  for (size_t index = 2; index < tensor.shape.size(); ++index) kernel *= tensor.shape[index];
  return {static_cast<double>(tensor.shape[1] * kernel),
          static_cast<double>(tensor.shape[0] * kernel)};
}

// values[i] = offset + scale * draw i for i in [begin, end). Draws come in blocks of four, which a
// tensor or a shard may cut anywhere.
template <class FromWords>
void DrawElements(PhiloxKey key, uint64_t begin, uint64_t end, float offset, float scale,
                  FromWords from_words, absl::Span<float> values) {
  for (uint64_t block = begin / 4; block * 4 < end; ++block) {
    const std::array<float, 4> draws =
        from_words(Philox(CounterOf(NoiseDomain::kInitialValues, block), key));
    const uint64_t first = std::max(begin, block * 4);
    const uint64_t last = std::min(end, block * 4 + 4);
    for (uint64_t i = first; i < last; ++i) values[i] = offset + scale * draws[i - block * 4];
  }
}

std::array<float, 4> UniformsFromWords(const PhiloxWords& words) {
  return {UniformFromWord(words[0]), UniformFromWord(words[1]), UniformFromWord(words[2]),
          UniformFromWord(words[3])};
}

}  // namespace

absl::Status UniformValues::Validate() const {
  if (high >= low) return absl::OkStatus();
  return Invalid(absl::StrCat("high is ", high, ", allowed: >= low, which is ", low), "high");
}

struct InitialValues::PieceMaker {
  const TensorSpec& tensor;
  std::string rule;  // its field: "rules[2]"

  absl::StatusOr<Piece> operator()(const ConstantValues& constant) const {
    if (!Fits(constant.value)) return TooLarge("constant.value");
    return Piece{.kind = Kind::kConstant, .offset = static_cast<float>(constant.value)};
  }

  absl::StatusOr<Piece> operator()(const NormalValues& normal) const {
    if (!Fits(normal.mean)) return TooLarge("normal.mean");
    return Gaussian(normal.mean, normal.standard_deviation, "normal.standard_deviation");
  }

  absl::StatusOr<Piece> operator()(const UniformValues& uniform) const {
    TALWEG_RETURN_IF_ERROR(PrefixField(uniform.Validate(), absl::StrCat(rule, ".uniform")));
    if (!Fits(uniform.low)) return TooLarge("uniform.low");
    return Uniform(uniform.low, uniform.high - uniform.low, "uniform.high");
  }

  absl::StatusOr<Piece> operator()(const KaimingValues& kaiming) const {
    if (tensor.shape.size() < 2) return TooFewDimensions("kaiming");
    const double share = 1 / FansOf(tensor).in;
    return Scaled(kaiming.gain, share, kaiming.gaussian, "kaiming.gain");
  }

  absl::StatusOr<Piece> operator()(const XavierValues& xavier) const {
    if (tensor.shape.size() < 2) return TooFewDimensions("xavier");
    const Fans fans = FansOf(tensor);
    return Scaled(xavier.gain, 2 / (fans.in + fans.out), xavier.gaussian, "xavier.gain");
  }

  // Variance gain^2 share.
  absl::StatusOr<Piece> Scaled(double gain, double share, bool gaussian,
                               absl::string_view field) const {
    if (gaussian) return Gaussian(0, gain * std::sqrt(share), field);
    const double bound = gain * std::sqrt(3 * share);
    return Uniform(-bound, 2 * bound, field);
  }

  absl::StatusOr<Piece> Gaussian(double mean, double deviation, absl::string_view field) const {
    if (!Fits(deviation)) return TooLarge(field);
    const Piece piece{.kind = Kind::kNormal,
                      .offset = static_cast<float>(mean),
                      .scale = static_cast<float>(deviation)};
    // Rounding keeps order: if the largest value is finite, all are.
    if (!Fits(std::abs(piece.offset) + piece.scale * kLargestNormal)) return TooLarge(field);
    return piece;
  }

  absl::StatusOr<Piece> Uniform(double low, double width, absl::string_view field) const {
    if (!Fits(low) || !Fits(width)) return TooLarge(field);
    const Piece piece{.kind = Kind::kUniform,
                      .offset = static_cast<float>(low),
                      .scale = static_cast<float>(width)};
    if (!Fits(piece.offset + piece.scale)) return TooLarge(field);
    return piece;
  }

  absl::Status TooLarge(absl::string_view field) const {
    return Invalid(absl::StrCat("values of tensor \"", tensor.name, "\" do not fit in float32"),
                   absl::StrCat(rule, ".", field));
  }

  absl::Status TooFewDimensions(absl::string_view kind) const {
    return Invalid(absl::StrCat("tensor \"", tensor.name, "\" has ", tensor.shape.size(),
                                " dimensions, ", kind, " needs at least 2"),
                   absl::StrCat(rule, ".tensors"));
  }
};

absl::StatusOr<InitialValues> InitialValues::Create(const Layout& layout, uint64_t seed,
                                                    absl::Span<const InitialValueRule> rules) {
  if (rules.empty()) return Invalid("there are no rules", "rules");
  std::vector<absl::string_view> patterns;
  patterns.reserve(rules.size());
  for (const InitialValueRule& rule : rules) patterns.emplace_back(rule.tensors);
  TALWEG_ASSIGN_OR_RETURN(const std::vector<size_t> rule_of_tensor,
                          MatchTensors(layout, patterns, Reason::kInitialValuesInvalid, "rules"));

  InitialValues values;
  values.seed_ = seed;
  for (size_t index = 0; index < layout.tensors().size(); ++index) {
    const TensorSpec& tensor = layout.tensors()[index];
    const size_t rule = rule_of_tensor[index];
    if (rule == kNoPattern) {
      return Invalid(absl::StrCat("no rule makes tensor \"", tensor.name, "\""), "rules");
    }
    Piece piece;
    TALWEG_ASSIGN_OR_RETURN(piece, std::visit(PieceMaker{tensor, absl::StrCat("rules[", rule, "]")},
                                              rules[rule].distribution));
    piece.begin = layout.offsets()[index];
    piece.end = piece.begin + layout.size_of(index);
    values.pieces_.push_back(piece);
  }
  return values;
}

void InitialValues::Draw(Shard shard, absl::Span<float> values) const {
  TALWEG_CHECK(shard.begin <= shard.end && shard.end <= values.size());
  const PhiloxKey key = KeyOfSeed(seed_);
  auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), shard.begin,
                                [](uint64_t element, const Piece& p) { return element < p.end; });
  for (; piece != pieces_.end() && piece->begin < shard.end; ++piece) {
    const uint64_t begin = std::max<uint64_t>(piece->begin, shard.begin);
    const uint64_t end = std::min<uint64_t>(piece->end, shard.end);
    switch (piece->kind) {
      case Kind::kConstant:
        std::fill(values.begin() + begin, values.begin() + end, piece->offset);
        break;
      case Kind::kUniform:
        DrawElements(key, begin, end, piece->offset, piece->scale, UniformsFromWords, values);
        break;
      case Kind::kNormal:
        DrawElements(key, begin, end, piece->offset, piece->scale, NormalsFromWords, values);
        break;
    }
  }
}

}  // namespace talweg::core
