// SPDX-License-Identifier: Apache-2.0
//
// For tests only: the definition of displacements and estimates, one element at a time and as
// proto/NOISE.md writes it. It shares nothing with the code under test except the scalar
// generators.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/noise/normal.h"
#include "core/noise/pair_weight.h"
#include "core/noise/perturbation.h"
#include "core/noise/philox.h"
#include "gtest/gtest.h"

namespace talweg::core {

struct PlainPerturbation {
  uint64_t seed;
  bool signs;
  uint32_t rank;  // 0: dense
  std::vector<TensorExtent> tensors;

  // Number `index` of the stream.
  float Number(uint32_t generation, uint32_t pair, uint64_t index) const {
    const uint32_t domain = signs ? (rank == 0 ? 3 : 4) : (rank == 0 ? 0 : 2);
    const uint64_t block = index / (signs ? 128 : 4);
    const PhiloxWords words =
        Philox({static_cast<uint32_t>(block), domain << 16 | static_cast<uint32_t>(block >> 32),
                pair, generation},
               {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    if (!signs) return NormalsFromWords(words)[index % 4];
    return (words[index % 128 / 32] >> index % 32 & 1) != 0 ? -1.0f : 1.0f;
  }

  // Where an element finds its numbers: one, or A_ki at a + k rows and B_kj at b + k cols.
  struct Place {
    bool matrix = false;
    uint64_t a = 0, b = 0;
    uint64_t rows = 0, cols = 0;
  };
  Place PlaceOf(uint64_t element) const {
    if (rank == 0) return {.a = element};
    uint64_t number = 0;
    for (const TensorExtent& tensor : tensors) {
      const bool matrix = tensor.rows > 0;
      const uint64_t cols = matrix ? tensor.num_elements / tensor.rows : 0;
      if (element < tensor.num_elements) {
        if (!matrix) return {.a = number + element};
        const uint64_t b = number + rank * tensor.rows;
        return {true, number + element / cols, b + element % cols, tensor.rows, cols};
      }
      element -= tensor.num_elements;
      number += matrix ? rank * (tensor.rows + cols) : tensor.num_elements;
    }
    ADD_FAILURE() << "no such element";
    return {};
  }

  float Displacement(Draw draw, float sigma, uint64_t element) const {
    const Place place = PlaceOf(element);
    if (!place.matrix) return sigma * Number(draw.generation, draw.pair, place.a);
    const float scale =
        static_cast<float>(static_cast<double>(sigma) / std::sqrt(static_cast<double>(rank)));
    float sum = 0;
    for (uint32_t k = 0; k < rank; ++k) {
      const float a = Number(draw.generation, draw.pair, place.a + k * place.rows);
      const float b = Number(draw.generation, draw.pair, place.b + k * place.cols);
      const float scaled = scale * a;
      const float product = scaled * b;
      sum = sum + product;
    }
    return sum;
  }

  float Estimate(uint32_t generation, std::span<const PairWeight> weights, double factor,
                 uint64_t element) const {
    const Place place = PlaceOf(element);
    double total = 0;
    for (size_t i = 0; i < weights.size();) {
      const uint32_t run = weights[i].pair / 64;
      float sum = 0;
      for (; i < weights.size() && weights[i].pair / 64 == run; ++i) {
        const auto [pair, weight] = weights[i];
        if (!place.matrix) {
          const float product = weight * Number(generation, pair, place.a);
          sum = sum + product;
          continue;
        }
        for (uint32_t k = 0; k < rank; ++k) {
          const float scaled = weight * Number(generation, pair, place.a + k * place.rows);
          const float product = scaled * Number(generation, pair, place.b + k * place.cols);
          sum = sum + product;
        }
      }
      total = total + static_cast<double>(sum);
    }
    if (place.matrix) factor = factor / std::sqrt(static_cast<double>(rank));
    return static_cast<float>(total * factor);
  }
};

}  // namespace talweg::core
