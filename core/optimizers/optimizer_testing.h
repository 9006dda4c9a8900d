// SPDX-License-Identifier: Apache-2.0
//
// For tests only: parameters that an optimizer steps, and its state as a list.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/optimizers/optimizer.h"

namespace talweg::core {

// Takes step `number` of the whole vector in place.
inline void StepInPlace(Optimizer& optimizer, uint64_t number, double learning_rate,
                        const std::vector<float>& gradient, std::vector<float>& parameters) {
  optimizer.BeginStep({number, learning_rate});
  optimizer.Apply({0, parameters.size()}, gradient, parameters, absl::MakeSpan(parameters));
}

// What VisitState names, copied.
struct NamedState : StateVisitor {
  std::vector<std::pair<std::string, std::vector<float>>> slots;
  std::vector<std::pair<std::string, double>> scalars;

  void Slot(absl::string_view name, absl::Span<float> values) override {
    slots.emplace_back(std::string(name), std::vector<float>(values.begin(), values.end()));
  }
  void Scalar(absl::string_view name, double& value) override {
    scalars.emplace_back(std::string(name), value);
  }
};

inline NamedState StateOf(Optimizer& optimizer) {
  NamedState state;
  optimizer.VisitState(state);
  return state;
}

// Writes a NamedState into an optimizer of the same method and configuration, in order.
class StateWriter : public StateVisitor {
 public:
  explicit StateWriter(const NamedState& state) : state_(state) {}

  void Slot(absl::string_view name, absl::Span<float> values) override {
    const auto& [saved_name, saved] = state_.slots.at(next_slot_++);
    TALWEG_CHECK(name == saved_name && values.size() == saved.size());
    std::copy(saved.begin(), saved.end(), values.begin());
  }
  void Scalar(absl::string_view name, double& value) override {
    const auto& [saved_name, saved] = state_.scalars.at(next_scalar_++);
    TALWEG_CHECK(name == saved_name);
    value = saved;
  }

 private:
  const NamedState& state_;
  size_t next_slot_ = 0;
  size_t next_scalar_ = 0;
};

inline void Restore(const NamedState& state, Optimizer& optimizer) {
  StateWriter writer(state);
  optimizer.VisitState(writer);
}

}  // namespace talweg::core
