// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/upload.h"

#include <memory>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/fake_transport.h"
#include "client/cpp/talweg/float_bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr size_t kChunk = size_t{1} << 18;  // elements of a float32 chunk of 1 MiB
constexpr size_t kElements = 3 * kChunk + 5;

class ClientUploadTest : public ::testing::Test {
 protected:
  ClientUploadTest() {
    server_->parameters.resize(kElements);
    request_.set_session_id("s");
  }
  Client MakeClient() {
    ClientOptions options;
    options.retry.initial_backoff = absl::Milliseconds(1);
    return Client(std::make_unique<FakeTransport>(server_), options);
  }
  static std::vector<float> Values(size_t num_elements = kElements) {
    std::vector<float> values(num_elements);
    for (size_t index = 0; index < values.size(); ++index) {
      values[index] = static_cast<float>(index % 1000) * 0.37f;
    }
    return values;
  }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  v1::CreateSessionRequest request_;
};

TEST_F(ClientUploadTest, LargeValuesGoOverAStreamUnderARequestIdOfTheirOwn) {
  std::vector<uint64_t> told;
  const auto made = MakeClient().CreateSession(request_, Values(),
                                               {.progress = [&](uint64_t done, uint64_t total) {
                                                 EXPECT_EQ(total, 4 * kElements);
                                                 told.push_back(done);
                                               }});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->session_id(), "s");
  EXPECT_TRUE(server_->uploaded == Values());
  EXPECT_THAT(told, ElementsAre(4 * kChunk, 8 * kChunk, 12 * kChunk, 4 * kElements));
  ASSERT_EQ(server_->uploads.size(), 1u);
  EXPECT_FALSE(server_->uploads[0].request_id().empty());
  EXPECT_FALSE(server_->uploads[0].has_initial_values());
  EXPECT_THAT(server_->request_ids, IsEmpty());
}

TEST_F(ClientUploadTest, SmallValuesGoInTheRequest) {
  server_->parameters.resize(kChunk);
  ASSERT_TRUE(MakeClient().CreateSession(request_, Values(kChunk)).ok());
  EXPECT_EQ(server_->request_ids.size(), 1u);
  EXPECT_THAT(server_->uploads, IsEmpty());
}

TEST_F(ClientUploadTest, AnUploadThatBreaksGoesOnWhereItEnded) {
  server_->upload_frames = {2, 0, 1};
  const auto made = MakeClient().CreateSession(request_, Values());
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(server_->upload_grants, ElementsAre(0, 2 * kChunk, 2 * kChunk, 3 * kChunk));
  EXPECT_TRUE(server_->uploaded == Values());
  for (const auto& create : server_->uploads) {
    EXPECT_EQ(create.SerializeAsString(), server_->uploads[0].SerializeAsString());
  }
}

TEST_F(ClientUploadTest, AnotherProcessGoesOnWithTheSameRequestAndTheChecksumOfTheWhole) {
  request_.set_request_id("agreed");
  const std::vector<float> values = Values();
  server_->uploaded.assign(values.begin(), values.begin() + kChunk + 1);
  ASSERT_TRUE(MakeClient().CreateSession(request_, values).ok());
  EXPECT_THAT(server_->upload_grants, ElementsAre(kChunk + 1));
  EXPECT_EQ(server_->uploads[0].request_id(), "agreed");
  EXPECT_TRUE(server_->uploaded == values);
}

TEST_F(ClientUploadTest, ValuesOfAnotherFileAreThrownAwayAndSentAnew) {
  server_->uploaded.assign(kChunk, 7.0f);
  ASSERT_TRUE(MakeClient().CreateSession(request_, Values()).ok());
  EXPECT_THAT(server_->upload_grants, ElementsAre(kChunk, 0));
  EXPECT_TRUE(server_->uploaded == Values());
}

TEST_F(ClientUploadTest, ALostAnswerIsAskedForAgain) {
  server_->upload_frames = {5};  // four chunks and the commit
  const auto made = MakeClient().CreateSession(request_, Values());
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->session_id(), "s");
  EXPECT_EQ(server_->uploads.size(), 2u);
  EXPECT_EQ(server_->upload_grants.size(), 1u);
}

TEST_F(ClientUploadTest, AnUploadThatExpiredOrWasTakenOverIsTriedAgain) {
  for (const char* reason : {"UPLOAD_EXPIRED", "UPLOAD_TAKEN_OVER"}) {
    *server_->session.mutable_session_id() = "";
    server_->uploads.clear();
    server_->uploaded.clear();
    server_->upload_frames = {1};
    server_->upload_end = ServerError(absl::StatusCode::kAborted, reason);
    EXPECT_TRUE(MakeClient().CreateSession(request_, Values()).ok()) << reason;
    EXPECT_EQ(server_->uploads.size(), 2u);
  }
}

TEST_F(ClientUploadTest, ARequestWithLargeValuesIsUploadedAsItIs) {
  const std::vector<float> values = Values();
  v1::Section& section = *request_.mutable_initial_values()->mutable_uploaded();
  section.set_kind(v1::SECTION_KIND_PARAMETERS);
  section.set_dtype(v1::DTYPE_FLOAT16);
  section.mutable_data()->resize(2 * kElements);
  EncodeFloats(v1::DTYPE_FLOAT16, values, section.mutable_data()->data());
  std::vector<float> rounded(kElements);
  DecodeFloats(v1::DTYPE_FLOAT16, section.data().data(), absl::MakeSpan(rounded));
  const auto made = MakeClient().CreateOrAttach(request_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(made->created);
  EXPECT_TRUE(server_->uploaded == rounded);
}

TEST_F(ClientUploadTest, ValuesOfAnotherNumberThanTheLayoutAreRefusedHere) {
  const auto made = MakeClient().CreateSession(request_, Values(kElements - 1));
  EXPECT_TRUE(absl::IsInvalidArgument(made.status()));
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("786437 elements"));
  EXPECT_EQ(server_->uploads.size(), 1u);
}

}  // namespace
}  // namespace talweg
