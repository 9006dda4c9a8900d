// SPDX-License-Identifier: Apache-2.0
//
// A method names its state once; code that saves, loads, exports or measures the state walks that
// list.
#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg::core {

class StateVisitor {
 public:
  virtual ~StateVisitor() = default;
  // Whether the visitor loads a state that does not go on with the slot `name`, as states of
  // earlier versions may: what stands in its place is then read by its earlier name, or nothing is.
  virtual bool Lacks(absl::string_view /*name*/) { return false; }
  // A slot: numbers that the method keeps between steps, in any quantity. The span is the slot
  // itself: code that saves reads the span, code that loads writes it.
  virtual void Slot(absl::string_view name, absl::Span<float> values) = 0;
  // A single number that the method keeps between steps, such as the running product of beta1.
  virtual void Scalar(absl::string_view name, double& value) = 0;
};

}  // namespace talweg::core
