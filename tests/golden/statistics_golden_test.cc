// SPDX-License-Identifier: Apache-2.0
//
// Rows that a worker sends become the factors of statistics.json. make_statistics.py made them, in
// float64, and says what a case is.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/linalg/packed_triangle.h"
#include "core/session/layer_config.h"
#include "core/session/statistics.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_testing.h"
#include "tests/golden/statistics_testing.h"

namespace talweg::core {
namespace {

// The patches of a convolution, [samples * places, inputs], cut out pixel by pixel; the columns are
// in the order of a weight [outputs, channels, rows, columns].
std::vector<float> Patches(const Json& shape, uint64_t samples, const std::vector<float>& images) {
  const std::vector<int64_t> image = shape["image"];
  const std::vector<int64_t> kernel = shape["kernel"];
  const int64_t stride = shape["stride"];
  const int64_t padding = shape["padding"];
  std::vector<float> patches;
  const float* pixels = images.data();
  for (uint64_t n = 0; n < samples; ++n, pixels += image[0] * image[1] * image[2]) {
    for (int64_t top = -padding; top + kernel[0] <= image[1] + padding; top += stride) {
      for (int64_t left = -padding; left + kernel[1] <= image[2] + padding; left += stride) {
        for (int64_t channel = 0; channel < image[0]; ++channel) {
          for (int64_t row = top; row < top + kernel[0]; ++row) {
            for (int64_t col = left; col < left + kernel[1]; ++col) {
              const bool is_inside = row >= 0 && row < image[1] && col >= 0 && col < image[2];
              patches.push_back(is_inside ? pixels[(channel * image[1] + row) * image[2] + col]
                                          : 0);
            }
          }
        }
      }
    }
  }
  return patches;
}

// The mean outer product of rows, as a worker may send it: a packed triangle.
std::vector<float> TriangleOf(const std::vector<float>& rows, size_t width, bool with_one) {
  const size_t count = rows.size() / width;
  const size_t side = width + (with_one ? 1 : 0);
  const auto at = [&](size_t row, size_t col) {
    return col < width ? static_cast<double>(rows[row * width + col]) : 1.0;
  };
  std::vector<float> triangle;
  for (size_t i = 0; i < side; ++i) {
    for (size_t j = i; j < side; ++j) {
      double sum = 0;
      for (size_t row = 0; row < count; ++row) sum += at(row, i) * at(row, j);
      triangle.push_back(static_cast<float>(sum / static_cast<double>(count)));
    }
  }
  return triangle;
}

// The rows of each sample joined to one, their sum times `scale`.
std::vector<float> JoinedRows(const std::vector<float>& rows, size_t samples, size_t width,
                              double scale) {
  const size_t places = rows.size() / width / samples;
  std::vector<float> joined;
  for (size_t n = 0; n < samples; ++n) {
    for (size_t col = 0; col < width; ++col) {
      double sum = 0;
      for (size_t place = 0; place < places; ++place) {
        sum += static_cast<double>(rows[(n * places + place) * width + col]);
      }
      joined.push_back(static_cast<float>(scale * sum));
    }
  }
  return joined;
}

// Compares the statistics that the rows of a case become. Returns the worst deviation as a share of
// what is allowed.
double CompareFactors(const Json& golden_case) {
  Generator generator(golden_case["seed"].get<uint64_t>());
  auto table = std::make_shared<LayerTable>();
  StatisticsShape shape;
  shape.num_samples = golden_case["samples"];
  shape.of_mean_loss = golden_case["of_mean_loss"];
  std::vector<float> sent;
  std::vector<uint64_t> num_rows;
  for (const Json& told : golden_case["layers"]) {
    KroneckerLayer& layer = table->layers.emplace_back();
    layer.inputs = told["inputs"];
    layer.outputs = told["outputs"];
    if (told["bias"].get<bool>()) layer.bias = 0;
    const std::string sharing = told["sharing"];
    layer.sharing = sharing == "EXPAND"   ? Sharing::kExpand
                    : sharing == "REDUCE" ? Sharing::kReduce
                                          : Sharing::kNone;
    const uint64_t places = told["places"];
    const uint64_t count = shape.num_samples * places;
    num_rows.push_back(count);
    std::vector<float> a;
    if (told.contains("convolution")) {
      const std::vector<uint64_t> image = told["convolution"]["image"];
      const std::vector<float> pixels =
          Rows(generator, shape.num_samples, image[0] * image[1] * image[2], 0, 0);
      a = Patches(told["convolution"], shape.num_samples, pixels);
      EXPECT_EQ(a.size(), count * layer.inputs);
    } else {
      a = Rows(generator, count, layer.inputs, 0, 0);
    }
    std::vector<float> g = Rows(generator, count, layer.outputs, 0, 2);
    const bool as_triangles = told.value("triangles", false);
    shape.num_rows.push_back(as_triangles ? 0 : count);
    if (as_triangles) {
      TALWEG_CHECK(layer.sharing != Sharing::kExpand);
      a = JoinedRows(a, shape.num_samples, layer.inputs, 1 / static_cast<double>(places));
      g = JoinedRows(g, shape.num_samples, layer.outputs, 1);
      a = TriangleOf(a, layer.inputs, layer.bias.has_value());
      g = TriangleOf(g, layer.outputs, false);
    }
    Append(a, sent);
    Append(g, sent);
  }
  const std::vector<float> got = ReadyStatistics(table, shape, sent);
  EXPECT_EQ(got.size(), NumStatistics(table->layers));
  double worst = 0;
  const float* next = got.data();
  for (size_t index = 0; index < 2 * table->layers.size(); ++index) {
    const std::vector<double> expected = golden_case["factors"][index];
    const uint64_t side = table->layers[index / 2].side(index % 2);
    EXPECT_EQ(expected.size(), PackedSize(side));
    // A sum of R products in float32 is off by R 2^-24 of the sum of their magnitudes at most,
    // which is sqrt(A_ii A_jj) at most; a few roundings more are those of joined rows and of the
    // scale.
    const double share = std::ldexp(static_cast<double>(num_rows[index / 2]) + 4, -24);
    size_t at = 0;
    for (uint64_t i = 0; i < side; ++i) {
      for (uint64_t j = i; j < side; ++j, ++at) {
        const double size = std::sqrt(expected[PackedRow(side, i)] * expected[PackedRow(side, j)]);
        const double off = std::abs(*next - expected[at]) / (share * size);
        worst = std::max(worst, off);
        EXPECT_LE(off, 1) << "factor " << index << " at " << i << ", " << j << " is " << *next
                          << ", expected " << expected[at];
        ++next;
      }
    }
  }
  return worst;
}

TEST(StatisticsGoldenTest, RowsBecomeTheFactorsOfTheirLayers) {
  const Json file = GoldenFile("statistics");
  ASSERT_TRUE(file.is_object());
  for (size_t number = 0; number < file["cases"].size(); ++number) {
    SCOPED_TRACE(absl::StrCat("case ", number));
    std::printf("case %zu: worst %.2g of what is allowed\n", number,
                CompareFactors(file["cases"][number]));
  }
}

}  // namespace
}  // namespace talweg::core
