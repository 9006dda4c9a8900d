// SPDX-License-Identifier: Apache-2.0
//
// What holds for every section of a configuration, and for every field of each.
#include "core/session/session_config.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/session/config_sections.h"
#include "core/session/saved_states_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SectionValue CopyOf(const SectionView& view) {
  SectionValue value;
  if (view.fields != nullptr) value.fields = view.fields->Clone();
  value.kind = view.kind;
  if (view.kind_fields != nullptr) value.kind_fields = view.kind_fields->Clone();
  for (const SectionView::Entry& entry : view.entries) {
    value.entries.push_back({std::string(entry.key), entry.fields->Clone()});
  }
  return value;
}

// Another value of a field that has more than one.
void Change(Config& config, const FieldInfo& field) {
  const FieldValue before = config.Get(field.name);
  std::vector<FieldValue> others = {0.5, 0.25, 2.0, uint64_t{1}, uint64_t{2}, true, false};
  for (const Dialect dialect : {Dialect::kTorch, Dialect::kKeras}) others.emplace_back(dialect);
  for (const absl::Span<const absl::string_view> names :
       {absl::MakeConstSpan(AggregationConfig::kModes),
        absl::MakeConstSpan(AggregationConfig::kCloseRules),
        absl::MakeConstSpan(AggregationConfig::kTooFew),
        absl::MakeConstSpan(AggregationConfig::kReductions),
        absl::MakeConstSpan(AggregationConfig::kReduceOrders),
        absl::MakeConstSpan(AggregationConfig::kStaleScales),
        absl::MakeConstSpan(SearchConfig::kMethods), absl::MakeConstSpan(SearchConfig::kNoises),
        absl::MakeConstSpan(SearchConfig::kPerturbations),
        absl::MakeConstSpan(SearchConfig::kDifferences),
        absl::MakeConstSpan(SearchConfig::kBaselines),
        absl::MakeConstSpan(SearchConfig::kAcceptances),
        absl::MakeConstSpan(SearchConfig::kShapings), absl::MakeConstSpan(SearchConfig::kScales),
        absl::MakeConstSpan(SearchConfig::kDirections), absl::MakeConstSpan(SearchConfig::kCloses),
        absl::MakeConstSpan(SearchConfig::kNonFinites)}) {
    for (const absl::string_view name : names) others.emplace_back(Choice{name});
  }
  for (const FieldValue& other : others) {
    if (other.index() != before.index() || other == before) continue;
    if (config.Set(field.name, other).ok()) return;
  }
  FAIL() << "no other value of " << field.name;
}

// Those of the stories, and one that searches.
std::vector<SessionConfig> Configs() {
  std::vector<SessionConfig> configs;
  for (const SavedStory& story : SavedStories()) configs.push_back(story.config());
  configs.push_back(SearchingConfig());
  return configs;
}

// Calls at(path, field, changed) for each field of `config`, changed alone, of the sections that
// say anything before or after.
template <class At>
void ForEachChange(const SessionConfig& config, const At& at) {
  for (const Section& section : Sections()) {
    const std::string name(section.name);
    const auto change = [&](const std::string& path, auto config_in) {
      SectionValue whole = CopyOf(section.view(config));
      if (config_in(whole) == nullptr) return;
      for (const FieldInfo& field : config_in(whole)->Fields()) {
        SectionValue value = CopyOf(section.view(config));
        Change(*config_in(value), field);
        SessionConfig changed = config;
        section.set(std::move(value), changed);
        if (!section.IsSaid(config) && !section.IsSaid(changed)) continue;
        at(absl::StrCat(path, ".", field.name), field, changed);
      }
    };
    const SectionView view = section.view(config);
    change(name, [](SectionValue& value) { return value.fields.get(); });
    change(absl::StrCat(name, ".", view.kind),
           [](SectionValue& value) { return value.kind_fields.get(); });
    for (size_t index = 0; index < view.entries.size(); ++index) {
      change(absl::StrCat(name, "[", index, "]"),
             [index](SectionValue& value) { return value.entries[index].fields.get(); });
    }
  }
}

TEST(SessionConfigTest, EveryFieldOfEverySectionMakesAConfigurationAnother) {
  for (const SessionConfig& config : Configs()) {
    EXPECT_TRUE(SameConfig(config, SessionConfig(config)));
    size_t changes = 0;
    ForEachChange(config, [&](const std::string& path, const FieldInfo&, SessionConfig& changed) {
      EXPECT_FALSE(SameConfig(config, changed)) << path;
      EXPECT_FALSE(SameConfig(changed, config)) << path;
      ++changes;
    });
    EXPECT_GT(changes, 20u);
  }
  SessionConfig other = StoryConfig("muon");
  other.groups.pop_back();
  EXPECT_FALSE(SameConfig(StoryConfig("muon"), other));
  other = StoryConfig("muon");
  other.groups[0].tensors = "ma*";
  EXPECT_FALSE(SameConfig(StoryConfig("muon"), other));
}

TEST(SessionConfigTest, FieldsOfASearchThatIsNoneMakeNoDifference) {
  // The default of the scale depends on the method; a state that lacks the section has it.
  SessionConfig other = StoryConfig("adam");
  SearchConfig search;
  search.scale = EstimateScale::kGradient;
  other.search = ConfigOf<SearchConfig>(search);
  EXPECT_TRUE(SameConfig(StoryConfig("adam"), other));
}

TEST(SessionConfigTest, OnlyFixedFieldsOfASectionAreFixed) {
  for (const SessionConfig& config : Configs()) {
    ForEachChange(
        config, [&](const std::string& path, const FieldInfo& field, SessionConfig& changed) {
          if (path.find("groups[") == 0) {
            const bool is_role = field.name == "fallback" && !config.method->tensor_roles.empty();
            ASSERT_TRUE(changed.Resolve().ok()) << path;
            EXPECT_EQ(FieldName(CheckLiveChange(config, changed)), is_role ? "config.groups" : "")
                << path;
            return;
          }
          const absl::Status status = CheckLiveChange(config, changed);
          const std::set<std::string> rules = {"aggregation.gradient_accumulation_steps"};
          // A change from 0 changes whether there is an average.
          const bool is_fixed = field.change == Change::kFixed || rules.count(path) > 0 ||
                                (path == "average.decay" && config.average.value().decay == 0);
          EXPECT_EQ(FieldName(status), is_fixed ? "config." + path : "") << path;
          EXPECT_EQ(ReasonName(status), is_fixed ? "FIELD_IMMUTABLE" : "") << path;
        });
  }
}

TEST(SessionConfigTest, ScheduleMayChangeItsKindButAnOptimizerMayNot) {
  const SessionConfig config = StoryConfig("adam");
  SessionConfig changed = config;
  const DecayKind& constant = *FindDecayKind("constant");
  changed.schedule = Schedule(config.schedule.rate(), constant, constant.default_config());
  EXPECT_TRUE(CheckLiveChange(config, changed).ok());
  EXPECT_FALSE(SameConfig(config, changed));
  changed = config;
  changed.method = FindMethod("adamw");
  changed.optimizer = changed.method->default_config();
  const absl::Status status = CheckLiveChange(config, changed);
  EXPECT_EQ(FieldName(status), "config.optimizer");
  EXPECT_EQ(std::string(status.message()), "a session's method is fixed: this one is adam");
}

TEST(SessionConfigTest, EveryTensorHasTheRoleThatItsGroupAsksFor) {
  const SessionConfig config = StoryConfig("muon");
  EXPECT_THAT(config.Space().roles, ElementsAre(0, *config.method->FindRole("fallback"), 0, 0));
  EXPECT_THAT(StoryConfig("adam").Space().roles, IsEmpty());
}

TEST(SessionConfigTest, RolesOfTensorsAreFixedHoweverGroupsChange) {
  const SessionConfig config = StoryConfig("muon");
  SessionConfig changed = config;
  changed.groups = {{"head", config.groups[1].config}};
  ASSERT_TRUE(changed.Resolve().ok());
  EXPECT_TRUE(CheckLiveChange(config, changed).ok());
  for (const bool more : {false, true}) {
    changed = config;
    changed.groups = {};
    if (more) changed.groups = {{"*a*", config.groups[1].config}};
    ASSERT_TRUE(changed.Resolve().ok());
    const absl::Status status = CheckLiveChange(config, changed);
    EXPECT_EQ(FieldName(status), "config.groups");
    EXPECT_EQ(std::string(status.message()), "which tensors take the fallback rule is fixed");
  }
}

TEST(SessionConfigTest, RoleThatTheMethodLacksIsRefused) {
  SessionConfig config = StoryConfig("adam");
  config.groups = {{"w", StoryConfig("muon").groups[1].config}};
  const absl::Status status = config.Resolve();
  EXPECT_EQ(FieldName(status), "groups[0].fallback");
  EXPECT_EQ(std::string(status.message()), "method adam has no fallback rule");
}

TEST(SectionsTest, NamesAreUniqueAndFound) {
  std::set<absl::string_view> names;
  for (const Section& section : Sections()) {
    EXPECT_TRUE(names.insert(section.name).second) << section.name;
    EXPECT_EQ(FindSection(section.name), &section);
  }
  EXPECT_EQ(FindSection("layout"), nullptr);
}

}  // namespace
}  // namespace talweg::core
