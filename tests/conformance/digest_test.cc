// SPDX-License-Identifier: Apache-2.0
//
// The run of proto/vectors/state_digest.json over a real server, and what its digests promise.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/conformance/serving_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ServingTest;
using testing::StepOf;

class DigestTest : public ServingTest {
 protected:
  DigestTest() {
    std::ifstream file(TALWEG_DIGEST_VECTORS);
    published_ = nlohmann::json::parse(file);
  }

  // Makes the published session, with digests in its series every `every_steps` versions.
  void Create(const std::string& session_id, uint32_t every_steps) {
    nlohmann::json json = {{"session_id", session_id},
                           {"config", published_["config"]},
                           {"initial_values", published_["initial_values"]}};
    v1::CreateSessionRequest request;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json.dump(), &request).ok());
    request.mutable_config()->mutable_digests()->set_every_steps(every_steps);
    ASSERT_TRUE(wire_->Create(request).ok());
  }

  // Takes steps up to `version`, with the gradient that the file gives as a formula.
  void Train(const std::string& session_id, const v1::JoinResponse& joined, uint64_t version,
             std::vector<float> parameters) {
    for (uint64_t base = joined.version(); base < version; ++base) {
      std::vector<float> gradient = parameters;
      for (size_t i = 0; i < gradient.size(); ++i) {
        gradient[i] -= static_cast<float>(i % 1000) * 0.001f;
      }
      v1::StepResponse response;
      const v1::StepRequest request = StepOf(session_id, joined, base + 1, base, gradient);
      ASSERT_TRUE(wire_->Step(request, &response).ok());
      ASSERT_EQ(response.applied_version(), base + 1);
      parameters = testing::Floats(response.sections(0).data());
    }
  }

  v1::StateDigest DigestOf(const std::string& session_id) {
    v1::GetSessionRequest request;
    request.set_session_id(session_id);
    request.set_include_digest(true);
    v1::GetSessionResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(wire_->sessions().GetSession(&context, request, &response).ok());
    return response.session().state_digest();
  }

  void ExpectPublished(const v1::StateDigest& digest, const nlohmann::json& state) {
    EXPECT_EQ(digest.scheme(), published_["scheme"].get<std::string>());
    EXPECT_EQ(digest.version(), state["version"].get<uint64_t>());
    EXPECT_EQ(digest.sha256(), state["sha256"].get<std::string>());
    ASSERT_EQ(digest.vectors_size(), static_cast<int>(state["vectors"].size()));
    for (int index = 0; index < digest.vectors_size(); ++index) {
      const v1::VectorDigest& vector = digest.vectors(index);
      const nlohmann::json& expected = state["vectors"][static_cast<size_t>(index)];
      EXPECT_EQ(vector.name(), expected["name"].get<std::string>());
      EXPECT_EQ(vector.type(), expected["type"].get<std::string>());
      EXPECT_EQ(vector.num_elements(), expected["num_elements"].get<uint64_t>());
      EXPECT_EQ(vector.sha256(), expected["sha256"].get<std::string>()) << vector.name();
    }
  }

  nlohmann::json published_;
};

TEST_F(DigestTest, ThePublishedRunHasThePublishedDigests) {
  Create("s", 1);
  v1::JoinResponse joined = wire_->Join("s");
  for (const nlohmann::json& state : published_["states"]) {
    Train("s", joined, state["version"], PullAll("s"));
    joined.set_version(state["version"]);
    ExpectPublished(DigestOf("s"), state);
  }
  EXPECT_EQ(DigestOf("s").vectors(0).sha256(),
            "4b24600bc4d403b42ca83c498aebb50413bc7a3bfc7666255512827c767ca0e1");

  // The series has the digest of each version.
  v1::WatchSessionRequest watch;
  watch.set_session_id("s");
  grpc::ClientContext context;
  const auto stream = wire_->sessions().WatchSession(&context, watch);
  v1::WatchSessionResponse message;
  std::vector<std::string> told = {""};
  while (stream->Read(&message)) {
    for (const v1::StepRecord& record : message.records()) {
      ASSERT_EQ(record.version(), told.size());
      told.push_back(record.report().state_digest());
    }
  }
  ASSERT_TRUE(stream->Finish().ok());
  ASSERT_EQ(told.size(), 301u);
  for (const nlohmann::json& state : published_["states"]) {
    const uint64_t version = state["version"];
    if (version > 0) {
      EXPECT_EQ(told[version], state["sha256"].get<std::string>());
    }
  }
}

// Another name and history, a worker that was replaced on the way, and a step that was sent twice.
TEST_F(DigestTest, RunsThatWereGivenTheSameAgree) {
  Create("one", 0);
  Create("other", 7);
  Train("one", wire_->Join("one"), 20, PullAll("one"));
  Train("other", wire_->Join("other"), 10, PullAll("other"));
  v1::JoinResponse again = wire_->Join("other");
  ASSERT_EQ(again.version(), 10u);
  Train("other", again, 20, PullAll("other"));
  std::vector<float> ignored(1000);
  v1::StepResponse response;
  v1::StepRequest late = StepOf("other", again, 21, 10, ignored);
  ASSERT_TRUE(wire_->Step(late, &response).ok());
  ASSERT_EQ(response.verdict(), v1::VERDICT_TOO_STALE);
  ASSERT_TRUE(wire_->Step(late, &response).ok());
  ASSERT_TRUE(response.replayed());
  EXPECT_EQ(DigestOf("one").SerializeAsString(), DigestOf("other").SerializeAsString());
  EXPECT_NE(wire_->Checksum("one"), wire_->Checksum("other"));
}

TEST_F(DigestTest, AnswersTellTheDigestOfTheVersionsThatWereAskedFor) {
  Create("s", 2);
  const v1::JoinResponse joined = wire_->Join("s");
  const std::vector<float> gradient(1000, 0.5f);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 1, 0, gradient), &response).ok());
  EXPECT_FALSE(response.report().has_state_digest());
  const v1::StepRequest second = StepOf("s", joined, 2, 1, gradient);
  ASSERT_TRUE(wire_->Step(second, &response).ok());
  EXPECT_EQ(response.report().state_digest(), DigestOf("s").sha256());
  ASSERT_TRUE(wire_->Step(second, &response).ok());
  EXPECT_TRUE(response.replayed());
  EXPECT_EQ(response.report().state_digest(), DigestOf("s").sha256());
}

}  // namespace
}  // namespace talweg
