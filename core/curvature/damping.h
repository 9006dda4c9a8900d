// SPDX-License-Identifier: Apache-2.0
//
// How the damping lambda of a layer is shared out between its two Kronecker factors, A of the
// inputs and S of the output derivatives:
//
//   F + lambda I  is replaced by  (A + pi sqrt(lambda) I) (x) (S + sqrt(lambda) / pi I)
//
//   TRACE   pi = sqrt((tr A / dim A) / (tr S / dim S))
//   OFF     pi = 1
//
// Beside lambda I the product has the terms pi sqrt(lambda) I (x) S and sqrt(lambda) / pi A (x) I,
// which nobody asked for; TRACE makes their traces equal, and so the sum of them least. With
// A = 2 I_3 and S = 5 I_7, pi = sqrt(2/5).
//
// A factor whose trace is 0, negative or not finite has no size that could be balanced: pi is 1. It
// is kept within [2^-20, 2^20], so that neither factor is left without damping.
//
// Source: Martens, Grosse 2015, arXiv:1503.05671, section 6.3.
#pragma once

#include <cstddef>
#include <cstdint>

namespace talweg::core {

enum class PiRule : uint8_t { kTrace, kOff };

// The trace of a factor and its number of rows.
struct FactorSize {
  double trace = 0;
  size_t rows = 0;  // > 0
};

double PiOf(PiRule rule, FactorSize inputs, FactorSize outputs);

// What is added to the diagonal of each factor.
struct FactorDamping {
  double inputs = 0;
  double outputs = 0;
};

// `lambda` is finite and >= 0.
FactorDamping ShareDamping(double lambda, double pi);

}  // namespace talweg::core
