// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/uploads.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using News = Uploads::News;

constexpr uint64_t kElements = 10;
constexpr absl::Duration kPatience = absl::Seconds(60);

// Time that the test moves, and tasks that run at once.
class TimeEnv final : public PoolEnv {
 public:
  explicit TimeEnv(ComputePool& pool) : PoolEnv(pool) {}
  absl::Time MonotonicNow() const override { return now_; }
  void Post(Task task) override { task(); }
  uint64_t Arm(absl::Time when, std::function<void()> callback) override {
    alarms_[++last_] = {when, std::move(callback)};
    return last_;
  }
  void Cancel(uint64_t alarm) override { alarms_.erase(alarm); }

  void Pass(absl::Duration time) {
    const absl::Time end = now_ + time;
    for (;;) {
      auto first = alarms_.end();
      for (auto next = alarms_.begin(); next != alarms_.end(); ++next) {
        if (next->second.first > end) continue;
        if (first == alarms_.end() || next->second.first < first->second.first) first = next;
      }
      if (first == alarms_.end()) break;
      now_ = std::max(now_, first->second.first);
      const auto callback = std::move(first->second.second);
      alarms_.erase(first);
      callback();
    }
    now_ = end;
  }
  size_t num_alarms() const { return alarms_.size(); }

 private:
  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
  uint64_t last_ = 0;
  std::map<uint64_t, std::pair<absl::Time, std::function<void()>>> alarms_;
};

// A stream, as far as the uploads see it.
struct Stream {
  uint64_t place = 0;
  std::vector<News> news;
  int num_answers = 0;
  std::unique_ptr<Upload> upload;
  std::string refusal;
};

class UploadsTest : public ::testing::Test {
 protected:
  void Claim(Stream& stream, const std::string& request_id = "r", const std::string& id = "s") {
    stream.place = uploads_.Claim(
        {id, request_id, 7, 0, absl::UnixEpoch()},
        [&stream](News news) { stream.news.push_back(news); },
        [&stream](absl::StatusOr<std::unique_ptr<Upload>> upload) {
          ++stream.num_answers;
          stream.refusal = core::ReasonName(upload.status());
          if (upload.ok()) stream.upload = *std::move(upload);
        });
  }
  // The memory is there, and some values have arrived.
  void Bring(Stream& stream, uint64_t num_elements) {
    if (stream.upload->arrived() == nullptr) {
      stream.upload->Begin(factory_.Prepare(TestConfig(kElements)).value());
    }
    stream.upload->arrived()->num_arrived += num_elements;
    stream.upload->Touch();
  }

  ComputePool pool_{1};
  TimeEnv env_{pool_};
  SessionTable table_{2};
  MemoryBudget memory_{3 * TestConfig(kElements).MemoryBytes()};
  SessionFactory factory_{table_, memory_, env_};
  Uploads uploads_{env_, kPatience};
};

TEST_F(UploadsTest, WhatHasArrivedStaysForTheNextStream) {
  Stream first;
  Stream second;
  Claim(first);
  EXPECT_EQ(first.upload->arrived(), nullptr);
  Bring(first, 4);
  first.upload.reset();
  EXPECT_GT(memory_.used(), 0u);
  env_.Pass(kPatience - absl::Seconds(1));
  Claim(second);
  ASSERT_NE(second.upload->arrived(), nullptr);
  EXPECT_EQ(second.upload->arrived()->num_arrived, 4u);
  EXPECT_EQ(uploads_.size(), 1u);
}

TEST_F(UploadsTest, AnUploadThatRestsTooLongGivesItsMemoryBack) {
  Stream stream;
  Claim(stream);
  Bring(stream, 4);
  env_.Pass(absl::Seconds(59));
  stream.upload.reset();  // the time counts from here
  env_.Pass(absl::Seconds(59));
  EXPECT_GT(memory_.used(), 0u);
  env_.Pass(absl::Seconds(1));
  EXPECT_EQ(memory_.used(), 0u);
  EXPECT_EQ(uploads_.size(), 0u);
  EXPECT_EQ(env_.num_alarms(), 0u);
}

TEST_F(UploadsTest, NothingIsKeptOfAnUploadThatBroughtNothingOrWasDiscarded) {
  Stream stream;
  Claim(stream);
  Bring(stream, 0);
  stream.upload.reset();
  EXPECT_EQ(memory_.used(), 0u);
  Claim(stream);
  Bring(stream, 4);
  stream.upload->Discard();
  EXPECT_EQ(memory_.used(), 0u);
  EXPECT_EQ(uploads_.size(), 1u);  // held
  stream.upload.reset();
  EXPECT_EQ(uploads_.size(), 0u);
  EXPECT_EQ(env_.num_alarms(), 0u);
}

TEST_F(UploadsTest, ANewerStreamWaitsUntilTheOlderOneHasLetGo) {
  Stream older;
  Stream newer;
  Claim(older);
  Bring(older, 4);
  Claim(newer);
  EXPECT_THAT(older.news, ElementsAre(News::kTakenOver));
  EXPECT_EQ(newer.num_answers, 0);
  older.upload.reset();
  ASSERT_NE(newer.upload, nullptr);
  EXPECT_EQ(newer.upload->arrived()->num_arrived, 4u);
  // It is the holder now, and hears the news.
  Stream newest;
  Claim(newest);
  EXPECT_THAT(newer.news, ElementsAre(News::kTakenOver));
  newer.upload.reset();  // while the stream that it goes to is there
  EXPECT_NE(newest.upload, nullptr);
}

TEST_F(UploadsTest, AStreamThatWaitsIsOutrunByANewerOne) {
  Stream holder;
  Stream waits;
  Stream newest;
  Claim(holder);
  Claim(waits);
  Claim(newest);
  EXPECT_EQ(waits.refusal, "UPLOAD_TAKEN_OVER");
  holder.upload.reset();  // it brought nothing: the next one begins anew
  ASSERT_NE(newest.upload, nullptr);
  EXPECT_EQ(newest.upload->arrived(), nullptr);
  EXPECT_EQ(waits.num_answers, 1);
}

TEST_F(UploadsTest, MemoryPassesToTheStreamThatWaits) {
  Stream holder;
  Stream waits;
  Claim(holder);
  Bring(holder, 0);
  Claim(waits);
  holder.upload.reset();
  ASSERT_NE(waits.upload->arrived(), nullptr);
  EXPECT_EQ(memory_.used(), TestConfig(kElements).MemoryBytes());
  waits.upload.reset();
  EXPECT_EQ(memory_.used(), 0u);
}

TEST_F(UploadsTest, AStreamThatLeavesTheLineGetsNothing) {
  Stream holder;
  Stream leaves;
  Claim(holder);
  Bring(holder, 4);
  Claim(leaves);
  uploads_.Forget(leaves.place);
  holder.upload.reset();
  EXPECT_EQ(leaves.num_answers, 0);
  env_.Pass(kPatience);
  EXPECT_EQ(memory_.used(), 0u);
}

TEST_F(UploadsTest, AHolderIsToldWhenNothingHasArrivedForTooLong) {
  Stream stream;
  Claim(stream);
  Bring(stream, 1);
  for (int chunk = 0; chunk < 5; ++chunk) {
    env_.Pass(kPatience - absl::Seconds(1));
    EXPECT_FALSE(stream.upload->IsExpired());
    Bring(stream, 1);
  }
  EXPECT_THAT(stream.news, IsEmpty());
  env_.Pass(kPatience);
  EXPECT_THAT(stream.news, ElementsAre(News::kExpired));
  EXPECT_TRUE(stream.upload->IsExpired());
  // A chunk that was on its way counts.
  Bring(stream, 1);
  EXPECT_FALSE(stream.upload->IsExpired());
}

TEST_F(UploadsTest, AnUploadAtRestYieldsToAnotherRequestForItsSession) {
  Stream rests;
  Stream held;
  Stream other;
  Claim(rests, "a");
  Bring(rests, 4);
  Claim(held, "b");
  Bring(held, 5);
  rests.upload.reset();
  Claim(other, "c");
  EXPECT_EQ(other.upload->arrived(), nullptr);
  EXPECT_EQ(uploads_.size(), 2u);
  EXPECT_EQ(held.upload->arrived()->num_arrived, 5u);
  EXPECT_THAT(held.news, IsEmpty());
  Claim(rests, "a");
  EXPECT_EQ(rests.upload->arrived(), nullptr);
  Stream elsewhere;
  Claim(elsewhere, "a", "t");
  EXPECT_EQ(uploads_.size(), 4u);
}

}  // namespace
}  // namespace talweg::server
