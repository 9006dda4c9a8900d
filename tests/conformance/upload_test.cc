// SPDX-License-Identifier: Apache-2.0
//
// Initial values over UploadSession: of any size and dtype, bit for bit, also if the upload breaks
// off; and what an upload holds meanwhile, and gives back.
#include <chrono>
#include <cmath>
#include <future>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "core/base/checksum.h"
#include "core/base/dtype.h"
#include "gtest/gtest.h"
#include "tests/conformance/serving_test.h"
#include "tests/support/proxy.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::Bytes;
using testing::ErrorOf;
using testing::UploadOf;
using testing::VectorSession;
using testing::WireClient;
using testing::WireUpload;

constexpr uint64_t kChunk = uint64_t{1} << 18;  // elements of a chunk of 1 MiB
constexpr uint64_t kElements = 3 * kChunk + 1001;

// Values whose bits all differ from one element to the next.
std::vector<float> Values(uint64_t num_elements, uint32_t seed = 1) {
  std::vector<float> values(num_elements);
  uint32_t state = seed;
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = static_cast<float>(static_cast<int32_t>(state)) * 1e-9f;
  }
  return values;
}

class UploadTest : public testing::ServingTest {
 protected:
  static v1::CreateSessionRequest Request(const std::string& id = "s",
                                          uint64_t num_elements = kElements) {
    return UploadOf(VectorSession(id, num_elements));
  }
  int port() const {
    return std::stoi(server_->address().substr(server_->address().rfind(':') + 1));
  }
  bool IsThere(const std::string& id) {
    v1::GetSessionRequest request;
    v1::GetSessionResponse response;
    request.set_session_id(id);
    grpc::ClientContext context;
    return wire_->sessions().GetSession(&context, request, &response).ok();
  }
  // Waits, at most some seconds, until sessions and uploads hold this many bytes.
  void ExpectHeld(uint64_t bytes) {
    for (int tries = 0; tries < 5000 && server_->session_bytes() != bytes; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(server_->session_bytes(), bytes);
  }
  // Begins an upload and breaks it off behind `num_elements`, which the server has taken.
  void BreakOff(const v1::CreateSessionRequest& request, const std::vector<float>& values,
                uint64_t num_elements) {
    {
      WireUpload upload(wire_->sessions(), request);
      ASSERT_EQ(upload.ReadGrant(), 0u);
      ASSERT_TRUE(upload.WriteValues(values, 0, num_elements));
      // The refusal says that everything before it was taken.
      ASSERT_TRUE(upload.WriteCommit());
      ASSERT_EQ(ErrorOf(upload.Finish()).reason, "CHUNK_MISPLACED");
    }
    EXPECT_FALSE(IsThere(request.session_id()));
  }
  // Goes on with an upload, from the element that it expects, to its end.
  void FinishUpload(const v1::CreateSessionRequest& request, const std::vector<float>& values,
                    uint64_t expected_grant) {
    WireUpload upload(wire_->sessions(), request);
    const std::optional<uint64_t> grant = upload.ReadGrant();
    ASSERT_EQ(grant, expected_grant);
    ASSERT_TRUE(upload.WriteValues(values, *grant, values.size()));
    ASSERT_TRUE(upload.WriteCommit(core::Crc32c(Bytes(values))));
    const grpc::Status status = upload.Finish();
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_TRUE(upload.created().has_value());
    EXPECT_EQ(upload.created()->session_id(), request.session_id());
    EXPECT_TRUE(PullAll(request.session_id()) == values);
  }
};

TEST_F(UploadTest, ValuesLargerThanAMessageArriveBitForBit) {
  const std::vector<float> values = Values((uint64_t{17} << 20) + 12345);  // 68 MiB
  const v1::CreateSessionRequest request = Request("large", values.size());
  FinishUpload(request, values, 0);
  const v1::Session session = wire_->Get("large");
  EXPECT_EQ(session.version(), 0u);
  EXPECT_EQ(session.num_elements(), values.size());
  EXPECT_EQ(server_->session_bytes(), session.memory_bytes());
}

TEST_F(UploadTest, EveryDtypeArrivesAsItsFloat32AndMayChangeFromChunkToChunk) {
  const std::vector<float> values = Values(kElements);
  const auto encoded = [&](core::Dtype dtype, uint64_t begin, uint64_t count) {
    std::string data(count * core::DtypeBytes(dtype), '\0');
    core::FromFloat32(dtype, absl::MakeConstSpan(values).subspan(begin, count), data.data());
    return data;
  };
  WireUpload upload(wire_->sessions(), Request());
  ASSERT_EQ(upload.ReadGrant(), 0u);
  const struct {
    v1::Dtype wire;
    core::Dtype dtype;
    uint64_t count;
  } kParts[] = {{v1::DTYPE_FLOAT32, core::Dtype::kFloat32, kChunk},
                {v1::DTYPE_BFLOAT16, core::Dtype::kBfloat16, kChunk},
                {v1::DTYPE_FLOAT16, core::Dtype::kFloat16, kChunk},
                {v1::DTYPE_UNSPECIFIED, core::Dtype::kFloat32, 1001}};
  std::vector<float> expected(kElements);
  uint64_t begin = 0;
  for (const auto& part : kParts) {
    const std::string data = encoded(part.dtype, begin, part.count);
    ASSERT_TRUE(upload.WriteChunk(begin, part.wire, data));
    core::ToFloat32(part.dtype, data.data(), absl::MakeSpan(expected).subspan(begin, part.count));
    begin += part.count;
  }
  ASSERT_TRUE(upload.WriteCommit(core::Crc32c(Bytes(expected))));
  const grpc::Status status = upload.Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(PullAll("s") == expected);
}

TEST_F(UploadTest, AnUploadWhoseConnectionIsCutGoesOnFromTheElementThatIsMissing) {
  const std::vector<float> values = Values(kElements);
  {
    testing::Proxy proxy(port());
    WireClient relayed(proxy.address());
    WireUpload upload(relayed.sessions(), Request());
    ASSERT_EQ(upload.ReadGrant(), 0u);
    proxy.CutAfter(/*from_server=*/false, (5 << 20) / 2);  // within the third chunk
    upload.WriteValues(values, 0, kElements);
    EXPECT_EQ(upload.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  EXPECT_FALSE(IsThere("s"));
  FinishUpload(Request(), values, 2 * kChunk);
}

TEST_F(UploadTest, ALostAnswerIsToldAgainWithoutAGrant) {
  const std::vector<float> values = Values(kElements);
  uint64_t history = 0;
  BreakOff(Request(), values, 3 * kChunk);
  {
    testing::Proxy proxy(port());
    WireClient relayed(proxy.address());
    WireUpload upload(relayed.sessions(), Request());
    ASSERT_EQ(upload.ReadGrant(), 3 * kChunk);
    proxy.DropReplies();
    ASSERT_TRUE(upload.WriteValues(values, 3 * kChunk, kElements));
    ASSERT_TRUE(upload.WriteCommit());
    while (!IsThere("s")) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    history = wire_->Get("s").history();
    proxy.CutAndHeal();
    EXPECT_FALSE(upload.Finish().ok());
  }
  WireUpload again(wire_->sessions(), Request());
  EXPECT_EQ(again.ReadGrant(), std::nullopt);
  ASSERT_TRUE(again.created().has_value());
  EXPECT_EQ(again.created()->history(), history);
  EXPECT_TRUE(again.Finish().ok());
  // Another request does not get it.
  v1::CreateSessionRequest other = Request();
  other.set_request_id("other");
  EXPECT_EQ(ErrorOf(WireUpload(wire_->sessions(), other).Finish()).reason, "SESSION_EXISTS");
}

TEST_F(UploadTest, ANewerStreamTakesOverWhereTheOlderOneStands) {
  const std::vector<float> values = Values(kElements);
  WireUpload older(wire_->sessions(), Request());
  ASSERT_EQ(older.ReadGrant(), 0u);
  ASSERT_TRUE(older.WriteValues(values, 0, kChunk));
  // Either the chunk was taken before the newer stream came, or the older one sends it in vain.
  WireUpload newer(wire_->sessions(), Request());
  const std::optional<uint64_t> grant = newer.ReadGrant();
  ASSERT_TRUE(grant == 0u || grant == kChunk);
  EXPECT_EQ(ErrorOf(older.Finish()).reason, "UPLOAD_TAKEN_OVER");
  ASSERT_TRUE(newer.WriteValues(values, *grant, kElements));
  ASSERT_TRUE(newer.WriteCommit(core::Crc32c(Bytes(values))));
  ASSERT_TRUE(newer.Finish().ok());
  EXPECT_TRUE(PullAll("s") == values);
}

TEST_F(UploadTest, WhatArrivedOfAnotherRequestIsNeverMixedIn) {
  const std::vector<float> values = Values(kElements);
  BreakOff(Request(), Values(kElements, 2), 2 * kChunk);
  v1::CreateSessionRequest other = Request();
  other.set_request_id("other");
  FinishUpload(other, values, 0);
  EXPECT_EQ(ErrorOf(WireUpload(wire_->sessions(), Request()).Finish()).reason, "SESSION_EXISTS");
  ExpectHeld(wire_->Get("s").memory_bytes());
}

TEST_F(UploadTest, TheFirstCommitOfAnIdMakesTheSession) {
  const std::vector<float> values = Values(kElements);
  WireUpload slow(wire_->sessions(), Request());
  ASSERT_EQ(slow.ReadGrant(), 0u);
  ASSERT_TRUE(slow.WriteValues(values, 0, kElements));
  ASSERT_TRUE(wire_->Create(VectorSession("s", kElements)).ok());
  ASSERT_TRUE(slow.WriteCommit());
  EXPECT_EQ(ErrorOf(slow.Finish()).reason, "SESSION_EXISTS");
  EXPECT_TRUE(PullAll("s") == std::vector<float>(kElements, 0.0f));
  ExpectHeld(wire_->Get("s").memory_bytes());
  // An upload that rested meanwhile is told so before another value is sent.
  BreakOff(Request("t"), values, kChunk);
  ASSERT_TRUE(wire_->Create(VectorSession("t", kElements)).ok());
  WireUpload rested(wire_->sessions(), Request("t"));
  EXPECT_EQ(rested.ReadGrant(), std::nullopt);
  EXPECT_EQ(ErrorOf(rested.Finish()).reason, "SESSION_EXISTS");
}

TEST_F(UploadTest, AnUploadResumedWithAnotherFileIsFoundAndBeginsAnew) {
  const std::vector<float> values = Values(kElements);
  BreakOff(Request(), Values(kElements, 2), 2 * kChunk);
  {
    WireUpload upload(wire_->sessions(), Request());
    ASSERT_EQ(upload.ReadGrant(), 2 * kChunk);
    ASSERT_TRUE(upload.WriteValues(values, 2 * kChunk, kElements));
    ASSERT_TRUE(upload.WriteCommit(core::Crc32c(Bytes(values))));
    const auto error = ErrorOf(upload.Finish());
    EXPECT_EQ(error.reason, "CHUNK_CORRUPT");
    EXPECT_EQ(error.field, "commit.crc32c");
  }
  EXPECT_FALSE(IsThere("s"));
  FinishUpload(Request(), values, 0);
}

TEST_F(UploadTest, ValuesThatAreNotFiniteAreRefusedByNameAndHoldNothing) {
  std::vector<float> values = Values(kElements);
  values[kChunk + 7] = std::numeric_limits<float>::infinity();
  {
    WireUpload upload(wire_->sessions(), Request());
    ASSERT_EQ(upload.ReadGrant(), 0u);
    upload.WriteValues(values, 0, kElements);
    const auto error = ErrorOf(upload.Finish());
    EXPECT_EQ(error.reason, "INITIAL_VALUES_INVALID");
    EXPECT_EQ(error.field, "chunk.section.data");
    EXPECT_EQ(error.message, "element 262151 of tensor \"w\" is infinite");
  }
  EXPECT_FALSE(IsThere("s"));
  ExpectHeld(0);
  FinishUpload(Request(), Values(kElements), 0);
}

TEST_F(UploadTest, ARefusedFrameChangesNothingThatHasArrived) {
  const std::vector<float> values = Values(8 * kChunk);
  const v1::CreateSessionRequest request = Request("s", values.size());
  BreakOff(request, values, kChunk);
  const auto refusal = [&](uint64_t begin, const std::string& data) {
    WireUpload upload(wire_->sessions(), request);
    EXPECT_EQ(upload.ReadGrant(), kChunk);
    upload.WriteChunk(begin, v1::DTYPE_FLOAT32, data);
    return ErrorOf(upload.Finish());
  };
  const std::string chunk(kChunk * sizeof(float), '\1');
  const auto misplaced = refusal(0, chunk);
  EXPECT_EQ(misplaced.reason, "CHUNK_MISPLACED");
  EXPECT_EQ(misplaced.info.metadata().at("expected_element"), std::to_string(kChunk));
  EXPECT_EQ(refusal(kChunk, chunk.substr(0, 1000)).reason, "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(refusal(kChunk, std::string((4 << 20) + 4, '\1')).reason, "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(refusal(kChunk, chunk.substr(1)).reason, "SECTION_SIZE_MISMATCH");
  FinishUpload(request, values, kChunk);
}

TEST_F(UploadTest, MemoryIsReservedBeforeAValueIsSentAndGivenBackWhenTheTimeIsOver) {
  const std::vector<float> values = Values(kElements);
  ASSERT_TRUE(wire_->Create(VectorSession("like", kElements)).ok());
  const uint64_t bytes = wire_->Get("like").memory_bytes();
  // Room for two sessions and a half, and little patience.
  Start({.memory_bytes = bytes / 2 * 5, .upload_patience = absl::Seconds(1)});
  auto upload = std::make_unique<WireUpload>(wire_->sessions(), Request("a"));
  ASSERT_EQ(upload->ReadGrant(), 0u);
  EXPECT_EQ(server_->session_bytes(), bytes);
  ASSERT_TRUE(upload->WriteValues(values, 0, kChunk));
  auto second = std::make_unique<WireUpload>(wire_->sessions(), Request("b"));
  ASSERT_EQ(second->ReadGrant(), 0u);
  EXPECT_EQ(ErrorOf(WireUpload(wire_->sessions(), Request("c")).Finish()).reason, "MEMORY_QUOTA");
  second.reset();  // it brought nothing, so nothing is kept
  ExpectHeld(bytes);
  upload.reset();
  ExpectHeld(0);
  FinishUpload(Request("a"), values, 0);
}

TEST_F(UploadTest, AClientThatFallsSilentIsCutOff) {
  Start({.upload_patience = absl::Milliseconds(100)});
  WireUpload upload(wire_->sessions(), Request());
  ASSERT_EQ(upload.ReadGrant(), 0u);
  EXPECT_EQ(ErrorOf(upload.Finish()).reason, "UPLOAD_EXPIRED");
  ExpectHeld(0);
}

TEST_F(UploadTest, UploadsCountAsSessions) {
  Start({.max_sessions = 2});
  WireUpload first(wire_->sessions(), Request("a", 10));
  ASSERT_EQ(first.ReadGrant(), 0u);
  WireUpload second(wire_->sessions(), Request("b", 10));
  ASSERT_EQ(second.ReadGrant(), 0u);
  EXPECT_EQ(ErrorOf(WireUpload(wire_->sessions(), Request("c", 10)).Finish()).reason,
            "TOO_MANY_SESSIONS");
}

TEST_F(UploadTest, ADryRunAsksForNoValuesAndMakesNothing) {
  v1::CreateSessionRequest request = Request();
  request.set_validate_only(true);
  WireUpload upload(wire_->sessions(), request);
  EXPECT_EQ(upload.ReadGrant(), std::nullopt);
  ASSERT_TRUE(upload.created().has_value());
  EXPECT_EQ(upload.created()->history(), 0u);
  EXPECT_GT(upload.created()->memory_bytes(), kElements * 4);
  EXPECT_TRUE(upload.Finish().ok());
  EXPECT_FALSE(IsThere("s"));
  EXPECT_EQ(server_->session_bytes(), 0u);
}

TEST_F(UploadTest, AServerThatStopsTellsItsUploads) {
  WireUpload upload(wire_->sessions(), Request());
  ASSERT_EQ(upload.ReadGrant(), 0u);
  server_->Refuse();
  EXPECT_EQ(ErrorOf(upload.Finish()).reason, "DRAINING");
  EXPECT_EQ(ErrorOf(WireUpload(wire_->sessions(), Request("t")).Finish()).reason, "DRAINING");
}

// Streams of one upload that come, break off and take over at any time: the session has the values.
TEST_F(UploadTest, ManyStreamsOfOneUploadMakeOneSession) {
  const std::vector<float> values = Values(kElements);
  const auto bring = [&]() -> uint64_t {
    for (;;) {
      WireUpload upload(wire_->sessions(), Request());
      const std::optional<uint64_t> grant = upload.ReadGrant();
      if (upload.created().has_value()) return upload.created()->history();
      if (grant.has_value() && upload.WriteValues(values, *grant, kElements)) {
        upload.WriteCommit(core::Crc32c(Bytes(values)));
      }
      const grpc::Status status = upload.Finish();
      if (status.ok()) return upload.created()->history();
      EXPECT_EQ(ErrorOf(status).reason, "UPLOAD_TAKEN_OVER");
    }
  };
  std::vector<std::future<uint64_t>> streams;
  for (int index = 0; index < 6; ++index) streams.push_back(std::async(std::launch::async, bring));
  const uint64_t history = streams[0].get();
  for (size_t index = 1; index < streams.size(); ++index) EXPECT_EQ(streams[index].get(), history);
  EXPECT_TRUE(PullAll("s") == values);
  ExpectHeld(wire_->Get("s").memory_bytes());
}

TEST_F(UploadTest, TheClientGoesOnWhereItsConnectionsBreak) {
  const std::vector<float> values = Values(12 * kChunk + 3);
  testing::Proxy proxy(port());
  int num_breaks = 0;
  ClientOptions options;
  options.retry.initial_backoff = absl::Milliseconds(5);
  options.retry.retrying = [&](const absl::Status&) {
    if (++num_breaks < 4) proxy.CutAfter(/*from_server=*/false, int64_t{7} << 19);
  };
  const Client client = Client::Connect(proxy.address(), options).value();
  proxy.CutAfter(/*from_server=*/false, int64_t{7} << 19);  // 3.5 MiB
  int num_first_chunks = 0;
  const auto made = client.CreateSession(
      Request("s", values.size()), values,
      {.progress = [&](uint64_t done, uint64_t) { num_first_chunks += done == 4 * kChunk; }});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_GE(num_breaks, 3);
  EXPECT_EQ(num_first_chunks, 1);
  EXPECT_TRUE(PullAll("s") == values);
}

TEST_F(UploadTest, ClientsThatAgreeOnOneRequestGetOneSession) {
  v1::CreateSessionRequest request = Request();
  v1::Section& section = *request.mutable_initial_values()->mutable_uploaded();
  section.set_kind(v1::SECTION_KIND_PARAMETERS);
  section.set_data(Bytes(Values(kElements)));
  std::vector<std::future<uint64_t>> clients;
  for (int index = 0; index < 4; ++index) {
    clients.push_back(std::async(std::launch::async, [&] {
      ClientOptions options;
      options.retry.initial_backoff = absl::Milliseconds(5);
      const auto made = Client::Connect(server_->address(), options)->CreateSession(request);
      EXPECT_TRUE(made.ok()) << made.status();
      return made.ok() ? made->history() : 0;
    }));
  }
  const uint64_t history = clients[0].get();
  for (size_t index = 1; index < clients.size(); ++index) EXPECT_EQ(clients[index].get(), history);
  EXPECT_TRUE(PullAll("s") == Values(kElements));
}

}  // namespace
}  // namespace talweg
