// SPDX-License-Identifier: Apache-2.0
//
// A session follows torch: warm-up, clipping by norm and by value, weight decay, parameter groups
// and frozen tensors, in torch's order. make_session_golden.py made the trajectories of
// session.json, by torch in float32, or in float64 if torch.optim lacks the method, the dialect
// or the kind of decay.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/optimizers/variants_testing.h"
#include "core/session/session.h"
#include "core/session/session_testing.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_testing.h"

namespace talweg::core {
namespace {

constexpr uint64_t kHistory = 1;
const absl::Time kNow = absl::UnixEpoch();

// In ulp of the largest parameter, argued as in golden_test.cc. What the session does to a gradient
// before the method sees it is rounded by 2^-24 of the gradient: little beside a W that is rounded
// once a step. Nor does it matter that torch takes norms in float32.
constexpr double kUlpOfTorch = 4;
constexpr double kUlpOfFloat64 = 8;

template <class C>
ConfigOf<C> FieldsOf(const Json& values) {
  ConfigOf<C> config;
  SetFields(values, config);
  return config;
}

SessionConfig ConfigOfCase(const Json& file, const Json& golden_case) {
  std::vector<TensorSpec> tensors;
  for (const Json& tensor : file["tensors"]) tensors.push_back({tensor["name"], tensor["shape"]});
  const Method* method = FindMethod(golden_case["method"].get<std::string>());
  TALWEG_CHECK(method != nullptr);
  auto optimizer = method->default_config();
  SetFields(golden_case["optimizer"], *optimizer);
  const RateConfig rate = {golden_case["learning_rate"], golden_case["warmup_steps"]};
  const DecayKind& kind = *FindDecayKind("constant");
  SessionConfig config{std::make_shared<const Layout>(*Layout::Create(std::move(tensors))),
                       method,
                       std::move(optimizer),
                       Schedule(ConfigOf<RateConfig>(rate), kind, kind.default_config()),
                       {}};
  config.clipping = FieldsOf<ClippingConfig>(golden_case["clipping"]);
  config.weight_decay = FieldsOf<WeightDecayConfig>(golden_case["weight_decay"]);
  for (Json group : golden_case["groups"]) {
    const std::string pattern = group["tensors"];
    group.erase("tensors");
    config.groups.push_back({pattern, FieldsOf<GroupConfig>(group)});
  }
  TALWEG_CHECK(config.Resolve().ok());
  return config;
}

StepReport Step(Session& session, const std::vector<float>& gradient) {
  StagedGradient staged(gradient.size());
  staged.Begin(session.config().group_map);
  staged.Stage({0, gradient.size()}, Dtype::kFloat32,
               reinterpret_cast<const char*>(gradient.data()));
  const uint64_t version = session.machine().version();
  ContributionInput input{Contribution{kHistory, "worker", 1, version + 1, version}};
  input.contribution.ticket = version + 1;
  input.gradient = Borrow(staged);
  const Contributed done = ContributeAndRun(session, std::move(input), kNow);
  TALWEG_CHECK(done.ended.step.has_value());
  return *done.ended.effects.released.front().answer.report;
}

// Whether clipping by norm has taken hold in some steps and not in others.
struct Clipped {
  bool sometimes = false, not_always = false;
};

void Follow(const Json& file, const Json& golden_case, double& worst) {
  const SessionConfig config = ConfigOfCase(file, golden_case);
  const size_t size = config.layout->num_elements();
  Generator generator(golden_case["seed"].get<uint64_t>());
  const std::vector<float> start = generator.Start(size);
  auto initial = std::make_shared<Parameters>(size);
  std::copy(start.begin(), start.end(), initial->values.data());
  Session session(config, kHistory, initial);
  ASSERT_TRUE(session.Handle(Join{"worker", 1}, kNow).effects.status.ok());
  double largest = 0;
  for (const float value : start) largest = std::max<double>(largest, std::abs(value));
  const double allowed = golden_case["source"] == "torch" ? kUlpOfTorch : kUlpOfFloat64;
  const std::vector<size_t> elements = file["elements"];
  Clipped clipped;
  for (size_t step = 1; step <= file["num_steps"].get<size_t>(); ++step) {
    std::vector<float> gradient = generator.Gradient(size, step);
    for (float& value : gradient) value = std::ldexp(value, static_cast<int>(step % 4) - 1);
    const StepReport report = Step(session, gradient);
    (report.clip_factor < 1 ? clipped.sometimes : clipped.not_always) = true;
    const auto expected_at = golden_case["parameters"].find(std::to_string(step));
    if (expected_at == golden_case["parameters"].end()) continue;
    const std::vector<double> expected = *expected_at;
    ASSERT_EQ(expected.size(), elements.size());
    for (const double value : expected) largest = std::max(largest, std::abs(value));
    for (size_t i = 0; i < elements.size(); ++i) {
      const float got = session.parameters()->values.data()[elements[i]];
      const double ulp = std::abs(got - expected[i]) / UlpOf(largest);
      worst = std::max(worst, ulp);
      EXPECT_LE(ulp, allowed) << "element " << elements[i] << " after step " << step << " is "
                              << got << ", expected " << expected[i];
    }
  }
  const Json& groups = golden_case["groups"];
  const bool clips = golden_case["clipping"].contains("max_norm") ||
                     std::any_of(groups.begin(), groups.end(),
                                 [](const Json& g) { return g.contains("max_norm"); });
  EXPECT_TRUE(clipped.not_always);
  EXPECT_EQ(clipped.sometimes, clips);
}

TEST(SessionGoldenTest, EveryCaseIsFollowed) {
  const Json file = GoldenFile("session");
  ASSERT_TRUE(file.is_object());
  std::map<std::string, double> worst;
  for (const Json& golden_case : file["cases"]) {
    Json told = golden_case;
    told.erase("parameters");
    SCOPED_TRACE(told.dump());
    const std::string method = golden_case["method"];
    const std::string source = golden_case["source"];
    Follow(file, golden_case, worst[absl::StrCat(method, " against ", source)]);
  }
  for (const auto& [what, ulp] : worst) {
    std::printf("session of %s: worst %.2f ulp\n", what.c_str(), ulp);
  }
}

using Names = std::set<std::string>;

// The fields of `config` that are not at their defaults, after `prefix`.
void AddSet(const Config& config, const std::string& prefix, Names& names) {
  for (const FieldInfo& field : config.Fields()) {
    if (config.Get(field.name) != field.default_value)
      names.insert(absl::StrCat(prefix, field.name));
  }
}

void AddAll(const Config& config, const std::string& prefix, Names& names) {
  for (const FieldInfo& field : config.Fields()) names.insert(absl::StrCat(prefix, field.name));
}

// "adam TORCH", "adam KERAS", ... or, if the field table has no dialect, "lion".
std::vector<std::string> DialectsOf(const Method& method) {
  for (const FieldInfo& field : method.default_config()->Fields()) {
    if (!std::holds_alternative<Dialect>(field.default_value)) continue;
    std::vector<std::string> names;
    for (const FieldValue& value : internal::ValuesOf(field)) {
      names.push_back(absl::StrCat(method.name, " ", FieldValueText(value)));
    }
    return names;
  }
  return {std::string(method.name)};
}

// Every dialect of every method meets all settings at once, with each kind of decay by itself.
TEST(SessionGoldenTest, CasesCoverEverySetting) {
  const Json file = GoldenFile("session");
  ASSERT_TRUE(file.is_object());
  Names methods_seen;
  std::map<std::string, std::set<Names>> seen;  // what is set together, by dialect
  for (const Json& golden_case : file["cases"]) {
    const SessionConfig config = ConfigOfCase(file, golden_case);
    Names set;
    AddSet(config.clipping, "", set);
    AddSet(config.weight_decay, "", set);
    for (const ParameterGroup& group : config.groups) AddSet(group.config, "group.", set);
    std::string dialect = golden_case["method"];
    methods_seen.insert(dialect);
    if (golden_case["optimizer"].contains("dialect")) {
      absl::StrAppend(&dialect, " ", golden_case["optimizer"]["dialect"].get<std::string>());
    }
    seen[dialect].insert(set);
  }
  Names methods;
  for (const Method& method : Methods()) {
    if (method.takes_layers) continue;
    methods.emplace(method.name);
    Names all;
    AddAll(ConfigOf<ClippingConfig>(), "", all);
    AddAll(ConfigOf<GroupConfig>(), "group.", all);
    if (!method.FindRole("fallback").has_value()) all.erase("group.fallback");
    for (const std::string& dialect : DialectsOf(method)) {
      for (const FieldInfo& decay : ConfigOf<WeightDecayConfig>().Fields()) {
        Names expected = all;
        expected.emplace(decay.name);
        EXPECT_TRUE(seen[dialect].contains(expected)) << dialect << " with decay " << decay.name;
      }
    }
  }
  EXPECT_EQ(methods_seen, methods);
}

}  // namespace
}  // namespace talweg::core
