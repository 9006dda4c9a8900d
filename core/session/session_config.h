// SPDX-License-Identifier: Apache-2.0
//
// What a session is told to do, resolved: its layout, method, schedule, policy and settings of a
// step.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/field.h"
#include "core/base/layout.h"
#include "core/optimizers/registry.h"
#include "core/rounds/aggregation_config.h"
#include "core/schedules/schedule.h"
#include "core/search/search_config.h"
#include "core/session/layer_config.h"
#include "core/session/parameter_groups.h"

namespace talweg::core {

// Clipping comes before everything else that is done to a gradient: first by norm, then by value.
struct ClippingConfig {
  double max_norm = 0;   // Euclidean, of everything that is trained; 0: no clipping
  double max_value = 0;  // of an element; 0: no clipping
  static auto Fields() {
    return std::tuple{Field{"max_norm", &ClippingConfig::max_norm, AtLeast(0)},
                      Field{"max_value", &ClippingConfig::max_value, AtLeast(0)}};
  }
};

struct WeightDecayConfig {
  double coupled = 0;    // this much of W is added to the clipped gradient
  double decoupled = 0;  // W loses eta times this much of itself
  static auto Fields() {
    return std::tuple{Field{"coupled", &WeightDecayConfig::coupled, AtLeast(0)},
                      Field{"decoupled", &WeightDecayConfig::decoupled, AtLeast(0)}};
  }
};

// An exponential moving average of the parameters, kept beside them.
struct WeightAverageConfig {
  double decay = 0;  // share of the average kept at each step; 0: no average is kept
  static auto Fields() {
    return std::tuple{Field{"decay", &WeightAverageConfig::decay, HalfOpen(0, 1)}};
  }
};

// When a step computes the digest of the state that it makes (state_digest.h).
struct DigestConfig {
  uint64_t every_steps = 0;  // at each version that this number divides; 0: at none
  static auto Fields() {
    return std::tuple{Field{"every_steps", &DigestConfig::every_steps, Closed(0, 1e9)}};
  }
  // Whether the step that makes `version` computes a digest.
  bool IsDue(uint64_t version) const { return every_steps > 0 && version % every_steps == 0; }
};

// A value; copies share what never changes. config_sections.h has these members as a list.
struct SessionConfig {
  std::shared_ptr<const Layout> layout;
  const Method* method;
  std::shared_ptr<const Config> optimizer;  // of the method's own type, valid
  Schedule schedule;
  ConfigOf<AggregationConfig> aggregation;
  ConfigOf<ClippingConfig> clipping = {};
  ConfigOf<WeightDecayConfig> weight_decay = {};
  ConfigOf<WeightAverageConfig> average = {};
  std::vector<ParameterGroup> groups = {};
  ConfigOf<DigestConfig> digests = {};
  ConfigOf<SearchConfig> search = {};
  std::vector<NamedLayer> layers = {};
  std::shared_ptr<const GroupMap> group_map = {};      // of `groups` over `layout`
  std::shared_ptr<const LayerTable> layer_table = {};  // of `layers` in `layout`

  // Checks what no field can say alone, and makes `group_map` and `layer_table`. Fails with
  // FIELD_OUT_OF_RANGE, naming the field ("groups[1].fallback").
  absl::Status Resolve();

  // Checks what a client may not ask for, although a saved state may say it, because earlier
  // versions allowed it. Fails with HYPERPARAMETER_OUT_OF_RANGE or FIELD_OUT_OF_RANGE, naming the
  // field ("schedule.cosine.total_steps"). Only after Resolve.
  absl::Status CheckAsked() const;

  // The layout and the roles of its tensors, which the method is made for. Only after Resolve.
  ParameterSpace Space() const;
  // How many elements of the parameters are in no frozen group. Only after Resolve.
  uint64_t NumTrained() const;
  bool searches() const { return search.value().searches(); }
  // Whether contributions may bring statistics. Only after Resolve.
  bool takes_statistics() const { return !layer_table->layers.empty(); }

  // Bytes that the session needs: slots, two versions of the parameters, one staged gradient, sums
  // of gradients and the average if they are kept, the groups and their map, the names and shapes
  // of the layout, and the records of its run and its versions. Of everything that may change live,
  // only the groups change this number.
  uint64_t MemoryBytes() const;
};

// Whether a live session may change from `from` to `to`: the layout, the method and the fixed
// fields must be equal. Fails with FIELD_IMMUTABLE, naming the field
// ("config.optimizer.adam.dialect").
absl::Status CheckLiveChange(const SessionConfig& from, const SessionConfig& to);

// Whether both say the same.
bool SameConfig(const SessionConfig& a, const SessionConfig& b);

}  // namespace talweg::core
