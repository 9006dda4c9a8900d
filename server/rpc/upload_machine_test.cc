// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/upload_machine.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr uint64_t kMin = 65536;  // the fewest elements of a float32 chunk, unless it is the last
constexpr uint64_t kElements = kMin + 3;

class UploadMachineTest : public ::testing::Test, public UploadWorld {
 protected:
  UploadMachineTest() { Renew(); }
  ~UploadMachineTest() override { machine_.reset(); }

  void Renew() {
    machine_.reset();
    kept_ = nullptr;
    num_let_go_ = 0;
    expired_ = false;
    opens_ = stops_ = touches_ = 0;
    made_.reset();
    sent_.clear();
    grants_.clear();
    ends_.clear();
    machine_ = std::make_unique<UploadMachine>(*this);
  }

  // The world.
  void Open(const v1::CreateSessionRequest& request) override {
    EXPECT_EQ(request.session_id(), "s");
    ++opens_;
  }
  void StopOpening() override { ++stops_; }
  void Make(std::unique_ptr<Upload> upload) override { made_ = std::move(upload); }
  void SendGrant(uint64_t begin_element, uint64_t num_elements) override {
    grants_.emplace_back(begin_element, num_elements);
  }
  void SendCreated(const v1::CreateSessionResponse& created) override {
    sent_.push_back(created.session().session_id());
  }
  void End(const absl::Status& status) override {
    ends_.push_back(status);
    machine_->LetGo();
  }

  // An upload with this many elements.
  std::unique_ptr<Upload> UploadOf(uint64_t num_arrived) {
    auto upload = std::make_unique<Upload>(
        nullptr, Upload::Keeper{.touch = [this] { ++touches_; },
                                .is_expired = [this] { return expired_; },
                                .let_go =
                                    [this](std::unique_ptr<ArrivedValues> rest) {
                                      ++num_let_go_;
                                      kept_ = std::move(rest);
                                    }});
    upload->Begin({TestConfig(kElements), {}, std::make_unique<core::Parameters>(kElements)});
    upload->arrived()->num_arrived = num_arrived;
    return upload;
  }

  static v1::UploadSessionRequest Create() {
    v1::UploadSessionRequest frame;
    frame.mutable_create()->set_session_id("s");
    return frame;
  }
  static v1::UploadSessionRequest Chunk(uint64_t begin, const std::vector<float>& values) {
    v1::UploadSessionRequest frame;
    v1::Section& section = *frame.mutable_chunk()->mutable_section();
    section.set_kind(v1::SECTION_KIND_PARAMETERS);
    section.set_begin_element(begin);
    section.set_data(std::string(BytesOf(values)));
    return frame;
  }
  static v1::UploadSessionRequest Commit() {
    v1::UploadSessionRequest frame;
    frame.mutable_commit();
    return frame;
  }
  static std::vector<float> Many() { return std::vector<float>(kMin, 0.25f); }

  void OpenAt(uint64_t num_arrived) {
    machine_->Take(Create());
    machine_->Opened(UploadOf(num_arrived));
    ASSERT_THAT(ends_, IsEmpty());
  }
  void ExpectEnd(const std::string& reason, const std::string& field = "") {
    ASSERT_EQ(ends_.size(), 1u);
    EXPECT_EQ(core::ReasonName(ends_[0]), reason) << ends_[0];
    EXPECT_EQ(core::FieldName(ends_[0]), field) << ends_[0];
    EXPECT_FALSE(machine_->TakesFrames());
  }

  std::unique_ptr<ArrivedValues> kept_;  // of the upload that was let go
  int num_let_go_ = 0;
  bool expired_ = false;
  int opens_ = 0;
  int stops_ = 0;
  int touches_ = 0;
  std::unique_ptr<Upload> made_;
  std::vector<std::pair<uint64_t, uint64_t>> grants_;
  std::vector<std::string> sent_;
  std::vector<absl::Status> ends_;
  std::unique_ptr<UploadMachine> machine_;
};

TEST_F(UploadMachineTest, ValuesStandInTheirPlaceWhenTheSessionIsMade) {
  EXPECT_TRUE(machine_->TakesFrames());
  machine_->Take(Create());
  EXPECT_EQ(opens_, 1);
  EXPECT_FALSE(machine_->TakesFrames());
  machine_->Opened(UploadOf(0));
  EXPECT_THAT(grants_, ElementsAre(Pair(0u, kElements)));
  machine_->Take(Chunk(0, Many()));
  v1::UploadSessionRequest half = Chunk(kMin, {});
  half.mutable_chunk()->mutable_section()->set_dtype(v1::DTYPE_BFLOAT16);
  half.mutable_chunk()->mutable_section()->set_data(std::string("\x00\x40\x80\xc0\x81\x3f", 6));
  machine_->Take(half);
  EXPECT_EQ(touches_, 2);
  std::vector<float> values = Many();
  values.insert(values.end(), {2, -4, 1 + 1.0f / 128});
  v1::UploadSessionRequest commit = Commit();
  commit.mutable_commit()->set_crc32c(core::Crc32c(BytesOf(values)));
  machine_->Take(commit);
  ASSERT_NE(made_, nullptr);
  EXPECT_FALSE(machine_->TakesFrames());
  const auto there = made_->arrived()->session.values->values.span();
  EXPECT_TRUE(std::equal(values.begin(), values.end(), there.begin(), there.end()));
  v1::CreateSessionResponse created;
  created.mutable_session()->set_session_id("s");
  machine_->Created(created);
  EXPECT_THAT(sent_, ElementsAre("s"));
  ASSERT_EQ(ends_.size(), 1u);
  EXPECT_TRUE(ends_[0].ok());
}

TEST_F(UploadMachineTest, TheGrantNamesTheElementThatIsMissing) {
  OpenAt(kMin);
  EXPECT_THAT(grants_, ElementsAre(Pair(kMin, kElements)));
  machine_->Take(Chunk(kMin, {1, 2, 3}));
  EXPECT_EQ(touches_, 1);
  machine_->Take(Commit());
  EXPECT_NE(made_, nullptr);
}

TEST_F(UploadMachineTest, ASessionThatWasMadeBeforeIsToldWithoutAGrant) {
  machine_->Take(Create());
  v1::CreateSessionResponse created;
  created.mutable_session()->set_session_id("s");
  machine_->Created(created);
  EXPECT_THAT(sent_, ElementsAre("s"));
  EXPECT_THAT(grants_, IsEmpty());
  ASSERT_EQ(ends_.size(), 1u);
  EXPECT_TRUE(ends_[0].ok());
}

TEST_F(UploadMachineTest, ARefusedFrameLeavesWhatHasArrivedToTheNextStream) {
  v1::UploadSessionRequest corrupt = Chunk(kMin, {1, 2, 3});
  corrupt.mutable_chunk()->set_crc32c(1);
  v1::UploadSessionRequest gradient = Chunk(kMin, {1, 2, 3});
  gradient.mutable_chunk()->mutable_section()->set_kind(v1::SECTION_KIND_GRADIENT);
  const struct {
    v1::UploadSessionRequest frame;
    std::string reason, field;
  } kRefused[] = {
      {Create(), "FRAME_UNEXPECTED", "create"},
      {v1::UploadSessionRequest(), "FRAME_UNEXPECTED", "frame"},
      {Chunk(0, Many()), "CHUNK_MISPLACED", "chunk.section.begin_element"},
      {Chunk(kMin, {1, 2, 3, 4}), "CHUNK_MISPLACED", "chunk.section.data"},
      {Chunk(kMin, {1, 2}), "FIELD_OUT_OF_RANGE", "chunk.section.data"},
      {corrupt, "CHUNK_CORRUPT", "chunk.crc32c"},
      {gradient, "SECTION_UNEXPECTED", "chunk.section.kind"},
      {Commit(), "CHUNK_MISPLACED", "commit"},
  };
  for (const auto& refused : kRefused) {
    SCOPED_TRACE(refused.frame.ShortDebugString().substr(0, 80));
    Renew();
    OpenAt(kMin);
    machine_->Take(refused.frame);
    ExpectEnd(refused.reason, refused.field);
    ASSERT_NE(kept_, nullptr);
    EXPECT_EQ(kept_->num_arrived, kMin);
  }
}

TEST_F(UploadMachineTest, ValuesThatAreWrongThrowTheUploadAway) {
  const float nan = std::nanf("");
  const float infinite = std::numeric_limits<float>::infinity();
  for (const auto& [values, text] :
       {std::pair(std::vector<float>{1, nan, 3}, "element 65537 of tensor \"w\" is a NaN"),
        std::pair(std::vector<float>{1, 2, infinite},
                  "element 65538 of tensor \"w\" is infinite")}) {
    Renew();
    OpenAt(kMin);
    machine_->Take(Chunk(kMin, values));
    ExpectEnd("INITIAL_VALUES_INVALID", "chunk.section.data");
    EXPECT_THAT(std::string(ends_[0].message()), HasSubstr(text));
    EXPECT_EQ(num_let_go_, 1);
    EXPECT_EQ(kept_, nullptr);
  }
  Renew();
  OpenAt(kElements);
  v1::UploadSessionRequest commit = Commit();
  commit.mutable_commit()->set_crc32c(1);
  machine_->Take(commit);
  ExpectEnd("CHUNK_CORRUPT", "commit.crc32c");
  EXPECT_EQ(kept_, nullptr);
  EXPECT_EQ(made_, nullptr);
}

TEST_F(UploadMachineTest, FramesBeforeACreateAreRefused) {
  for (const auto& frame : {Chunk(0, Many()), Commit(), v1::UploadSessionRequest()}) {
    Renew();
    machine_->Take(frame);
    ExpectEnd("FRAME_UNEXPECTED", "frame");
    EXPECT_EQ(opens_, 0);
  }
  Renew();
  machine_->NoMoreFrames();
  ExpectEnd("FRAME_UNEXPECTED", "frame");
}

TEST_F(UploadMachineTest, AnUploadThatBreaksOffIsKept) {
  OpenAt(kMin);
  machine_->NoMoreFrames();
  ExpectEnd("FRAME_UNEXPECTED", "frame");
  EXPECT_NE(kept_, nullptr);
  Renew();
  OpenAt(kMin);
  machine_->LetGo();
  EXPECT_NE(kept_, nullptr);
}

TEST_F(UploadMachineTest, TheStreamEndsWhenANewerOneComesAndKeepsTheUpload) {
  OpenAt(kMin);
  machine_->Hear(Uploads::News::kTakenOver);
  ExpectEnd("UPLOAD_TAKEN_OVER");
  EXPECT_NE(kept_, nullptr);
}

TEST_F(UploadMachineTest, AnUploadWhoseTimeIsOverIsThrownAwayUnlessSomethingHasArrived) {
  OpenAt(kMin);
  machine_->Hear(Uploads::News::kExpired);
  EXPECT_THAT(ends_, IsEmpty());
  expired_ = true;
  machine_->Hear(Uploads::News::kExpired);
  ExpectEnd("UPLOAD_EXPIRED");
  EXPECT_EQ(num_let_go_, 1);
  EXPECT_EQ(kept_, nullptr);
}

TEST_F(UploadMachineTest, NothingKeepsACommittedUploadFromItsSession) {
  OpenAt(kElements);
  machine_->Take(Commit());
  expired_ = true;
  machine_->Hear(Uploads::News::kTakenOver);
  machine_->Hear(Uploads::News::kExpired);
  machine_->Stop(absl::UnavailableError("stopping"));
  machine_->NoMoreFrames();
  EXPECT_THAT(ends_, IsEmpty());
  machine_->LetGo();  // the client has gone
  EXPECT_NE(made_, nullptr);
  machine_->Created(v1::CreateSessionResponse());
  EXPECT_THAT(sent_, IsEmpty());
}

TEST_F(UploadMachineTest, AServerThatStopsEndsAnUpload) {
  OpenAt(kMin);
  machine_->Stop(core::MakeError(core::Reason::kDraining, "stopping"));
  ExpectEnd("DRAINING");
}

TEST_F(UploadMachineTest, AStreamThatGivesUpBeforeTheGrantHoldsNothing) {
  machine_->Take(Create());
  machine_->LetGo();
  EXPECT_EQ(stops_, 1);
  machine_->Opened(UploadOf(kMin));  // it was on its way
  EXPECT_THAT(grants_, IsEmpty());
  EXPECT_NE(kept_, nullptr);
}

TEST_F(UploadMachineTest, WhatTheSessionCannotBeMadeOfEndsTheStream) {
  machine_->Take(Create());
  machine_->Opened(core::MakeError(core::Reason::kMemoryQuota, "too large"));
  ExpectEnd("MEMORY_QUOTA");
  Renew();
  OpenAt(kElements);
  machine_->Take(Commit());
  machine_->Created(core::MakeError(core::Reason::kSessionExists, "another"));
  ExpectEnd("SESSION_EXISTS");
}

TEST_F(UploadMachineTest, AStreamThatIsTakenOverBeforeItIsOpenedEnds) {
  machine_->Take(Create());
  machine_->Hear(Uploads::News::kTakenOver);
  machine_->Opened(UploadOf(0));
  ExpectEnd("UPLOAD_TAKEN_OVER");
}

}  // namespace
}  // namespace talweg::server
