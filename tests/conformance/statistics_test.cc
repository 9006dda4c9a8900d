// SPDX-License-Identifier: Apache-2.0
//
// What statistics mean over real connections: the same damping whatever shape they come in, no bit
// that depends on the order of their arrival, and inverses that are refreshed beside the steps.
#include "tests/conformance/statistics_test.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::AsRows;
using testing::AsTriangles;
using testing::Distance;
using testing::NetworkSession;
using testing::OfMeanLoss;
using testing::Part;
using testing::PartOf;
using testing::Rounded;
using testing::Sent;
using testing::StatisticsTest;
using testing::SynchronousNetworkSession;
using testing::Twice;

constexpr uint64_t kSamples = 17;  // of a batch
constexpr uint64_t kSteps = 7;
constexpr double kClose = 1e-5;  // sums of float32 in another order
constexpr double kFar = 1e-3;    // another damping

class MeaningTest : public StatisticsTest {
 protected:
  // Trains a new session as one worker, whose contributions `shape` makes.
  std::vector<float> Train(const std::string& id, const std::function<Sent(const Part&)>& shape,
                           bool streamed = false) {
    Create(NetworkSession(id));
    const v1::JoinResponse joined = Join(id, "a");
    const std::vector<float> initial = Parameters(id);
    for (uint64_t step = 1; step <= kSteps; ++step) {
      const Part part = PartOf(Parameters(id), step, 0, kSamples);
      const v1::StepRequest request = Request(id, joined, "a", step, shape(part));
      const v1::StepResponse response = streamed ? Stream(request) : Send(request);
      EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
      const v1::CurvatureReport& curvature = response.report().curvature();
      EXPECT_EQ(curvature.num_statistics(), 1u);
      EXPECT_EQ(curvature.num_samples(), static_cast<double>(shape(part).statistics.num_samples()));
      EXPECT_EQ(curvature.num_layers_without_inverse(), 0u);
    }
    const std::vector<float> made = Parameters(id);
    EXPECT_GT(Distance(made, initial), 0.1) << "nothing was trained";
    return made;
  }
};

TEST_F(MeaningTest, TwiceAsManyOfTheSameSamplesAreTheSameStatistics) {
  EXPECT_LT(Distance(Train("twice", Twice), Train("once", AsRows)), kClose);
}

TEST_F(MeaningTest, DerivativesOfTheMeanLossAreScaledBack) {
  const std::vector<float> expected = Train("samples", AsRows);
  EXPECT_LT(Distance(Train("mean", OfMeanLoss), expected), kClose);
  // The test can tell: without the flag the damping would be 289 times as strong.
  const auto unsaid = [](const Part& part) {
    Sent sent = OfMeanLoss(part);
    sent.statistics.set_of_mean_loss(false);
    return sent;
  };
  EXPECT_GT(Distance(Train("unsaid", unsaid), expected), kFar);
}

TEST_F(MeaningTest, DerivativesOfTheMeanLossInTrianglesAreScaledBack) {
  const auto of_mean_loss = [](const Part& part) {
    Part divided = part;
    for (auto* rows : {&divided.derivatives, &divided.of_outputs}) {
      for (float& value : *rows) value /= static_cast<float>(part.num_samples);
    }
    Sent sent = AsTriangles(divided);
    sent.statistics.set_of_mean_loss(true);
    return sent;
  };
  EXPECT_LT(Distance(Train("mean", of_mean_loss), Train("samples", AsTriangles)), kClose);
}

TEST_F(MeaningTest, RowsAndTrianglesAreTheSameStatistics) {
  EXPECT_LT(Distance(Train("triangles", AsTriangles), Train("rows", AsRows)), kClose);
}

TEST_F(MeaningTest, BothShapesOfTheCallGiveTheSameBits) {
  for (const auto& [name, shape] :
       {std::pair{"rows", &AsRows}, std::pair{"triangles", &AsTriangles}}) {
    SCOPED_TRACE(name);
    const std::string streamed = std::string("streamed.") + name;
    const std::string unary = std::string("unary.") + name;
    EXPECT_EQ(Train(streamed, shape, /*streamed=*/true), Train(unary, shape));
    EXPECT_EQ(StateDigest(streamed), StateDigest(unary));
  }
}

TEST_F(MeaningTest, NumbersThatBfloat16HoldsHaveTheBitsOfFloat32) {
  const auto wide = [](const Part& part) { return AsRows(Rounded(part)); };
  const auto narrow = [](const Part& part) {
    Sent sent = AsRows(Rounded(part));
    sent.dtype = v1::DTYPE_BFLOAT16;
    return sent;
  };
  const std::vector<float> expected = Train("float32", wide);
  EXPECT_EQ(Train("bfloat16", narrow), expected);
  EXPECT_EQ(Train("bfloat16.streamed", narrow, /*streamed=*/true), expected);
  EXPECT_EQ(StateDigest("bfloat16"), StateDigest("float32"));
}

TEST_F(MeaningTest, FourUnequalPartsAreTheStatisticsOfTheWhole) {
  const std::vector<uint64_t> ends = {0, 1, 4, 10, kSamples};
  const std::vector<std::string> workers = {"a", "b", "c", "d"};
  Create(SynchronousNetworkSession("parts"));
  std::vector<v1::JoinResponse> joined;
  for (const std::string& worker : workers) joined.push_back(Join("parts", worker));
  for (uint64_t step = 1; step <= kSteps; ++step) {
    const std::vector<float> parameters = Parameters("parts");
    for (size_t index = 0; index < workers.size(); ++index) {
      const Part part = PartOf(parameters, step, ends[index], ends[index + 1]);
      v1::StepRequest request = Request("parts", joined[index], workers[index], step,
                                        index % 2 == 0 ? AsRows(part) : AsTriangles(part));
      request.mutable_header()->set_weight(static_cast<float>(part.num_samples));
      request.mutable_reply()->set_return_pending(true);
      const v1::StepResponse response = Send(request);
      if (index + 1 < workers.size()) {
        EXPECT_EQ(response.verdict(), v1::VERDICT_PENDING);
      } else {
        EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
        EXPECT_EQ(response.report().curvature().num_statistics(), 4u);
        EXPECT_EQ(response.report().curvature().num_samples(), kSamples);
      }
    }
  }
  EXPECT_LT(Distance(Parameters("parts"), Train("whole", AsRows)), kClose);
}

// The gradients of a and b bring statistics, that of c brings none, and s has nothing else.
TEST_F(StatisticsTest, OrderOfArrivalShowsInNoBit) {
  std::vector<std::string> order = {"a", "b", "c", "s"};
  std::vector<std::string> digests;
  int run = 0;
  do {
    // What comes behind the last gradient is for the next version.
    if (order.back() == "s") continue;
    const std::string id = "run" + std::to_string(++run);
    Create(SynchronousNetworkSession(id));
    std::map<std::string, v1::JoinResponse> joined;
    for (const char* worker : {"a", "b", "c"}) joined[worker] = Join(id, worker);
    joined["s"] = Join(id, "s", {v1::ROLE_STATISTICS});
    for (uint64_t step = 1; step <= 4; ++step) {
      const std::vector<float> parameters = Parameters(id);
      for (const std::string& worker : order) {
        const uint64_t begin = 20 * static_cast<uint64_t>(worker[0]);
        const Part part =
            PartOf(parameters, step, begin, begin + 3 + static_cast<uint64_t>(worker[0] % 5));
        v1::StepRequest request =
            worker == "s" ? Alone(id, joined[worker], worker, step, AsRows(part))
                          : Request(id, joined[worker], worker, step, AsTriangles(part));
        if (worker == "c") {
          request.mutable_header()->clear_statistics();
          request.mutable_sections()->RemoveLast();
        }
        request.mutable_reply()->set_return_pending(true);
        // Half of the runs bring the statistics over streams.
        const bool streamed = worker != "c" && run % 2 == 0;
        const v1::StepResponse response = streamed ? Stream(request) : Send(request);
        const bool is_last = worker == order.back();
        EXPECT_EQ(response.verdict(), is_last ? v1::VERDICT_APPLIED : v1::VERDICT_PENDING);
        if (is_last) {
          EXPECT_EQ(response.report().curvature().num_statistics(), 3u);
        }
      }
    }
    digests.push_back(StateDigest(id));
  } while (std::next_permutation(order.begin(), order.end()));
  ASSERT_EQ(digests.size(), 18u);
  for (const std::string& digest : digests) EXPECT_EQ(digest, digests.front());
}

class RefreshTest : public StatisticsTest {
 protected:
  // Steps session "s" once more, and returns what its contributor is told.
  v1::CurvatureReport Step(const v1::JoinResponse& joined) {
    const Part part = PartOf(Parameters("s"), ++step_, 0, 9);
    const v1::StepResponse response = Send(Request("s", joined, "a", step_, AsRows(part)));
    EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    EXPECT_EQ(response.applied_version(), step_);
    return response.report().curvature();
  }
  uint64_t step_ = 0;
};

TEST_F(RefreshTest, InversesMoveOnBesideTheSteps) {
  v1::CreateSessionRequest create = NetworkSession("s");
  v1::Kfac& kfac = *create.mutable_config()->mutable_optimizer()->mutable_kfac();
  kfac.set_refresh(v1::REFRESH_MODE_BACKGROUND);
  kfac.set_refresh_every(1);
  kfac.set_refresh_each_until(0);
  Create(create);
  const v1::JoinResponse joined = Join("s", "a");
  std::vector<uint64_t> versions;  // whose inverses were used, by step
  const auto moves = [&] {
    uint64_t count = 0;
    for (size_t i = 1; i < versions.size(); ++i) count += versions[i] != versions[i - 1] ? 1 : 0;
    return count;
  };
  while (moves() < 5 && versions.size() < 900) {
    const v1::CurvatureReport report = Step(joined);
    EXPECT_EQ(report.num_layers_without_inverse(), 0u);
    EXPECT_EQ(report.num_failed_inverses(), 0u);
    EXPECT_EQ(report.inverse_version() + report.inverse_age_steps(), step_);
    EXPECT_GE(report.inverse_age_seconds(), 0);
    if (!versions.empty()) {
      // No step waits for its own inverses: those in use are of an earlier version.
      EXPECT_GE(report.inverse_age_steps(), 1u);
      EXPECT_GE(report.inverse_version(), versions.back());
    }
    versions.push_back(report.inverse_version());
  }
  EXPECT_GE(moves(), 5u);
  EXPECT_EQ(versions.front(), 1u);  // the first inverses are the step's own
  const std::vector<v1::VersionRecord> records = Records("s");
  ASSERT_EQ(records.size(), versions.size());
  for (size_t index = 0; index < records.size(); ++index) {
    const v1::VersionRecord& record = records[index];
    EXPECT_EQ(record.inverse_version(), versions[index]);
    const bool moved = index > 0 && versions[index] != versions[index - 1];
    EXPECT_EQ(record.installed_inverses(), moved ? versions[index] : 0) << record.version();
  }
}

TEST_F(RefreshTest, InversesThatAreTooOldAreRefreshedWithinTheStep) {
  v1::CreateSessionRequest create = NetworkSession("s");
  v1::Kfac& kfac = *create.mutable_config()->mutable_optimizer()->mutable_kfac();
  kfac.set_refresh(v1::REFRESH_MODE_BACKGROUND);
  kfac.set_refresh_every(1000);
  kfac.set_refresh_each_until(0);
  kfac.set_max_inverse_age(3);
  Create(create);
  const v1::JoinResponse joined = Join("s", "a");
  std::vector<uint64_t> ages;
  while (step_ < 9) ages.push_back(Step(joined).inverse_age_steps());
  EXPECT_EQ(ages, (std::vector<uint64_t>{0, 1, 2, 3, 0, 1, 2, 3, 0}));
  for (const v1::VersionRecord& record : Records("s")) {
    EXPECT_EQ(record.installed_inverses(), 0u);
    EXPECT_EQ(record.inverse_version(), (record.version() - 1) / 4 * 4 + 1);
  }
}

}  // namespace
}  // namespace talweg
