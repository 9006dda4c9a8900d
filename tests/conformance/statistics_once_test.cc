// SPDX-License-Identifier: Apache-2.0
//
// Statistics count exactly once over real connections, and those that are not finite never do.
#include <chrono>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/conformance/statistics_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::AsRows;
using testing::AsTriangles;
using testing::ErrorOf;
using testing::Floats;
using testing::kHidden;
using testing::kInputs;
using testing::NetworkSession;
using testing::PartOf;
using testing::Sent;
using testing::StatisticsTest;
using testing::SynchronousNetworkSession;

constexpr uint64_t kSamples = 6;

class OnceTest : public StatisticsTest {
 protected:
  // A synchronous session "s" of the workers a and b, and of s, which has statistics alone.
  void Open() {
    Create(SynchronousNetworkSession("s"));
    a_ = Join("s", "a");
    b_ = Join("s", "b");
    s_ = Join("s", "s", {v1::ROLE_STATISTICS});
  }
  Sent Numbers(uint64_t batch, uint64_t num_samples = kSamples) {
    return AsRows(PartOf(Parameters("s"), batch, 0, num_samples));
  }
  // A gradient of a or b without statistics, which waits for nobody.
  v1::StepRequest Gradient(const v1::JoinResponse& joined, const std::string& worker,
                           uint64_t sequence) {
    v1::StepRequest request = Request("s", joined, worker, sequence, Numbers(50 + sequence));
    request.mutable_header()->clear_statistics();
    request.mutable_sections()->RemoveLast();
    request.mutable_reply()->set_return_pending(true);
    return request;
  }
  // Makes a version of gradients alone, and returns what its last contributor is told.
  v1::CurvatureReport MakeVersion(uint64_t sequence) {
    EXPECT_EQ(Send(Gradient(a_, "a", sequence)).verdict(), v1::VERDICT_PENDING);
    const v1::StepResponse last = Send(Gradient(b_, "b", sequence));
    EXPECT_EQ(last.verdict(), v1::VERDICT_APPLIED);
    return last.report().curvature();
  }

  v1::JoinResponse a_, b_, s_;
};

TEST_F(OnceTest, StatisticsAloneArePendingAtOnceAndMakeNoVersion) {
  Open();
  v1::StepRequest request = Alone("s", s_, "s", 1, Numbers(1));
  request.mutable_reply()->set_data(v1::REPLY_DATA_PARAMETERS);
  // Nothing asks the server not to wait.
  const v1::StepResponse response = Send(request);
  EXPECT_EQ(response.verdict(), v1::VERDICT_PENDING);
  EXPECT_FALSE(response.replayed());
  EXPECT_FALSE(response.will_not_count());
  EXPECT_EQ(response.applied_version(), 1u);
  EXPECT_EQ(response.data_version(), 0u);
  EXPECT_EQ(Floats(response.sections(0).data()), Parameters("s"));
  v1::Session session = wire_->Get("s");
  EXPECT_EQ(session.version(), 0u);
  EXPECT_EQ(session.open_round().num_contributions(), 0u);
  // A worker that gives gradients too is still waited for after its statistics.
  EXPECT_EQ(Send(Alone("s", a_, "a", 1, Numbers(2))).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(Send(Gradient(b_, "b", 1)).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(wire_->Get("s").version(), 0u);
  EXPECT_EQ(Send(Gradient(a_, "a", 2)).report().curvature().num_statistics(), 2u);
}

TEST_F(OnceTest, StatisticsAloneFillNoPlaceAmongAccumulatedGradients) {
  v1::CreateSessionRequest create = NetworkSession("s");
  create.mutable_config()->mutable_aggregation()->set_gradient_accumulation_steps(2);
  Create(create);
  a_ = Join("s", "a");
  EXPECT_EQ(Send(Gradient(a_, "a", 1)).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(Send(Alone("s", a_, "a", 2, Numbers(2))).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(Send(Alone("s", a_, "a", 3, Numbers(3))).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(wire_->Get("s").version(), 0u);
  const v1::StepResponse last = Send(Gradient(a_, "a", 4));
  EXPECT_EQ(last.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(last.report().contributors(), 2u);
  EXPECT_EQ(last.report().curvature().num_statistics(), 2u);
}

TEST_F(OnceTest, RepeatIsReplayedAndCountsOnce) {
  Open();
  const v1::StepRequest request = Alone("s", s_, "s", 1, Numbers(1));
  EXPECT_FALSE(Send(request).replayed());
  for (const bool streamed : {false, true}) {
    const v1::StepResponse again = streamed ? Stream(request) : Send(request);
    EXPECT_EQ(again.verdict(), v1::VERDICT_PENDING);
    EXPECT_TRUE(again.replayed());
    EXPECT_EQ(again.applied_version(), 1u);
  }
  const v1::CurvatureReport report = MakeVersion(1);
  EXPECT_EQ(report.num_statistics(), 1u);
  EXPECT_EQ(report.num_samples(), kSamples);
  for (uint64_t version = 1; version <= 2; ++version) {
    for (const bool streamed : {false, true}) {
      const v1::StepResponse applied = streamed ? Stream(request) : Send(request);
      EXPECT_EQ(applied.verdict(), v1::VERDICT_APPLIED);
      EXPECT_TRUE(applied.replayed());
      EXPECT_EQ(applied.applied_version(), 1u);
      EXPECT_EQ(applied.report().curvature().num_samples(), kSamples);
    }
    // The next version has no part of it.
    if (version == 1) {
      EXPECT_EQ(MakeVersion(2).num_statistics(), 0u);
    }
  }
}

TEST_F(OnceTest, StatisticsBesideALostReplyCountOnce) {
  Create(NetworkSession("s"));
  a_ = Join("s", "a");
  const v1::StepRequest request = Request("s", a_, "a", 1, Numbers(1));
  const v1::StepResponse first = Send(request);
  EXPECT_EQ(first.verdict(), v1::VERDICT_APPLIED);
  const uint32_t checksum = wire_->Checksum("s");
  for (const bool streamed : {false, true}) {
    const v1::StepResponse again = streamed ? Stream(request) : Send(request);
    EXPECT_TRUE(again.replayed());
    EXPECT_EQ(again.report().SerializeAsString(), first.report().SerializeAsString());
  }
  EXPECT_EQ(wire_->Checksum("s"), checksum);
}

TEST_F(OnceTest, RecordNamesEachContributionOnceWithItsSamples) {
  Open();
  Send(Alone("s", s_, "s", 4, Numbers(1, 3)));
  Send(Alone("s", s_, "s", 4, Numbers(1, 3)));
  Send(Alone("s", s_, "s", 7, Numbers(2, 5)));
  v1::StepRequest beside = Request("s", a_, "a", 1, Numbers(3, 8));
  beside.mutable_reply()->set_return_pending(true);
  Send(beside);
  Send(beside);
  Send(Gradient(b_, "b", 1));
  MakeVersion(2);
  const std::vector<v1::VersionRecord> records = Records("s");
  ASSERT_EQ(records.size(), 2u);
  ASSERT_EQ(records[0].statistics_size(), 3);
  const struct {
    std::string worker;
    uint64_t incarnation, sequence, num_samples;
  } expected[] = {
      {"s", s_.incarnation(), 4, 3}, {"s", s_.incarnation(), 7, 5}, {"a", a_.incarnation(), 1, 8}};
  for (int index = 0; index < 3; ++index) {
    const v1::StatisticsMember& member = records[0].statistics(index);
    EXPECT_EQ(member.worker(), expected[index].worker);
    EXPECT_EQ(member.incarnation(), expected[index].incarnation);
    EXPECT_EQ(member.sequence(), expected[index].sequence);
    EXPECT_EQ(member.num_samples(), expected[index].num_samples);
    EXPECT_EQ(member.base_version(), 0u);
    EXPECT_GT(member.time().seconds(), 1'600'000'000);
  }
  ASSERT_EQ(records[0].members_size(), 2);
  EXPECT_EQ(records[0].inverse_version(), 1u);
  EXPECT_EQ(records[1].statistics_size(), 0);
}

// Statistics may be of an older version than any gradient may be.
TEST_F(OnceTest, StatisticsOfAnOldVersionArePartOfTheNext) {
  Open();
  const v1::StepRequest old = Alone("s", s_, "s", 1, Numbers(1));
  MakeVersion(1);
  MakeVersion(2);
  EXPECT_EQ(Send(old).applied_version(), 3u);
  EXPECT_EQ(MakeVersion(3).num_statistics(), 1u);
  EXPECT_EQ(Records("s").back().statistics(0).base_version(), 0u);
}

TEST_F(OnceTest, AnotherPayloadUnderTheSameSequenceIsRefused) {
  Open();
  const Sent numbers = AsTriangles(PartOf(Parameters("s"), 1, 0, kSamples));
  const v1::StepRequest request = Alone("s", s_, "s", 1, numbers);
  const v1::StepRequest beside = Request("s", a_, "a", 9, numbers);
  Send(request);
  const std::vector<std::function<void(v1::StepRequest&)>> changes = {
      [](v1::StepRequest& other) {
        other.mutable_sections()->rbegin()->mutable_data()->at(2) ^= 1;
      },
      [](v1::StepRequest& other) {
        other.mutable_header()->mutable_statistics()->set_num_samples(kSamples + 1);
      },
      [](v1::StepRequest& other) {
        other.mutable_header()->mutable_statistics()->set_of_mean_loss(true);
      },
  };
  for (const bool made : {false, true}) {
    if (made) MakeVersion(1);
    const uint32_t checksum = wire_->Checksum("s");
    for (const auto& change : changes) {
      v1::StepRequest other = request;
      change(other);
      EXPECT_EQ(ErrorOf(wire_->Step(other)).reason, "SEQUENCE_REUSED");
    }
    EXPECT_EQ(ErrorOf(wire_->Step(Alone("s", s_, "s", 1, Numbers(1)))).reason, "SEQUENCE_REUSED");
    EXPECT_EQ(wire_->Checksum("s"), checksum);
    EXPECT_TRUE(Send(request).replayed());
  }
  // The statistics beside a gradient are part of its payload too.
  v1::StepRequest first = beside;
  first.mutable_header()->set_base_version(1);
  first.mutable_reply()->set_return_pending(true);
  Send(first);
  for (const auto& change : changes) {
    v1::StepRequest other = first;
    change(other);
    EXPECT_EQ(ErrorOf(wire_->Step(other)).reason, "SEQUENCE_REUSED");
  }
  v1::StepRequest without = first;
  without.mutable_header()->clear_statistics();
  without.mutable_sections()->RemoveLast();
  EXPECT_EQ(ErrorOf(wire_->Step(without)).reason, "SEQUENCE_REUSED");
}

TEST_F(OnceTest, FencedIncarnationIsRefusedAndWhatItSentBeforeCounts) {
  Open();
  const v1::StepRequest before = Alone("s", s_, "s", 1, Numbers(1));
  Send(before);
  const v1::JoinResponse anew = Join("s", "s", {v1::ROLE_STATISTICS});
  const uint32_t checksum = wire_->Checksum("s");
  for (const auto& request : {before, Alone("s", s_, "s", 2, Numbers(2))}) {
    EXPECT_EQ(ErrorOf(wire_->Step(request)).reason, "INCARNATION_FENCED");
    testing::WireStream stream(wire_->training());
    v1::StepResponse response;
    EXPECT_FALSE(stream.Step(request, testing::ChunksOfSections(request, 65536), &response));
    EXPECT_EQ(ErrorOf(stream.Finish()).reason, "INCARNATION_FENCED");
  }
  EXPECT_EQ(wire_->Checksum("s"), checksum);
  EXPECT_FALSE(Send(Alone("s", anew, "s", 1, Numbers(3))).replayed());
  EXPECT_EQ(MakeVersion(1).num_statistics(), 2u);
}

TEST_F(OnceTest, RolesSayWhoMaySendStatistics) {
  Open();
  const v1::JoinResponse gradients = Join("s", "g", {v1::ROLE_GRADIENT});
  const uint32_t checksum = wire_->Checksum("s");
  EXPECT_EQ(ErrorOf(wire_->Step(Alone("s", gradients, "g", 1, Numbers(1)))).reason, "ROLE_MISSING");
  EXPECT_EQ(ErrorOf(wire_->Step(Request("s", gradients, "g", 1, Numbers(1)))).reason,
            "ROLE_MISSING");
  // Statistics beside a gradient need both roles.
  EXPECT_EQ(ErrorOf(wire_->Step(Request("s", s_, "s", 1, Numbers(1)))).reason, "ROLE_MISSING");
  EXPECT_EQ(wire_->Checksum("s"), checksum);
  EXPECT_EQ(Send(Gradient(gradients, "g", 1)).verdict(), v1::VERDICT_PENDING);
}

// A contribution that is no part of the version brings no statistics to it.
TEST_F(OnceTest, StatisticsOfAGradientThatIsRefusedDoNotCount) {
  Open();
  const v1::StepRequest late = Request("s", b_, "b", 9, Numbers(4));
  Send(Gradient(a_, "a", 1));
  v1::StepRequest second = Request("s", a_, "a", 2, Numbers(2));
  second.mutable_reply()->set_return_pending(true);
  EXPECT_TRUE(Send(second).will_not_count());
  EXPECT_EQ(Send(Gradient(b_, "b", 1)).report().curvature().num_statistics(), 0u);
  EXPECT_EQ(Send(second).verdict(), v1::VERDICT_ROUND_CLOSED);
  EXPECT_EQ(Send(late).verdict(), v1::VERDICT_ROUND_CLOSED);
  EXPECT_EQ(MakeVersion(10).num_statistics(), 0u);
}

// The worker a may not go on before b has caught up; its statistics are told all the same.
TEST_F(OnceTest, NobodyWaitsForStatisticsOfAWorkerThatIsHeld) {
  v1::CreateSessionRequest create = NetworkSession("s");
  create.mutable_config()->mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_BOUNDED_STALENESS);
  Create(create);
  a_ = Join("s", "a");
  b_ = Join("s", "b");
  EXPECT_EQ(Send(Gradient(a_, "a", 1)).verdict(), v1::VERDICT_PENDING);
  EXPECT_EQ(wire_->Get("s").version(), 1u);
  const v1::StepRequest alone = Alone("s", a_, "a", 2, Numbers(2));
  EXPECT_EQ(Send(alone).verdict(), v1::VERDICT_PENDING);
  const v1::JoinResponse c = Join("s", "c");
  Send(Gradient(c, "c", 1));
  EXPECT_EQ(wire_->Get("s").last_step().curvature().num_statistics(), 1u);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  v1::StepResponse applied;
  const grpc::Status status = wire_->training().Step(&context, alone, &applied);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(applied.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(applied.applied_version(), 2u);
  // The worker is held as before, until b has a verdict too.
  EXPECT_EQ(Send(Gradient(a_, "a", 3)).verdict(), v1::VERDICT_PENDING);
}

struct Fault {
  std::string name;
  std::string tensor;
  std::function<void(Sent&)> make;
};
// The numbers of `AsRows`: inputs, derivatives, hidden, of_outputs.
std::vector<Fault> Faults() {
  constexpr uint64_t kDerivatives = kSamples * kInputs;
  constexpr uint64_t kSecond = kDerivatives + kSamples * kHidden;
  std::vector<Fault> faults = {
      {"infinity", "w1", [](Sent& sent) { sent.numbers[0] = -INFINITY; }},
      {"NaN", "w1", [](Sent& sent) { sent.numbers[kSecond - 1] = NAN; }},
      {"NaN in the second layer", "w2", [](Sent& sent) { sent.numbers[kSecond] = NAN; }},
      {"infinity at the end", "w2", [](Sent& sent) { sent.numbers.back() = INFINITY; }},
      {"square overflows", "w1", [](Sent& sent) { sent.numbers[kDerivatives] = 1e30f; }},
      {"square overflows at the end", "w2", [](Sent& sent) { sent.numbers.back() = -1e30f; }},
      {"mean loss overflows", "w1",
       [](Sent& sent) {
         sent.numbers[kDerivatives] = 1e19f;
         sent.statistics.set_of_mean_loss(true);
       }},
  };
  return faults;
}

TEST_F(OnceTest, StatisticsThatAreNotFiniteChangeNothingButTheSequence) {
  for (const std::string id : {"s", "clean"}) Create(NetworkSession(id));
  a_ = Join("s", "a");
  const v1::JoinResponse clean = Join("clean", "a");
  uint64_t sequence = 0;
  for (uint64_t version = 0; version < 2; ++version) {
    const std::string digest = StateDigest("s");
    uint32_t num_rejected = wire_->Get("s").refusals().rejected_non_finite();
    for (const Fault& fault : Faults()) {
      for (const bool alone : {false, true}) {
        for (const bool streamed : {false, true}) {
          SCOPED_TRACE(fault.name + (alone ? ", alone" : "") + (streamed ? ", streamed" : ""));
          Sent sent = Numbers(1);
          fault.make(sent);
          ++sequence;
          const v1::StepRequest request =
              alone ? Alone("s", a_, "a", sequence, sent) : Request("s", a_, "a", sequence, sent);
          const v1::StepResponse response = streamed ? Stream(request) : Send(request);
          EXPECT_EQ(response.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
          EXPECT_FALSE(response.replayed());
          EXPECT_TRUE(response.fault().in_statistics());
          EXPECT_EQ(response.fault().tensor(), fault.tensor);
          EXPECT_EQ(response.fault().element(), 0u);
          EXPECT_FALSE(response.has_report());
          const v1::StepResponse again = Send(request);
          EXPECT_EQ(again.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
          EXPECT_TRUE(again.replayed());
          EXPECT_EQ(wire_->Get("s").version(), version);
          EXPECT_EQ(wire_->Get("s").refusals().rejected_non_finite(), ++num_rejected);
        }
      }
    }
    EXPECT_EQ(StateDigest("s"), digest);
    const Sent good = Numbers(20 + version);
    const v1::StepResponse applied = Send(Request("s", a_, "a", ++sequence, good));
    EXPECT_EQ(applied.report().curvature().num_statistics(), 1u);
    Send(Request("clean", clean, "a", version + 1, good));
  }
  EXPECT_EQ(StateDigest("s"), StateDigest("clean"));
}

// The gradient is told first, and then its statistics do not count either.
TEST_F(OnceTest, StatisticsOfAGradientThatIsNotFiniteDoNotCount) {
  Open();
  Sent sent = Numbers(1);
  sent.gradient[kHidden * kInputs + 2] = NAN;
  const v1::StepResponse response = Send(Request("s", a_, "a", 1, sent));
  EXPECT_EQ(response.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
  EXPECT_FALSE(response.fault().in_statistics());
  EXPECT_EQ(response.fault().tensor(), "b1");
  EXPECT_EQ(response.fault().element(), 2u);
  EXPECT_EQ(MakeVersion(2).num_statistics(), 0u);
}

}  // namespace
}  // namespace talweg
