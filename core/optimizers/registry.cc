// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/registry.h"

#include <algorithm>

#include "core/optimizers/adagrad.h"
#include "core/optimizers/adam.h"
#include "core/optimizers/adamw.h"
#include "core/optimizers/gradient_descent.h"
#include "core/optimizers/kfac.h"
#include "core/optimizers/lamb.h"
#include "core/optimizers/lion.h"
#include "core/optimizers/momentum.h"
#include "core/optimizers/muon.h"
#include "core/optimizers/nadam.h"
#include "core/optimizers/nesterov.h"
#include "core/optimizers/rmsprop.h"

namespace talweg::core {
namespace {

// The row of a class O that has `O::Configuration`, `static uint64_t O::StateBytes(const
// Configuration&, const ParameterSpace&)` and a constructor `O(const Configuration&, const
// ParameterSpace&)`.
template <class O>
constexpr Method Row(absl::string_view name, double default_decay = 0,
                     absl::Span<const absl::string_view> tensor_roles = {},
                     bool takes_layers = false) {
  using C = typename O::Configuration;
  return {name,
          []() -> std::unique_ptr<Config> { return std::make_unique<ConfigOf<C>>(); },
          [](const Config& config, const ParameterSpace& space) {
            return O::StateBytes(ValueOf<C>(config), space);
          },
          [](const Config& config, const ParameterSpace& space) -> std::unique_ptr<Optimizer> {
            return std::make_unique<O>(ValueOf<C>(config), space);
          },
          default_decay,
          tensor_roles,
          takes_layers};
}

constexpr Method kMethods[] = {
    Row<GradientDescent>("gradient_descent"),
    Row<Momentum>("momentum"),
    Row<Nesterov>("nesterov"),
    Row<Adagrad>("adagrad"),
    Row<Rmsprop>("rmsprop"),
    Row<Adam>("adam"),
    Row<AdamW>("adamw", kAdamWDecay),
    Row<Nadam>("nadam"),
    Row<Lion>("lion"),
    Row<Lamb>("lamb", /*default_decay=*/0.01),
    Row<Muon>("muon", /*default_decay=*/0.1, Muon::kTensorRoles),
    Row<Kfac>("kfac", /*default_decay=*/0, /*tensor_roles=*/{}, /*takes_layers=*/true),
};

}  // namespace

absl::Span<const Method> Methods() { return kMethods; }

std::optional<TensorRole> Method::FindRole(absl::string_view role) const {
  const auto found = std::find(tensor_roles.begin(), tensor_roles.end(), role);
  if (found == tensor_roles.end()) return std::nullopt;
  return static_cast<TensorRole>(found - tensor_roles.begin() + 1);
}

const Method* FindMethod(absl::string_view name) {
  for (const Method& method : kMethods) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

}  // namespace talweg::core
