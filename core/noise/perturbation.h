// SPDX-License-Identifier: Apache-2.0
//
// The random displacements of a search without gradients, each a pure function of (seed,
// generation, pair, element), and the sum over pairs that estimates the gradient.
//
// The parameters are one flat vector of tensors in layout order, row-major. A displacement is
//
//   DENSE        dW_i = sigma * number i
//   LOW_RANK(r)  for a matrix [m, n]: dW = sigma / sqrt(r) A B^T
//                for any other tensor: sigma times one number per element
//
// A matrix takes r (m + n) numbers: first A, [r, m], then B, [r, n]. Tensors take their numbers one
// after the other.
//
// Numbers are standard normals or fair signs, drawn from a domain of their own for each of these
// four cases. All arithmetic is float32, rounded after every operation, in an order that
// proto/NOISE.md fixes; so the bits are the same on every machine and however the vector is cut.
//
// What an estimate is worth. Let E be the displacement for sigma = 1, L(W) = <G, W> a linear loss
// of one matrix [m, n], d = m n, and g = 1/M sum_p <G, E_p> E_p the estimate from M pairs. In every
// case the elements of E are uncorrelated and have variance 1, so the expectation of g is G. Around
// it, in Frobenius norms,
//
//   E |g - G|^2 = c |G|^2 / M,   c =  d + 1                        DENSE, normals
//                                     d - 1                        DENSE, signs
//                                     d + 1 + 2 (m + n + 1) / r    LOW_RANK(r), normals
//                                     d + 1 - 2 / r                LOW_RANK(r), signs
//
// because E |<G, E> E|^2 = 1/r^2 sum over k, k', l, l' of the expectation of
// (a_k G b_k) (a_k' G b_k') (a_l a_l') (b_l b_l'), which is |G|^2 times
//   m n                for k = k', l = l' other than k                     r (r - 1) times
//   (m + 2) (n + 2)    for k = k' = l = l' (with signs: m n)               r times
//   1                  for k, k' different and l, l' the same two          2 r (r - 1) times
// and 0 otherwise. With several tensors, d is the number of all elements, and the term in r of each
// matrix counts by its share of |G|^2. So rank 1 costs a matrix of 512 x 512 0.8 % more pairs than
// DENSE does, for the same error; and with signs, nothing.
//
// Source: Sarkar et al. 2025, arXiv:2511.16652 (low rank); Salimans et al. 2017, arXiv:1703.03864
// (antithetic pairs).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/noise/pair_weight.h"
#include "core/noise/philox.h"
#include "core/noise/stream.h"

namespace talweg::core {

// A tensor of the layout. `rows` is 0 for a tensor of fewer than two dimensions; otherwise the
// tensor is the matrix [rows, num_elements / rows].
struct TensorExtent {
  uint64_t num_elements = 0;
  uint64_t rows = 0;
};

// Which displacement.
struct Draw {
  uint32_t generation = 0;
  uint32_t pair = 0;
};

// What selects the data on which a generation is evaluated, a number below 2^53. Both signs of all
// pairs of the generation see the same data.
uint64_t DataSeed(uint64_t seed, uint32_t generation);

// Immutable; all functions may be called from any thread. They allocate at most 1 MiB, and only for
// matrices of low rank.
class Perturbation {
 public:
  // `rank` 0 is DENSE, any other number LOW_RANK(rank). The tensors lie one after the other.
  Perturbation(uint64_t seed, NoiseScheme scheme, uint32_t rank, std::vector<TensorExtent> tensors);

  uint64_t num_elements() const { return num_elements_; }
  // How many numbers one displacement draws.
  uint64_t num_numbers() const { return num_numbers_; }

  // to[i] = dW[begin + i]; begin + to.size() <= num_elements().
  void Displacement(Draw draw, float sigma, uint64_t begin, std::span<float> to) const;

  // to[i] = from[i] + dW[begin + i], the plus point. With -sigma it is the minus point, from[i] -
  // dW[begin + i] with the dW of sigma. `from` has the size of `to`, and may be `to`.
  void Perturb(Draw draw, float sigma, uint64_t begin, std::span<const float> from,
               std::span<float> to) const;

  // to[i] = factor times the sum over `weights` of w_p times element begin + i of the displacement
  // p of sigma 1. `weights` is in ascending order of the pairs; if it is empty, the sum is 0.
  //
  // Costs about what drawing costs: num_numbers() numbers per pair, and for a matrix of low rank a
  // product and a sum per element, pair and rank. There, spans of many whole rows cost least
  // (low_rank_sum.h).
  void Estimate(uint32_t generation, std::span<const PairWeight> weights, double factor,
                uint64_t begin, std::span<float> to) const;

  // The factors of tensor `tensor`, which must be a matrix, and `rank` > 0: a [rank, rows] and
  // b [rank, cols], without sigma / sqrt(rank).
  void Factors(Draw draw, size_t tensor, std::span<float> a, std::span<float> b) const;

  // What A is multiplied with in the displacement of a matrix: float32(sigma / sqrt(rank)). For
  // `rank` > 0.
  float ScaleOf(float sigma) const;

 private:
  struct Tensor {
    uint64_t begin, end;    // of the flat vector
    uint64_t first_number;  // of each stream
    uint64_t rows, cols;    // 0 if the tensor has one number per element
  };

  NoiseDomain domain() const;
  NoiseStream StreamOf(Draw draw) const { return {domain(), draw.pair, draw.generation}; }
  // Calls at(tensor, begin and end within the tensor, position of begin in the span) for each
  // tensor that shares elements with [begin, begin + size).
  template <class At>
  void ForEachPart(uint64_t begin, size_t size, const At& at) const;

  PhiloxRoundKeys keys_;
  NoiseScheme scheme_;
  uint32_t rank_;
  std::vector<Tensor> tensors_;  // DENSE: one, which is the whole vector
  uint64_t num_elements_ = 0;
  uint64_t num_numbers_ = 0;
};

}  // namespace talweg::core
