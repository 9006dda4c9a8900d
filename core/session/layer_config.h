// SPDX-License-Identifier: Apache-2.0
//
// The layers that a session names, for methods that use the curvature of whole layers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/base/layout.h"
#include "core/curvature/kronecker_layer.h"

namespace talweg::core {

inline constexpr absl::string_view kOrientationNames[] = {"OUT_IN", "IN_OUT"};
inline constexpr absl::string_view kSharingNames[] = {"NONE", "EXPAND", "REDUCE"};

struct LayerConfig {
  std::string bias;  // name of its tensor; empty: the layer has none
  Orientation orientation = Orientation::kOutIn;
  Sharing sharing = Sharing::kNone;
  static auto Fields() {
    using C = LayerConfig;
    return std::tuple{
        TextField<C>{"bias", &C::bias, Layout::kMaxNameBytes},
        ChoiceField<C, Orientation>{"orientation", &C::orientation, kOrientationNames,
                                    Change::kFixed},
        ChoiceField<C, Sharing>{"sharing", &C::sharing, kSharingNames, Change::kFixed}};
  }
};

struct NamedLayer {
  std::string weight;  // name of its tensor
  ConfigOf<LayerConfig> config;
};

// Sides beyond this take hours to invert.
inline constexpr uint64_t kMaxFactorSide = 32768;

// The layers of a session, which never change.
struct LayerTable {
  std::vector<std::string> weights;    // the names of their weights
  std::vector<KroneckerLayer> layers;  // in the same order
};

// Finds the tensors of each layer. Fails with FIELD_OUT_OF_RANGE, naming the field
// ("layers[2].bias"), if there is no such tensor, if its shape does not fit, if a tensor is named
// twice, or if a factor would have more than kMaxFactorSide rows.
absl::StatusOr<LayerTable> FindLayers(const Layout& layout, absl::Span<const NamedLayer> layers);

}  // namespace talweg::core
