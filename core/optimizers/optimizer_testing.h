// SPDX-License-Identifier: Apache-2.0
//
// For tests only: parameters that an optimizer steps, and its state as a list.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/optimizers/optimizer.h"

namespace talweg::core {

// A layout of `num_elements` (> 0): tall and wide matrices, a stack of small matrices, vectors and
// scalars, as far as they fit.
inline ParameterSpace SpaceOf(size_t num_elements) {
  std::vector<TensorSpec> tensors;
  size_t left = num_elements;
  const auto add = [&](std::vector<uint64_t> shape) {
    uint64_t size = 1;
    for (const uint64_t dimension : shape) size *= dimension;
    if (size > left) return;
    left -= size;
    tensors.push_back({"t" + std::to_string(tensors.size()), std::move(shape)});
  };
  add({});
  add({96, 40});
  add({5});
  add({17, 130});
  add({3, 2});
  add({8, 4, 3, 3});
  add({64, 64});
  if (left > 0) add({left});
  return {std::make_shared<const Layout>(*Layout::Create(std::move(tensors))), {}};
}

// Takes step `number` of the whole vector with the same rates for all elements. Apply, and then the
// passes, go through `cut(num_indices, job)`, which calls job(index) for each index.
template <class Cut>
void TakeStep(Optimizer& optimizer, uint64_t number, const StepRates& rates, size_t shard_elements,
              const Cut& cut, absl::Span<const float> gradient, absl::Span<const float> from,
              absl::Span<float> to) {
  optimizer.BeginStep(number);
  cut(NumShards(to.size(), shard_elements), [&](size_t index) {
    const Shard shard = ShardAt(index, to.size(), shard_elements);
    optimizer.Apply(rates, shard, gradient.subspan(shard.begin, shard.size()), from, to);
  });
  optimizer.EndPass(0);
  const auto rates_of = [&](size_t) { return &rates; };
  for (size_t pass = 0; pass < optimizer.NumPasses(); ++pass) {
    cut(optimizer.NumTasks(pass),
        [&](size_t task) { optimizer.RunTask(pass, task, rates_of, from, to); });
    optimizer.EndPass(pass + 1);
  }
}

// The same in one piece: steps out of place and copies the result back.
inline void StepInPlace(Optimizer& optimizer, uint64_t number, const StepRates& rates,
                        const std::vector<float>& gradient, std::vector<float>& parameters) {
  std::vector<float> next(parameters.size());
  TakeStep(
      optimizer, number, rates, (parameters.size() + kBlock - 1) / kBlock * kBlock,
      [](size_t num_indices, const auto& job) {
        for (size_t index = 0; index < num_indices; ++index) job(index);
      },
      gradient, parameters, absl::MakeSpan(next));
  parameters = std::move(next);
}
inline void StepInPlace(Optimizer& optimizer, uint64_t number, double learning_rate,
                        const std::vector<float>& gradient, std::vector<float>& parameters) {
  StepInPlace(optimizer, number, StepRates{learning_rate, 0}, gradient, parameters);
}

// A copy of everything that VisitState names.
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
