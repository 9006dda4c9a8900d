// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/quadratic.h"

#include <algorithm>
#include <cmath>

namespace talweg {
namespace {

// e_{t+1} = a e_t - b e_{t-1}, with e_{-1} = e_0.
struct Recurrence {
  double a = 0;
  double b = 0;  // >= 0
};

Recurrence RecurrenceOf(const DescentRule& rule, double lambda) {
  const double kept = 1 - rule.eta * lambda;
  if (rule.lookahead) return {kept * (1 + rule.beta), kept * rule.beta};
  return {kept + rule.beta, rule.beta};
}

// rho^n U_n(c), n >= -1: the solution of that recurrence which is 0 at n = -1 and 1 at n = 0. Large
// powers are taken in logarithms, so that rho^n and U_n do not leave the range one by one.
double ScaledChebyshev(double rho, double c, double n) {
  const double sign = c < 0 && std::fmod(n, 2) != 0 ? -1 : 1;
  const double x = std::abs(c);
  const double power = std::exp(n * std::log(rho));
  if (x < 1) {
    const double theta = std::acos(x);
    return sign * power * std::sin((n + 1) * theta) / std::sin(theta);
  }
  const double phi = std::acosh(x);
  if (phi < 1e-9) return sign * power * (n + 1);
  return sign * std::exp(n * (std::log(rho) + phi)) * std::expm1(-2 * (n + 1) * phi) /
         std::expm1(-2 * phi);
}

}  // namespace

double Quadratic::Loss(absl::Span<const float> x) const {
  double sum = 0;
  for (size_t i = 0; i < eigenvalues.size(); ++i) sum += eigenvalues[i] * x[i] * x[i];
  return sum / 2;
}

void Quadratic::Gradient(absl::Span<const float> x, absl::Span<float> gradient) const {
  for (size_t i = 0; i < eigenvalues.size(); ++i) {
    gradient[i] = static_cast<float>(eigenvalues[i] * x[i]);
  }
}

std::vector<double> LogSpaced(double low, double high, size_t count) {
  std::vector<double> values;
  for (size_t i = 0; i < count; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(count - 1);
    values.push_back(low * std::pow(high / low, share));
  }
  return values;
}

DescentRule FastestGradientDescent(double mu, double l) { return {2 / (l + mu), 0, false}; }

DescentRule SafeGradientDescent(double l) { return {1 / l, 0, false}; }

DescentRule FastestHeavyBall(double mu, double l) {
  const double sum = std::sqrt(l) + std::sqrt(mu);
  const double root = (std::sqrt(l) - std::sqrt(mu)) / sum;
  return {4 / (sum * sum), root * root, false};
}

DescentRule SafeHeavyBall(double mu, double l) {
  const double root = 1 - std::sqrt(mu / l);
  return {1 / l, root * root, false};
}

DescentRule StronglyConvexNesterov(double mu, double l) {
  const double root = std::sqrt(l / mu);
  return {1 / l, (root - 1) / (root + 1), true};
}

double AveragingRate(const DescentRule& rule) { return rule.eta / (1 - rule.beta); }

double ErrorFactor(const DescentRule& rule, double lambda, uint64_t step) {
  const auto [a, b] = RecurrenceOf(rule, lambda);
  const double t = static_cast<double>(step);
  if (step == 0) return 1;
  if (b <= 0) return std::pow(a, t);
  const double rho = std::sqrt(b);
  const double c = a / (2 * rho);
  return (a - b) * ScaledChebyshev(rho, c, t - 1) - b * ScaledChebyshev(rho, c, t - 2);
}

double Contraction(const DescentRule& rule, double lambda) {
  const auto [a, b] = RecurrenceOf(rule, lambda);
  const double square = a * a - 4 * b;
  if (square <= 0) return std::sqrt(b);
  return (std::abs(a) + std::sqrt(square)) / 2;
}

uint64_t PredictedSteps(const DescentRule& rule, const Quadratic& quadratic,
                        absl::Span<const float> start, double share, uint64_t max_steps) {
  const double goal = share * quadratic.Loss(start);
  for (uint64_t step = 0; step < max_steps; ++step) {
    double loss = 0;
    for (size_t i = 0; i < start.size(); ++i) {
      const double error = start[i] * ErrorFactor(rule, quadratic.eigenvalues[i], step);
      loss += quadratic.eigenvalues[i] * error * error / 2;
    }
    if (loss <= goal) return step;
  }
  return max_steps;
}

}  // namespace talweg
