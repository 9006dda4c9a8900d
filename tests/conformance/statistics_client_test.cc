// SPDX-License-Identifier: Apache-2.0
//
// The C++ client's statistics over real connections: beside a gradient and alone, in one message
// and over a stream, each counted once.
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "server/calls/doorkeeper.h"
#include "tests/conformance/statistics_test.h"

namespace talweg {
namespace {

using testing::AsRows;
using testing::AsTriangles;
using testing::NetworkSession;
using testing::Part;
using testing::PartOf;
using testing::Sent;
using testing::StatisticsTest;
using testing::SynchronousNetworkSession;

constexpr uint64_t kSamples = 11;
constexpr uint64_t kManySamples = 60000;  // whose rows are more than 4 MiB

// Counts the calls of a method.
class Counter final : public server::Doorkeeper {
 public:
  absl::Status Admit(const server::CallFacts& call) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    methods_.emplace_back(call.method);
    return absl::OkStatus();
  }
  int64_t Count(const std::string& method) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::count(methods_.begin(), methods_.end(), "talweg.v1.TrainingService/" + method);
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> methods_;
};

// What the client takes of `part`, borrowed from it.
Statistics StatisticsOf(const Part& part) {
  return {.num_samples = part.num_samples,
          .layers = {{"w1", part.num_samples, part.inputs, part.derivatives},
                     {"w2", part.num_samples, part.hidden, part.of_outputs}}};
}

class ClientStatisticsTest : public StatisticsTest {
 protected:
  void SetUp() override { Start({.doorkeepers = {&counter_}}); }
  void TearDown() override { server_.reset(); }  // before the counter

  Session JoinAs(const std::string& session_id, const std::string& worker,
                 const ClientOptions& options, const JoinOptions& join = {}) {
    return Client::Connect(server_->address(), options)->Join(session_id, worker, join).value();
  }
  // Options that send everything over streams, or all that the default does not.
  static ClientOptions Options(bool streamed) {
    ClientOptions options;
    if (streamed) options.stream_threshold_bytes = 1;
    return options;
  }

  Counter counter_;
};

TEST_F(ClientStatisticsTest, StepWithStatisticsHasTheBitsOfBareCalls) {
  Create(NetworkSession("bare"));
  const v1::JoinResponse bare = Join("bare", "a");
  constexpr uint64_t kSteps = 4;
  for (uint64_t step = 1; step <= kSteps; ++step) {
    const Part part = PartOf(Parameters("bare"), step, 0, kSamples);
    Send(Request("bare", bare, "a", step, AsRows(part)));
  }
  const int64_t num_bare = counter_.Count("Step");
  for (const bool streamed : {false, true}) {
    const std::string id = streamed ? "streamed" : "unary";
    SCOPED_TRACE(id);
    Create(NetworkSession(id));
    Session session = JoinAs(id, "a", Options(streamed));
    std::vector<float> parameters = Parameters(id);
    for (uint64_t step = 1; step <= kSteps; ++step) {
      const Part part = PartOf(parameters, step, 0, kSamples);
      const Statistics statistics = StatisticsOf(part);
      StepOptions options;
      options.statistics = &statistics;
      const auto result = session.Step(part.gradient, absl::MakeSpan(parameters), {}, options);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_TRUE(result->applied());
      EXPECT_EQ(result->num_attempts, 1);
      EXPECT_EQ(result->report->curvature().num_samples(), kSamples);
    }
    EXPECT_EQ(parameters, Parameters("bare"));
    EXPECT_EQ(StateDigest(id), StateDigest("bare"));
  }
  EXPECT_EQ(counter_.Count("Step") - num_bare, static_cast<int64_t>(kSteps));
  EXPECT_EQ(counter_.Count("StreamStep"), 1);
}

TEST_F(ClientStatisticsTest, TrianglesAndNarrowNumbersAreSentAsTheyAre) {
  Create(NetworkSession("bare"));
  const v1::JoinResponse bare = Join("bare", "a");
  const Part part = testing::Rounded(PartOf(Parameters("bare"), 1, 0, kSamples));
  // One layer as triangles and the other one as rows.
  const Sent triangles = AsTriangles(part);
  const size_t of_inputs = (testing::kInputs + 1) * (testing::kInputs + 2) / 2;
  const size_t of_hidden = testing::kHidden * (testing::kHidden + 1) / 2;
  Sent sent = AsRows(part);
  *sent.statistics.mutable_layers(0) = triangles.statistics.layers(0);
  sent.statistics.set_target(v1::STATISTICS_TARGET_DATA);
  sent.statistics.set_of_mean_loss(true);
  sent.dtype = v1::DTYPE_BFLOAT16;
  sent.numbers.assign(triangles.numbers.begin(),
                      triangles.numbers.begin() + static_cast<ptrdiff_t>(of_inputs + of_hidden));
  sent.numbers.insert(sent.numbers.end(), part.hidden.begin(), part.hidden.end());
  sent.numbers.insert(sent.numbers.end(), part.of_outputs.begin(), part.of_outputs.end());
  Send(Request("bare", bare, "a", 1, sent));
  for (const bool streamed : {false, true}) {
    const std::string id = streamed ? "streamed" : "unary";
    Create(NetworkSession(id));
    Session session = JoinAs(id, "a", Options(streamed));
    Statistics statistics = StatisticsOf(part);
    statistics.of_mean_loss = true;
    statistics.target = v1::STATISTICS_TARGET_DATA;
    statistics.dtype = v1::DTYPE_BFLOAT16;
    const absl::Span<const float> packed(triangles.numbers);
    statistics.layers[0] = {"w1", 0, packed.subspan(0, of_inputs),
                            packed.subspan(of_inputs, of_hidden)};
    StepOptions options;
    options.statistics = &statistics;
    options.gradient_dtype = v1::DTYPE_BFLOAT16;
    ASSERT_TRUE(session.Step(part.gradient, {}, {}, options).ok());
    EXPECT_EQ(StateDigest(id), StateDigest("bare"));
  }
}

TEST_F(ClientStatisticsTest, StatisticsAboveTheThresholdGoOverAStream) {
  Create(NetworkSession("s"));
  Session session = JoinAs("s", "a", {});
  std::vector<float> parameters = Parameters("s");
  const Part part = PartOf(parameters, 1, 0, kManySamples);
  const Statistics statistics = StatisticsOf(part);
  const auto alone = session.SendStatistics(statistics);
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_TRUE(alone->pending());
  StepOptions options;
  options.statistics = &statistics;
  const auto beside = session.Step(part.gradient, absl::MakeSpan(parameters), {}, options);
  ASSERT_TRUE(beside.ok()) << beside.status();
  EXPECT_EQ(beside->report->curvature().num_statistics(), 2u);
  EXPECT_EQ(beside->report->curvature().num_samples(), 2 * kManySamples);
  EXPECT_EQ(counter_.Count("Step"), 0);
  EXPECT_EQ(counter_.Count("StreamStep"), 1);
  // A small step behind it goes in a message again.
  ASSERT_TRUE(session.Step(part.gradient, absl::MakeSpan(parameters)).ok());
  EXPECT_EQ(counter_.Count("Step"), 1);
}

TEST_F(ClientStatisticsTest, SentStatisticsArePendingAndPartOfTheNextVersion) {
  for (const bool streamed : {false, true}) {
    const std::string id = streamed ? "streamed" : "unary";
    SCOPED_TRACE(id);
    Create(SynchronousNetworkSession(id));
    Session gradients = JoinAs(id, "a", Options(streamed));
    Session other = JoinAs(id, "s", Options(streamed), {.roles = {v1::ROLE_STATISTICS}});
    std::vector<float> parameters = Parameters(id);
    const Part part = PartOf(parameters, 1, 0, kSamples);
    const Statistics statistics = StatisticsOf(part);
    // By default a worker of such a session may send both.
    for (Session* session : {&gradients, &other, &other}) {
      const auto sent = session->SendStatistics(statistics);
      ASSERT_TRUE(sent.ok()) << sent.status();
      EXPECT_TRUE(sent->pending());
      EXPECT_FALSE(sent->will_not_count);
      EXPECT_EQ(sent->applied_version, 1u);
      EXPECT_EQ(session->version(), 0u);
    }
    const auto made = gradients.Step(part.gradient, absl::MakeSpan(parameters));
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->report->curvature().num_statistics(), 3u);
    EXPECT_EQ(made->report->curvature().num_samples(), 3 * kSamples);
    ASSERT_EQ(Records(id).size(), 1u);
    EXPECT_EQ(Records(id)[0].statistics_size(), 3);
    // They may be of an older version than the session is at.
    StepOptions old;
    old.base_version = 0;
    EXPECT_EQ(other.SendStatistics(statistics, old)->applied_version, 2u);
  }
  EXPECT_EQ(counter_.Count("StreamStep"), 2);
}

TEST_F(ClientStatisticsTest, StatisticsThatAreNotFiniteAreToldWithTheirLayer) {
  for (const bool streamed : {false, true}) {
    const std::string id = streamed ? "streamed" : "unary";
    Create(NetworkSession(id));
    Session session = JoinAs(id, "a", Options(streamed));
    Part part = PartOf(Parameters(id), 1, 0, kSamples);
    part.of_outputs[1] = 1e30f;
    const Statistics statistics = StatisticsOf(part);
    StepOptions options;
    options.statistics = &statistics;
    for (const auto& result :
         {session.SendStatistics(statistics), session.Step(part.gradient, {}, {}, options)}) {
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->verdict, v1::VERDICT_REJECTED_NON_FINITE);
      ASSERT_TRUE(result->fault.has_value());
      EXPECT_TRUE(result->fault->in_statistics());
      EXPECT_EQ(result->fault->tensor(), "w2");
    }
    EXPECT_EQ(wire_->Get(id).version(), 0u);
  }
}

// The statistics are kept beside the gradient until the contribution has its answer.
TEST_F(ClientStatisticsTest, ResumedStepBringsTheSameStatistics) {
  for (const bool streamed : {false, true}) {
    const std::string id = streamed ? "streamed" : "unary";
    SCOPED_TRACE(id);
    Create(SynchronousNetworkSession(id));
    Session a = JoinAs(id, "a", Options(streamed));
    Session b = JoinAs(id, "b", Options(streamed));
    std::vector<float> parameters = Parameters(id);
    {
      const Part part = PartOf(parameters, 1, 0, kSamples);
      Statistics statistics = StatisticsOf(part);
      statistics.dtype = v1::DTYPE_BFLOAT16;  // which rounds them
      StepOptions options;
      options.statistics = &statistics;
      options.return_pending = true;
      ASSERT_TRUE(a.Step(part.gradient, absl::MakeSpan(parameters), {}, options)->pending());
    }
    const auto pending = a.ResumeStep(absl::MakeSpan(parameters), /*return_pending=*/true);
    ASSERT_TRUE(pending.ok()) << pending.status();
    EXPECT_TRUE(pending->pending());
    const Part other = PartOf(parameters, 2, 0, kSamples);
    ASSERT_TRUE(b.Step(other.gradient, {}).ok());
    const auto resumed = a.ResumeStep(absl::MakeSpan(parameters));
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_TRUE(resumed->applied());
    EXPECT_TRUE(resumed->replayed);
    EXPECT_EQ(resumed->report->curvature().num_statistics(), 1u);
  }
}

}  // namespace
}  // namespace talweg
