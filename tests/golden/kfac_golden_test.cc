// SPDX-License-Identifier: Apache-2.0
//
// K-FAC follows the trajectories of kfac.json, from the rows that a worker sends to the parameters.
// make_kfac.py made them, from formulas in float64, and says what a case is.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/optimizers/kfac.h"
#include "core/session/layer_config.h"
#include "core/session/statistics.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_testing.h"
#include "tests/golden/statistics_testing.h"

namespace talweg::core {
namespace {

// How far a parameter may be off: a share of how far the farthest parameter has gone, and some ulp
// of the largest parameter.
//
// The share: an inverse in float32 is off by some 2^-24 kappa of itself at most. kappa of a damped
// factor is below 30 in most of these cases, 83 without pi and 330 if factors lack rank. So the
// bound of one step is 2e-6, 5e-6 or 2e-5 of the step. A step meets its bound only if the gradient
// lies along the smallest eigenvalue, and errors of different steps hardly ever agree: 8e-7 of the
// way was the most that the share had to cover when this was written. A term that is left out makes
// the deviation thousands of times what is allowed.
// The ulp: each step rounds W once, which is a random walk of 0.29 sqrt(30) = 1.6 ulp rms after 30
// steps, and the largest of two hundred elements lies three times as far out.
constexpr double kShareOfWay = 3e-6;
constexpr double kUlp = 5;
// nu follows the root of <U, V>, and is at most 1.
constexpr double kToleranceOfClip = 3e-6;
// Both terms of the foretold change have such errors, and are of the size of their difference.
constexpr double kToleranceOfRatio = 1e-5;

// A trajectory of K-FAC, taken as a session takes its steps.
class Follower {
 public:
  Follower(const Json& file, const Json& golden_case)
      : file_(file),
        golden_case_(golden_case),
        space_(SpaceOfFile(file)),
        generator_(golden_case["seed"].get<uint64_t>()),
        start_(generator_.Start(space_.num_elements())),
        w_(start_) {
    ConfigOf<KfacConfig> config;
    SetFields(golden_case["config"], config);
    kfac_ = std::make_unique<Kfac>(config.value(), space_);
    is_background_ = config.value().refresh == RefreshMode::kBackground;
    for (const TensorSpec& tensor : space_.layout->tensors()) {
      StepRates& rates = rates_.emplace_back();
      rates.decay = golden_case["decay"];
      rates.coupled = golden_case["coupled"];
      factors_.push_back(golden_case["rate_factors"].value(tensor.name, 1.0));
      const std::vector<std::string> frozen = golden_case["frozen"];
      is_frozen_.push_back(std::count(frozen.begin(), frozen.end(), tensor.name) > 0);
    }
  }

  void Step(uint64_t number) {
    for (size_t tensor = 0; tensor < rates_.size(); ++tensor) {
      rates_[tensor].learning_rate =
          factors_[tensor] * golden_case_["rates"][number - 1].get<double>();
    }
    std::vector<float> gradient = generator_.Start(w_.size());
    const auto coupled = golden_case_["coupled"].get<float>();
    for (size_t i = 0; i < w_.size(); ++i) gradient[i] += coupled * w_[i];
    if (refresh_ != nullptr && number >= refresh_step_) {
      refresh_->RunHere();
      kfac_->curvature()->Install(*refresh_);
      refresh_.reset();
    }
    const auto change = golden_case_["loss_changes"].find(std::to_string(number - 1));
    if (change != golden_case_["loss_changes"].end()) {
      kfac_->TakeLossChange({number - 1, (*change)[0], (*change)[1]});
    }
    kfac_->BeginStep(number);
    const std::vector<uint64_t> with_statistics = golden_case_["statistics_at"];
    if (std::count(with_statistics.begin(), with_statistics.end(), number) > 0) {
      const std::vector<float> statistics = Statistics();
      kfac_->curvature()->BeginAverage();
      kfac_->curvature()->AverageShard({0, statistics.size()}, statistics);
    }
    Take(gradient);
    if (is_background_ && refresh_ == nullptr && kfac_->curvature()->WantsRefresh()) {
      refresh_ = kfac_->TakeRefresh();
      refresh_step_ = number + 1 + golden_case_["refresh_lag"].get<uint64_t>();
    }
  }

  const std::vector<float>& start() const { return start_; }
  const std::vector<float>& w() const { return w_; }
  const Kfac& kfac() const { return *kfac_; }

 private:
  ParameterSpace SpaceOfFile(const Json& file) {
    std::vector<TensorSpec> tensors;
    for (const Json& tensor : file["tensors"]) tensors.push_back({tensor["name"], tensor["shape"]});
    const auto layout = std::make_shared<const Layout>(*Layout::Create(std::move(tensors)));
    std::vector<NamedLayer> layers;
    for (Json layer : file["layers"]) {
      NamedLayer& named = layers.emplace_back();
      named.weight = layer["weight"];
      layer.erase("weight");
      layer.erase("places");
      SetFields(layer, named.config);
    }
    table_ = std::make_shared<const LayerTable>(*FindLayers(*layout, layers));
    return {layout, {}, table_->layers};
  }

  std::vector<float> Statistics() {
    StatisticsShape shape;
    shape.num_samples = file_["samples"];
    shape.of_mean_loss = golden_case_["of_mean_loss"];
    std::vector<float> sent;
    for (size_t index = 0; index < space_.layers.size(); ++index) {
      const KroneckerLayer& layer = space_.layers[index];
      const uint64_t count = shape.num_samples * file_["layers"][index]["places"].get<uint64_t>();
      shape.num_rows.push_back(count);
      Append(Rows(generator_, count, layer.inputs, golden_case_["input_rank"], 0), sent);
      Append(Rows(generator_, count, layer.outputs, 0, shape.of_mean_loss ? 3 : 1), sent);
    }
    return ReadyStatistics(table_, shape, sent);
  }

  void Take(const std::vector<float>& gradient) {
    std::vector<float> next = w_;  // a frozen tensor stays
    const absl::Span<float> to = absl::MakeSpan(next);
    for (size_t tensor = 0; tensor < rates_.size(); ++tensor) {
      if (is_frozen_[tensor]) continue;
      const uint64_t begin = space_.layout->offsets()[tensor];
      const Shard shard = {begin, begin + space_.layout->size_of(tensor)};
      kfac_->Apply(rates_[tensor], shard,
                   absl::MakeConstSpan(gradient).subspan(begin, shard.size()), w_, to);
    }
    kfac_->EndPass(0);
    const auto rates_of = [&](size_t tensor) {
      return is_frozen_[tensor] ? nullptr : &rates_[tensor];
    };
    for (size_t pass = 0; pass < kfac_->NumPasses(); ++pass) {
      const size_t num_tasks = kfac_->NumTasks(pass);
      for (size_t task = 0; task < num_tasks; ++task) {
        kfac_->RunTask(pass, task, rates_of, w_, to);
      }
      kfac_->EndPass(pass + 1);
    }
    w_ = std::move(next);
  }

  const Json& file_;
  const Json& golden_case_;
  std::shared_ptr<const LayerTable> table_;
  const ParameterSpace space_;
  Generator generator_;
  const std::vector<float> start_;
  std::vector<float> w_;
  std::unique_ptr<Kfac> kfac_;
  bool is_background_ = false;
  std::vector<StepRates> rates_;  // by tensor
  std::vector<double> factors_;   // by tensor, of the learning rate
  std::vector<bool> is_frozen_;   // by tensor
  std::unique_ptr<InverseRefresh> refresh_;
  uint64_t refresh_step_ = 0;  // before which it is installed
};

// Returns the worst deviation as a share of what is allowed.
double Follow(const Json& file, const Json& golden_case) {
  Follower follower(file, golden_case);
  double worst = 0;
  double gone = 0;
  double largest = 0;
  for (const float value : follower.start()) largest = std::max<double>(largest, std::abs(value));
  const std::vector<double> clip_factors = golden_case["clip_factors"];
  for (uint64_t step = 1; step <= clip_factors.size(); ++step) {
    follower.Step(step);
    const CurvatureNumbers numbers = follower.kfac().CurvatureReport();
    EXPECT_NEAR(numbers.step_clip_factor, clip_factors[step - 1], kToleranceOfClip) << step;
    const auto damping = golden_case["dampings"][step - 1].get<double>();
    EXPECT_NEAR(numbers.damping, damping, 1e-12 * damping) << step;
    const Json& ratio = golden_case["reduction_ratios"][step - 1];
    EXPECT_EQ(numbers.reduction_ratio.has_value(), !ratio.is_null()) << step;
    if (!ratio.is_null()) {
      EXPECT_NEAR(numbers.reduction_ratio.value_or(0), ratio, kToleranceOfRatio) << step;
    }
    EXPECT_EQ(numbers.inverse_version, golden_case["inverse_versions"][step - 1]) << step;
    EXPECT_EQ(numbers.num_raised_dampings + numbers.num_failed_inverses, 0u);
    const auto expected_at = golden_case["parameters"].find(std::to_string(step));
    if (expected_at == golden_case["parameters"].end()) continue;
    const std::vector<double> expected = *expected_at;
    const std::vector<float>& got = follower.w();
    EXPECT_EQ(expected.size(), got.size());
    for (size_t i = 0; i < std::min(expected.size(), got.size()); ++i) {
      gone = std::max(gone, std::abs(expected[i] - follower.start()[i]));
      largest = std::max(largest, std::abs(expected[i]));
    }
    const double allowed = kShareOfWay * gone + kUlp * UlpOf(largest);
    for (size_t i = 0; i < std::min(expected.size(), got.size()); ++i) {
      const double off = std::abs(got[i] - expected[i]);
      worst = std::max(worst, off / allowed);
      EXPECT_LE(off, allowed) << "element " << i << " after step " << step << " is " << got[i]
                              << ", expected " << expected[i];
    }
  }
  return worst;
}

TEST(KfacGoldenTest, EveryTrajectoryIsFollowed) {
  const Json file = GoldenFile("kfac");
  ASSERT_TRUE(file.is_object());
  for (size_t number = 0; number < file["cases"].size(); ++number) {
    const Json& golden_case = file["cases"][number];
    SCOPED_TRACE(absl::StrCat("case ", number, " ", golden_case["config"].dump()));
    std::printf("case %zu: worst %.2g of what is allowed\n", number, Follow(file, golden_case));
  }
}

// Every field has another value than its default in some case, and every choice and flag each of
// its values.
TEST(KfacGoldenTest, CasesCoverEverySetting) {
  const Json file = GoldenFile("kfac");
  ASSERT_TRUE(file.is_object());
  std::map<std::string, std::set<std::string>> seen;  // by field
  for (const Json& golden_case : file["cases"]) {
    ConfigOf<KfacConfig> config;
    SetFields(golden_case["config"], config);
    for (const FieldInfo& field : config.Fields()) {
      seen[std::string(field.name)].insert(FieldValueText(config.Get(field.name)));
    }
  }
  for (const FieldInfo& field : ConfigOf<KfacConfig>().Fields()) {
    std::set<std::string>& values = seen[std::string(field.name)];
    const bool is_number = std::holds_alternative<double>(field.default_value) ||
                           std::holds_alternative<uint64_t>(field.default_value);
    if (!is_number) {
      EXPECT_EQ(values.size(), 2u) << field.name;
    }
    values.erase(FieldValueText(field.default_value));
    EXPECT_FALSE(values.empty()) << field.name;
  }
}

}  // namespace
}  // namespace talweg::core
