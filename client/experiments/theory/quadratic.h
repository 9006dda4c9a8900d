// SPDX-License-Identifier: Apache-2.0
//
// A quadratic with known curvature, and what theory says about descending it.
//
//   f(x) = 1/2 sum_i lambda_i x_i^2
//
// Its minimum is zero, at zero, because there float32 keeps its relative precision all the way
// down. A turned quadratic would give the same steps: none of these rules looks at the axes.
//
// The rules in their classical form, with v = 0 at first:
//
//   v <- beta v - eta grad f(p)      x <- x + v      p = x, or p = x + beta v if `lookahead`
//
// Constants for mu <= lambda_i <= L, with k = L / mu:
//
//   rule                        eta                      beta                        contraction
//   gradient descent, fastest   2 / (L + mu)             0                           (k-1)/(k+1)
//   gradient descent, safe      1 / L                    0                           1 - 1/k
//   heavy ball, fastest         4/(sqrt L + sqrt mu)^2   ((sqrt k-1)/(sqrt k+1))^2   sqrt beta
//   heavy ball, safe            1 / L                    (1 - 1/sqrt k)^2            sqrt beta
//   Nesterov                    1 / L                    (sqrt k-1)/(sqrt k+1)       1 - 1/sqrt k
//
// Sources: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
// Comp. Math. and Math. Phys. 4(5), 1964 (both fastest rules); Y. Nesterov, "Introductory Lectures
// on Convex Optimization", 2004, theorem 2.1.15 (gradient descent) and scheme 2.2.9 (constant
// momentum). The safe heavy ball is the one with eta = 1/L whose slowest direction is critically
// damped.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace talweg {

// A value.
struct Quadratic {
  std::vector<double> eigenvalues;  // lambda_i > 0

  double Loss(absl::Span<const float> x) const;
  void Gradient(absl::Span<const float> x, absl::Span<float> gradient) const;
};

// `count` (>= 2) values from `low` to `high`, both > 0, each the same factor above the one before.
std::vector<double> LogSpaced(double low, double high, size_t count);

struct DescentRule {
  double eta = 0;
  double beta = 0;
  bool lookahead = false;
};

DescentRule FastestGradientDescent(double mu, double l);
DescentRule SafeGradientDescent(double l);
DescentRule FastestHeavyBall(double mu, double l);
DescentRule SafeHeavyBall(double mu, double l);
DescentRule StronglyConvexNesterov(double mu, double l);

// Learning rate and beta of a server that averages, m <- beta m + (1 - beta) g, x <- x - rate m:
// there v = -rate m, so rate = eta / (1 - beta).
double AveragingRate(const DescentRule& rule);

// The factor by which a coordinate of curvature `lambda` is multiplied in `step` steps. In closed
// form: with
// e_{t+1} = a e_t - b e_{t-1},  rho = sqrt b  and  U the Chebyshev polynomials of the second kind,
//   e_t / e_0 = (a - b) rho^(t-1) U_{t-1}(a / 2 rho) - b rho^(t-2) U_{t-2}(a / 2 rho).
double ErrorFactor(const DescentRule& rule, double lambda, uint64_t step);
// The root of z^2 = a z - b that is larger in magnitude: the factor per step in the long run.
double Contraction(const DescentRule& rule, double lambda);

// The first step at which theory has the loss at or below `share` of the first loss, or
// `max_steps`.
uint64_t PredictedSteps(const DescentRule& rule, const Quadratic& quadratic,
                        absl::Span<const float> start, double share, uint64_t max_steps);

}  // namespace talweg
