// SPDX-License-Identifier: Apache-2.0
//
// The interface of every method of the catalogue: state that takes steps over the flat vector.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/base/layout.h"
#include "core/base/shard.h"
#include "core/base/state_visitor.h"
#include "core/curvature/curvature.h"
#include "core/curvature/kronecker_layer.h"
#include "core/members/answer.h"
#include "core/members/step.h"

namespace talweg::core {

// What a tensor is to its method. The method's row lists the names of its roles
// (Method::tensor_roles): role i > 0 is the name i - 1 of that list, and role 0 is the usual one,
// which every method has and which has no name.
using TensorRole = uint8_t;
inline constexpr TensorRole kUsualRole = 0;

// What is optimized.
struct ParameterSpace {
  std::shared_ptr<const Layout> layout;
  std::vector<TensorRole> roles;            // By tensor. Empty: every tensor has the usual role.
  std::vector<KroneckerLayer> layers = {};  // that the session names; each tensor is in one at most

  uint64_t num_elements() const { return layout->num_elements(); }
  TensorRole RoleOf(size_t tensor) const { return roles.empty() ? kUsualRole : roles[tensor]; }
};

// The rates by which the elements of a group are stepped.
struct StepRates {
  double learning_rate = 0;  // eta of this step
  double decay = 0;          // decoupled weight decay: W loses eta * decay of itself
  double coupled = 0;        // coupled decay: the gradient has this much of W in it already
};

// The rates of a tensor; null if the tensor is frozen and must be left alone.
using RatesOfTensor = absl::FunctionRef<const StepRates*(size_t tensor)>;

// A step is: BeginStep; then Apply for every element that is not frozen, closed by EndPass(0); then
// the method's passes one after the other, each closed by EndPass. Thread-compatible, except that
// Apply may run on disjoint shards, and RunTask on different tasks of a pass, at the same time.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Takes other hyper-parameters, of the method's own config type and with the same fixed fields,
  // from the next BeginStep on.
  virtual void Configure(const Config& config) = 0;

  // Opens step `number`, which makes the version of that number and is counted from 1. The method
  // does here what it does once per step and not once per element.
  virtual void BeginStep(uint64_t number) = 0;

  // Takes the open step for the elements of `shard`, whose gradient is `gradient`, [shard.size()]:
  // reads version v from `from`, and writes v + 1 to `to`. The two may be the same span, except if
  // passes follow; otherwise they do not overlap. A visible version is never written to. `from` and
  // `to` are the whole session, [num_elements], 64-byte aligned. A shard consists of whole pieces:
  // a piece is what a block (core/base/shard.h) and a run of tensors of one group have in common.
  // Any cut into such shards gives the same bits.
  virtual void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                     absl::Span<const float> from, absl::Span<float> to) = 0;

  // How many passes over whole tensors follow, for methods that look at more than one element.
  virtual size_t NumPasses() const { return 0; }
  // How many tasks pass `pass` has. They may run at the same time; there may be none.
  virtual size_t NumTasks(size_t /*pass*/) const { return 0; }
  virtual void RunTask(size_t /*pass*/, size_t /*task*/, RatesOfTensor /*rates*/,
                       absl::Span<const float> /*from*/, absl::Span<float> /*to*/) {}
  // Called when all calls of Apply (`pass` 0), or all tasks of pass `pass - 1`, have returned.
  virtual void EndPass(size_t /*pass*/) {}

  // The lookahead is the point at which the gradient of the coming step is to be taken; with most
  // methods that point is the parameters themselves. Lookahead writes it to `to` for the elements
  // of `shard`, from the parameters `from` and the rates of that step. It may be called only
  // between steps.
  virtual bool HasLookahead() const { return false; }
  virtual void Lookahead(const StepRates& /*coming*/, Shard /*shard*/,
                         absl::Span<const float> /*from*/, absl::Span<float> /*to*/) const {}

  // What the method keeps of the curvature; null if it takes no statistics. The next three
  // functions are only for a method that has one.
  virtual Curvature* curvature() { return nullptr; }
  // What a contribution told of an earlier step, before BeginStep of the step that the contribution
  // is part of.
  virtual void TakeLossChange(const LossChange& /*change*/) {}
  // What to tell of the step that has ended, as far as the method knows.
  virtual CurvatureNumbers CurvatureReport() const { return {}; }
  // Begins a refresh of the inverses beside the steps, between two steps.
  virtual std::unique_ptr<InverseRefresh> TakeRefresh() { return nullptr; }

  // Bytes that a step needs beside slots and parameters. All of them are taken at creation.
  virtual uint64_t ScratchBytes() const { return 0; }

  // Names each slot and each scalar once, always in the same order.
  virtual void VisitState(StateVisitor& visitor) = 0;
};

}  // namespace talweg::core
