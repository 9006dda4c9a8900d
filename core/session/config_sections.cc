// SPDX-License-Identifier: Apache-2.0
//
// The table of sections, and beside each section the rules that its fields cannot say alone.
#include "core/session/config_sections.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/session/run_series.h"

namespace talweg::core {
namespace {

absl::Status Fixed(absl::string_view message, absl::string_view field) {
  return MakeError(Reason::kFieldImmutable, message, field);
}

// ---- optimizer ----

bool ChooseMethod(absl::string_view name, SectionValue& value) {
  const Method* method = FindMethod(name);
  if (method == nullptr) return false;
  value.kind = method->name;
  value.kind_fields = method->default_config();
  return true;
}

SectionView ViewOptimizer(const SessionConfig& config) {
  return {.fields = nullptr,
          .kind = config.method->name,
          .kind_fields = config.optimizer.get(),
          .entries = {}};
}

void SetOptimizer(SectionValue value, SessionConfig& config) {
  config.method = FindMethod(value.kind);
  config.optimizer = std::move(value.kind_fields);
}

uint64_t OptimizerBytes(const SessionConfig& config) {
  return config.method->state_bytes(*config.optimizer, config.Space());
}

// Losses before and after a step are of the same samples only if one round follows another.
absl::Status ResolveOptimizer(SessionConfig& config) {
  if (!config.method->takes_layers) return absl::OkStatus();
  const FieldValue every = config.optimizer->Get("adapt_every");
  if (every == FieldValue(uint64_t{0}) || config.aggregation.value().synchronous()) {
    return absl::OkStatus();
  }
  return MakeError(Reason::kFieldOutOfRange,
                   "adapt_every needs the mode SYNCHRONOUS: elsewhere other steps come between the "
                   "two losses",
                   absl::StrCat("optimizer.", config.method->name, ".adapt_every"));
}

bool IsPlainDescent(const SessionConfig& config) {
  return config.method->name == "gradient_descent";
}

// ---- schedule ----

bool ChooseDecay(absl::string_view name, SectionValue& value) {
  const DecayKind* kind = FindDecayKind(name);
  if (kind == nullptr) return false;
  value.kind = kind->name;
  value.kind_fields = kind->default_config();
  return true;
}

SectionView ViewSchedule(const SessionConfig& config) {
  return {.fields = &config.schedule.rate(),
          .kind = config.schedule.kind().name,
          .kind_fields = &config.schedule.decay_config(),
          .entries = {}};
}

void SetSchedule(SectionValue value, SessionConfig& config) {
  config.schedule = Schedule(ConfigOf<RateConfig>(ValueOf<RateConfig>(*value.fields)),
                             *FindDecayKind(value.kind), std::move(value.kind_fields));
}

absl::Status CheckAskedSchedule(const SessionConfig& config) {
  return PrefixField(config.schedule.CheckWarmup(), "schedule");
}

// ---- sections that are one struct ----

template <auto kMember>
using HolderOf = std::remove_reference_t<decltype(std::declval<SessionConfig&>().*kMember)>;

// The row of a section that is only a ConfigOf<C> in SessionConfig.
template <auto kMember>
constexpr Section Plain(absl::string_view name) {
  using Holder = HolderOf<kMember>;
  using C = std::remove_cvref_t<decltype(std::declval<Holder>().value())>;
  return {
      .name = name,
      .default_fields = [](const SessionConfig&) -> std::unique_ptr<Config> {
        return std::make_unique<Holder>();
      },
      .view =
          [](const SessionConfig& config) {
            SectionView view;
            view.fields = &(config.*kMember);
            return view;
          },
      .set = [](SectionValue value,
                SessionConfig& config) { config.*kMember = Holder(ValueOf<C>(*value.fields)); }};
}

// Refuses what would need another memory than the session was charged for.
absl::Status CheckAggregation(const SessionConfig& from, const SessionConfig& to) {
  const AggregationConfig& before = from.aggregation.value();
  const AggregationConfig& after = to.aggregation.value();
  if (before.stages_all() && before.max_workers != after.max_workers) {
    return Fixed("max_workers is fixed where contributions are staged",
                 "config.aggregation.max_workers");
  }
  if ((before.gradient_accumulation_steps > 1) != (after.gradient_accumulation_steps > 1)) {
    return Fixed("whether gradients are accumulated is fixed",
                 "config.aggregation.gradient_accumulation_steps");
  }
  return absl::OkStatus();
}

uint64_t AggregationBytes(const SessionConfig& config) {
  const AggregationConfig& aggregation = config.aggregation.value();
  return aggregation.RoundBytes(config.layout->num_elements()) + aggregation.RecordBytes();
}

constexpr Section AggregationSection() {
  Section section = Plain<&SessionConfig::aggregation>("aggregation");
  section.check_change = CheckAggregation;
  section.memory_bytes = AggregationBytes;
  return section;
}

// Some methods have a decay in their definition.
std::unique_ptr<Config> DefaultWeightDecay(const SessionConfig& config) {
  return std::make_unique<ConfigOf<WeightDecayConfig>>(
      WeightDecayConfig{.coupled = 0, .decoupled = config.method->default_decay});
}

constexpr Section WeightDecaySection() {
  Section section = Plain<&SessionConfig::weight_decay>("weight_decay");
  section.default_fields = DefaultWeightDecay;
  return section;
}

absl::Status CheckAverage(const SessionConfig& from, const SessionConfig& to) {
  if ((from.average.value().decay > 0) == (to.average.value().decay > 0)) return absl::OkStatus();
  return Fixed("whether an average is kept is fixed", "config.average.decay");
}

uint64_t AverageBytes(const SessionConfig& config) {
  return config.average.value().decay > 0 ? 2 * config.layout->num_elements() * sizeof(float) : 0;
}

constexpr Section AverageSection() {
  Section section = Plain<&SessionConfig::average>("average");
  section.check_change = CheckAverage;
  section.memory_bytes = AverageBytes;
  return section;
}

// ---- groups ----

SectionView ViewGroups(const SessionConfig& config) {
  SectionView view;
  view.entries.reserve(config.groups.size());
  for (const ParameterGroup& group : config.groups) {
    view.entries.push_back({group.tensors, &group.config});
  }
  return view;
}

void SetGroups(SectionValue value, SessionConfig& config) {
  config.groups.clear();
  config.groups.reserve(value.entries.size());
  for (SectionValue::Entry& entry : value.entries) {
    config.groups.push_back(
        {std::move(entry.key), ConfigOf<GroupConfig>(ValueOf<GroupConfig>(*entry.fields))});
  }
}

absl::Status ResolveGroups(SessionConfig& config) {
  TALWEG_ASSIGN_OR_RETURN(GroupMap map, GroupMap::Create(*config.layout, config.groups));
  for (size_t index = 0; index < config.groups.size(); ++index) {
    const absl::StatusOr<absl::string_view> role = RoleAskedFor(config.groups[index].config);
    if (!role.ok()) return PrefixField(role.status(), absl::StrCat("groups[", index, "]"));
    if (role->empty() || config.method->FindRole(*role).has_value()) continue;
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("method ", config.method->name, " has no ", *role, " rule"),
                     absl::StrCat("groups[", index, "].", *role));
  }
  config.group_map = std::make_shared<const GroupMap>(std::move(map));
  return absl::OkStatus();
}

// The groups may change, but the roles of tensors may not, because the method's state depends on
// them. Both configurations have the same layout and method.
absl::Status CheckGroups(const SessionConfig& from, const SessionConfig& to) {
  const std::vector<TensorRole> before = from.Space().roles;
  const std::vector<TensorRole> after = to.Space().roles;
  const auto [left, right] = std::mismatch(before.begin(), before.end(), after.begin());
  if (left == before.end()) return absl::OkStatus();
  const TensorRole named = *left == kUsualRole ? *right : *left;
  const absl::string_view role = from.method->tensor_roles[named - 1];
  return Fixed(absl::StrCat("which tensors take the ", role, " rule is fixed"), "config.groups");
}

uint64_t GroupBytes(const SessionConfig& config) {
  uint64_t bytes = config.groups.empty() ? 0 : config.group_map->memory_bytes();
  for (const ParameterGroup& group : config.groups) bytes += sizeof(group) + group.tensors.size();
  return bytes;
}

// ---- layers ----

SectionView ViewLayers(const SessionConfig& config) {
  SectionView view;
  view.entries.reserve(config.layers.size());
  for (const NamedLayer& layer : config.layers) {
    view.entries.push_back({layer.weight, &layer.config});
  }
  return view;
}

void SetLayers(SectionValue value, SessionConfig& config) {
  config.layers.clear();
  config.layers.reserve(value.entries.size());
  for (SectionValue::Entry& entry : value.entries) {
    config.layers.push_back(
        {std::move(entry.key), ConfigOf<LayerConfig>(ValueOf<LayerConfig>(*entry.fields))});
  }
}

absl::Status ResolveLayers(SessionConfig& config) {
  if (!config.layers.empty() && !config.method->takes_layers) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("method ", config.method->name, " uses no layers"), "layers");
  }
  if (!config.layers.empty() && config.searches()) {
    return MakeError(Reason::kFieldOutOfRange,
                     "a session that searches gets no statistics, which layers are for", "layers");
  }
  TALWEG_ASSIGN_OR_RETURN(LayerTable table, FindLayers(*config.layout, config.layers));
  config.layer_table = std::make_shared<const LayerTable>(std::move(table));
  return absl::OkStatus();
}

absl::Status CheckAskedLayers(const SessionConfig& config) {
  if (!config.method->takes_layers || !config.layers.empty()) return absl::OkStatus();
  return MakeError(Reason::kFieldRequired,
                   absl::StrCat("method ", config.method->name,
                                " needs layers: without them every tensor would take its fallback"),
                   "layers");
}

absl::Status CheckLayers(const SessionConfig& from, const SessionConfig& to) {
  const SectionView before = ViewLayers(from);
  const SectionView after = ViewLayers(to);
  const auto same = [](const SectionView::Entry& a, const SectionView::Entry& b) {
    const std::vector<FieldInfo> fields = a.fields->Fields();
    return a.key == b.key && std::all_of(fields.begin(), fields.end(), [&](const FieldInfo& field) {
             return a.fields->Get(field.name) == b.fields->Get(field.name);
           });
  };
  if (std::equal(before.entries.begin(), before.entries.end(), after.entries.begin(),
                 after.entries.end(), same)) {
    return absl::OkStatus();
  }
  return Fixed("a session's layers are fixed", "config.layers");
}

// The sums and the mean of the statistics that came for the next version.
uint64_t LayerBytes(const SessionConfig& config) {
  constexpr uint64_t kBytesPerElement = 2 * sizeof(double) + sizeof(float);
  return NumStatistics(config.layer_table->layers) * kBytesPerElement;
}

// ---- search ----

// An estimate under the tutorial's own rule has the tutorial's unit; every other rule expects a
// gradient.
std::unique_ptr<Config> DefaultSearch(const SessionConfig& config) {
  SearchConfig defaults;
  if (!IsPlainDescent(config)) defaults.scale = EstimateScale::kGradient;
  return std::make_unique<ConfigOf<SearchConfig>>(defaults);
}

absl::Status OutOfRange(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kFieldOutOfRange, why, field);
}

// IF_BETTER promises the point that was measured: nothing may be done to the step.
absl::Status CheckKeepsPoint(const SessionConfig& config) {
  constexpr absl::string_view kWhy =
      "acceptance IF_BETTER moves to the point that was measured, and so needs ";
  if (!IsPlainDescent(config)) {
    return OutOfRange("optimizer", absl::StrCat(kWhy, "gradient_descent"));
  }
  const RateConfig& rate = config.schedule.rate().value();
  if (config.schedule.kind().name != "constant" || rate.learning_rate != 1 ||
      rate.warmup_steps != 0) {
    return OutOfRange("schedule", absl::StrCat(kWhy, "the constant learning rate 1"));
  }
  const ClippingConfig& clipping = config.clipping.value();
  if (clipping.max_norm > 0 || clipping.max_value > 0) {
    return OutOfRange("clipping", absl::StrCat(kWhy, "no clipping"));
  }
  const WeightDecayConfig& decay = config.weight_decay.value();
  if (decay.coupled > 0 || decay.decoupled > 0) {
    return OutOfRange("weight_decay", absl::StrCat(kWhy, "no decay"));
  }
  if (!config.groups.empty()) return OutOfRange("groups", absl::StrCat(kWhy, "no groups"));
  return absl::OkStatus();
}

// A session that searches has no rounds, so of their policy it uses the leases of workers alone.
absl::Status ResolveSearch(SessionConfig& config) {
  if (!config.searches()) return absl::OkStatus();
  AggregationConfig used;
  used.lease_seconds = config.aggregation.value().lease_seconds;
  used.max_workers = config.aggregation.value().max_workers;
  const ConfigOf<AggregationConfig> expected(used);
  for (const FieldInfo& field : expected.Fields()) {
    if (expected.Get(field.name) == config.aggregation.Get(field.name)) continue;
    return OutOfRange(absl::StrCat("aggregation.", field.name),
                      absl::StrCat(field.name, " is for rounds, and the session searches"));
  }
  return config.search.value().keeps_best() ? CheckKeepsPoint(config) : absl::OkStatus();
}

uint64_t SearchBytes(const SessionConfig& config) {
  if (!config.searches()) return 0;
  return config.search.value().MemoryBytes() + RunSeries::kCapacity * sizeof(SearchNumbers);
}

constexpr Section SearchSection() {
  Section section = Plain<&SessionConfig::search>("search");
  section.default_fields = DefaultSearch;
  section.is_said = [](const SessionConfig& config) { return config.searches(); };
  section.resolve = ResolveSearch;
  section.memory_bytes = SearchBytes;
  return section;
}

// ---- the table ----

constexpr Section kSections[] = {
    {.name = "optimizer",
     .needed = "a session needs an optimizer",
     .kinds = "method",
     .choose_kind = ChooseMethod,
     .view = ViewOptimizer,
     .set = SetOptimizer,
     .fixed_kind = "a session's method is fixed",
     .resolve = ResolveOptimizer,
     .memory_bytes = OptimizerBytes},
    {.name = "schedule",
     .needed = "a session needs a schedule",
     .default_fields = [](const SessionConfig&) -> std::unique_ptr<Config> {
       return std::make_unique<ConfigOf<RateConfig>>();
     },
     .kinds = "decay",
     .default_kind = "constant",
     .choose_kind = ChooseDecay,
     .view = ViewSchedule,
     .set = SetSchedule,
     .check_asked = CheckAskedSchedule},
    AggregationSection(),
    Plain<&SessionConfig::clipping>("clipping"),
    WeightDecaySection(),
    AverageSection(),
    {.name = "groups",
     .default_entry = []() -> std::unique_ptr<Config> {
       return std::make_unique<ConfigOf<GroupConfig>>();
     },
     .entry_key = "tensors",
     .view = ViewGroups,
     .set = SetGroups,
     .resolve = ResolveGroups,
     .check_change = CheckGroups,
     .memory_bytes = GroupBytes},
    Plain<&SessionConfig::digests>("digests"),
    SearchSection(),
    {.name = "layers",
     .default_entry = []() -> std::unique_ptr<Config> {
       return std::make_unique<ConfigOf<LayerConfig>>();
     },
     .entry_key = "weight",
     .is_said = [](const SessionConfig& config) { return !config.layers.empty(); },
     .view = ViewLayers,
     .set = SetLayers,
     .resolve = ResolveLayers,
     .check_asked = CheckAskedLayers,
     .check_change = CheckLayers,
     .memory_bytes = LayerBytes},
};

}  // namespace

absl::Span<const Section> Sections() { return kSections; }

const Section* FindSection(absl::string_view name) {
  for (const Section& section : kSections) {
    if (section.name == name) return &section;
  }
  return nullptr;
}

SectionValue DefaultsOf(const Section& section, const SessionConfig& config) {
  SectionValue value;
  if (section.default_fields != nullptr) value.fields = section.default_fields(config);
  if (!section.default_kind.empty()) {
    TALWEG_CHECK(section.choose_kind(section.default_kind, value));
  }
  return value;
}

SessionConfig BlankConfig(std::shared_ptr<const Layout> layout) {
  const DecayKind& kind = DecayKinds().front();
  return {std::move(layout),
          nullptr,
          nullptr,
          Schedule(ConfigOf<RateConfig>(), kind, kind.default_config()),
          {}};
}

}  // namespace talweg::core
