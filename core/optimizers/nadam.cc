// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/nadam.h"

#include <cmath>

#include "core/base/shard.h"
#include "core/kernels/nadam_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {

double PowerOfPoint96(double exponent) {
  // ln 0.96. A power below 2^-1900 is 0, and so is the power of every larger exponent, infinity
  // included.
  constexpr double kLog = -0x1.4e69ed6d80eaep-5;
  if (!(exponent < 32768)) return 0;
  double x = exponent * kLog;
  int halvings = 0;
  for (; x < -0.5; x *= 0.5) ++halvings;
  // e^x by Taylor: the first term that is left out is below 0.5^16 / 16! = 2^-60.
  double power = 1;
  for (int term = 15; term > 0; --term) power = 1 + x / term * power;
  // Each squaring doubles the relative error, while the power itself, of which a step sees the
  // absolute error, shrinks faster.
  for (; halvings > 0; --halvings) power *= power;
  return power;
}

uint64_t Nadam::StateBytes(const NadamConfig&, const ParameterSpace& space) {
  return space.num_elements() * sizeof(float) * 2;
}

Nadam::Nadam(const NadamConfig& config, const ParameterSpace& space)
    : config_(config), m_(space.num_elements()), v_(space.num_elements()) {}

void Nadam::Configure(const Config& config) { config_ = ValueOf<NadamConfig>(config); }

void Nadam::BeginStep(uint64_t number) {
  const auto mu_of = [this](uint64_t t) {
    const double faded = PowerOfPoint96(static_cast<double>(t) * config_.momentum_decay);
    return config_.beta1 * (1 - 0.5 * faded);
  };
  mu_ = mu_of(number);
  next_mu_ = mu_of(number + 1);
  mu_product_ *= mu_;
  beta2_product_ *= config_.beta2;
}

void Nadam::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                  absl::Span<const float> from, absl::Span<float> to) {
  const double eta = rates.learning_rate;
  const NadamCoefficients step = {
      .keep_m = ToFloat(config_.beta1),
      .take_m = ToFloat(1 - config_.beta1),
      .keep_v = ToFloat(config_.beta2),
      .take_v = ToFloat(1 - config_.beta2),
      .rate_g = ToFloat(eta * (1 - mu_) / (1 - mu_product_)),
      .rate_m = ToFloat(eta * next_mu_ / (1 - mu_product_ * next_mu_)),
      .root_scale = ToFloat(1 / std::sqrt(1 - beta2_product_)),  // rounded alike everywhere
      .epsilon = ToEpsilon(config_.epsilon),
      .keep = KeepOf(rates)};
  NadamUpdate(step, ChooseStores(from, to), gradient, View(from, shard), View(to, shard),
              View(m_.span(), shard), View(v_.span(), shard));
}

void Nadam::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Slot("v", v_.span());
  visitor.Scalar("mu_product", mu_product_);
  visitor.Scalar("beta2_product", beta2_product_);
}

}  // namespace talweg::core
