// SPDX-License-Identifier: Apache-2.0
#include "core/session/layer_config.h"

#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::core {
namespace {

absl::Status OutOfRange(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kFieldOutOfRange, why, field);
}

// Finds tensors by name, each once.
class TensorFinder {
 public:
  explicit TensorFinder(const Layout& layout) {
    for (size_t index = 0; index < layout.tensors().size(); ++index) {
      index_of_[layout.tensors()[index].name] = index;
    }
  }

  absl::StatusOr<size_t> Find(const std::string& name, absl::string_view field) {
    const auto found = index_of_.find(name);
    if (found == index_of_.end()) {
      return OutOfRange(field, absl::StrCat("the layout has no tensor \"", name, "\""));
    }
    if (!taken_.insert(found->second).second) {
      return OutOfRange(field, absl::StrCat("tensor \"", name, "\" is part of two layers"));
    }
    return found->second;
  }

 private:
  absl::flat_hash_map<absl::string_view, size_t> index_of_;
  std::set<size_t> taken_;
};

absl::StatusOr<KroneckerLayer> FindLayer(const Layout& layout, const NamedLayer& named,
                                         TensorFinder& finder) {
  const LayerConfig& config = named.config.value();
  KroneckerLayer layer;
  layer.orientation = config.orientation;
  layer.sharing = config.sharing;
  TALWEG_ASSIGN_OR_RETURN(layer.weight, finder.Find(named.weight, "weight"));
  const std::vector<uint64_t>& shape = layout.tensors()[layer.weight].shape;
  if (shape.size() < 2) {
    return OutOfRange("weight", absl::StrCat("tensor \"", named.weight, "\" has ", shape.size(),
                                             " dimensions, a weight has 2 or more"));
  }
  layer.outputs = layer.orientation == Orientation::kOutIn ? shape.front() : shape.back();
  layer.inputs = layout.size_of(layer.weight) / layer.outputs;
  if (!config.bias.empty()) {
    TALWEG_ASSIGN_OR_RETURN(const size_t bias, finder.Find(config.bias, "bias"));
    if (layout.size_of(bias) != layer.outputs) {
      return OutOfRange("bias",
                        absl::StrCat("tensor \"", config.bias, "\" has ", layout.size_of(bias),
                                     " elements, the layer has ", layer.outputs, " outputs"));
    }
    layer.bias = bias;
  }
  for (const size_t factor : {0, 1}) {
    if (layer.side(factor) <= kMaxFactorSide) continue;
    return OutOfRange("weight",
                      absl::StrCat("a factor of tensor \"", named.weight, "\" would have ",
                                   layer.side(factor), " rows, allowed: up to ", kMaxFactorSide));
  }
  return layer;
}

}  // namespace

absl::StatusOr<LayerTable> FindLayers(const Layout& layout, absl::Span<const NamedLayer> layers) {
  TensorFinder finder(layout);
  LayerTable table;
  for (const NamedLayer& named : layers) {
    absl::StatusOr<KroneckerLayer> layer = FindLayer(layout, named, finder);
    if (!layer.ok()) {
      return PrefixField(layer.status(), absl::StrCat("layers[", table.layers.size(), "]"));
    }
    table.weights.push_back(named.weight);
    table.layers.push_back(*layer);
  }
  return table;
}

}  // namespace talweg::core
