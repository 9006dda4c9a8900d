// SPDX-License-Identifier: Apache-2.0
//
// core/noise gives every bit of proto/vectors/noise.json, which NumPy made from proto/NOISE.md, on
// every target.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "core/noise/noise_testing.h"
#include "core/noise/normal.h"
#include "core/noise/perturbation.h"
#include "core/noise/philox.h"
#include "core/noise/stream.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace talweg::core {
namespace {

using nlohmann::json;

// Words or float32, 8 hexadecimal digits each.
std::vector<uint32_t> Words(const json& digits) {
  const std::string text = digits.get<std::string>();
  std::vector<uint32_t> words;
  for (size_t i = 0; i < text.size(); i += 8) {
    words.push_back(static_cast<uint32_t>(std::stoul(text.substr(i, 8), nullptr, 16)));
  }
  return words;
}

std::vector<float> Floats(const json& digits) {
  std::vector<float> floats;
  for (const uint32_t word : Words(digits)) floats.push_back(std::bit_cast<float>(word));
  return floats;
}

double Double(const json& digits) {
  return std::bit_cast<double>(uint64_t{std::stoull(digits.get<std::string>(), nullptr, 16)});
}

uint64_t Decimal(const json& digits) { return std::stoull(digits.get<std::string>()); }

std::vector<uint32_t> BitsOf(std::span<const float> floats) {
  std::vector<uint32_t> bits;
  for (const float value : floats) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

class NoiseVectorsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::ifstream file(TALWEG_VECTORS_DIR "/noise.json");
    vectors_ = json::parse(file);
  }
  static Perturbation Of(const json& row) {
    std::vector<TensorExtent> tensors;
    for (const json& shape : vectors_["layout"]) {
      TensorExtent tensor = {.num_elements = 1};
      for (const json& size : shape) tensor.num_elements *= size.get<uint64_t>();
      if (shape.size() >= 2) tensor.rows = shape[0].get<uint64_t>();
      tensors.push_back(tensor);
    }
    return Perturbation(
        Decimal(row["seed"]),
        row["rademacher"].get<bool>() ? NoiseScheme::kRademacher : NoiseScheme::kNormal,
        row["rank"].get<uint32_t>(), tensors);
  }
  static inline json vectors_;
};

TEST_F(NoiseVectorsTest, HasEveryPart) {
  for (const char* part :
       {"philox", "normals", "streams", "data_seeds", "displacements", "estimates"}) {
    EXPECT_FALSE(vectors_[part].empty()) << part;
  }
}

TEST_F(NoiseVectorsTest, WordsAndNormals) {
  for (const json& row : vectors_["philox"]) {
    const std::vector<uint32_t> c = Words(row["counter"]), k = Words(row["key"]);
    const PhiloxWords words = Philox({c[0], c[1], c[2], c[3]}, {k[0], k[1]});
    EXPECT_EQ(std::vector<uint32_t>(words.begin(), words.end()), Words(row["words"]));
  }
  for (const json& row : vectors_["normals"]) {
    const std::vector<uint32_t> w = Words(row[0]);
    EXPECT_EQ(BitsOf(NormalsFromWords({w[0], w[1], w[2], w[3]})), Words(row[1])) << row;
  }
}

TEST_F(NoiseVectorsTest, Streams) {
  for (const json& row : vectors_["streams"]) {
    std::vector<float> wanted;
    if (row.contains("numbers")) {
      wanted = Floats(row["numbers"]);
    } else {
      for (const char sign : row["signs"].get<std::string>()) {
        wanted.push_back(sign == '+' ? 1.0f : -1.0f);
      }
    }
    std::vector<float> made(wanted.size());
    const NoiseStream stream = {static_cast<NoiseDomain>(row["domain"].get<int>()),
                                row["pair"].get<uint32_t>(), row["generation"].get<uint32_t>()};
    const PhiloxRoundKeys keys(KeyOfSeed(Decimal(row["seed"])));
    ForEachTarget([&] {
      DrawNumbers(keys, stream, Decimal(row["begin"]), 1.0f, made);
      EXPECT_EQ(BitsOf(made), BitsOf(wanted)) << row;
    });
  }
}

TEST_F(NoiseVectorsTest, DataSeeds) {
  for (const json& row : vectors_["data_seeds"]) {
    EXPECT_EQ(DataSeed(Decimal(row["seed"]), row["generation"].get<uint32_t>()),
              Decimal(row["data_seed"]));
  }
}

TEST_F(NoiseVectorsTest, DisplacementsAndPoints) {
  const std::vector<float> w = Floats(vectors_["parameters"]);
  for (const json& row : vectors_["displacements"]) {
    const Perturbation perturbation = Of(row);
    const Draw draw = {.generation = row["generation"].get<uint32_t>(),
                       .pair = row["pair"].get<uint32_t>()};
    const float sigma = Floats(row["sigma"])[0];
    std::vector<float> made(w.size());
    ForEachTarget([&] {
      perturbation.Displacement(draw, sigma, 0, made);
      EXPECT_EQ(BitsOf(made), Words(row["displacement"])) << row;
      if (!row.contains("plus")) return;
      perturbation.Perturb(draw, sigma, 0, w, made);
      EXPECT_EQ(BitsOf(made), Words(row["plus"])) << row;
      perturbation.Perturb(draw, -sigma, 0, w, made);
      EXPECT_EQ(BitsOf(made), Words(row["minus"])) << row;
    });
  }
}

TEST_F(NoiseVectorsTest, Estimates) {
  for (const json& row : vectors_["estimates"]) {
    const Perturbation perturbation = Of(row);
    const std::vector<float> w = Floats(row["weights"]);
    std::vector<PairWeight> weights;
    for (size_t i = 0; i < w.size(); ++i) {
      weights.push_back({.pair = row["pairs"][i].get<uint32_t>(), .weight = w[i]});
    }
    std::vector<float> made(perturbation.num_elements());
    ForEachTarget([&] {
      perturbation.Estimate(row["generation"].get<uint32_t>(), weights, Double(row["factor"]), 0,
                            made);
      EXPECT_EQ(BitsOf(made), Words(row["gradient"])) << row;
    });
  }
}

}  // namespace
}  // namespace talweg::core
