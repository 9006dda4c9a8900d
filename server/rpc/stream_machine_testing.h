// SPDX-License-Identifier: Apache-2.0
//
// The surroundings of a stream's machine, made of nothing, for its tests.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/rpc/stream_machine.h"
#include "server/runtime/test_support.h"

namespace talweg::server {

inline constexpr uint64_t kElements = 5;
inline constexpr uint64_t kBytes = kElements * sizeof(float);
inline constexpr uint64_t kTestHistory = 7;

// What the machine did to its surroundings, and what these are to say.
struct Seen {
  // The session.
  int made_asked = 0;
  int abandoned = 0;
  std::vector<core::Heartbeat> life;
  std::vector<StepInput> steps;
  // The memory.
  MemoryBudget budget{kBytes};
  int asked = 0;
  bool asking = false;
  bool watching = false;
  bool others_wait = false;
  absl::Status refusal;
  // The client.
  int grants = 0;
  std::vector<ReplyFrames> replies;
  std::vector<absl::Status> ends;
};

class FakeSession final : public StreamSession {
 public:
  FakeSession(Seen& seen, std::string id) : seen_(seen), id_(std::move(id)) {}
  const std::string& id() const override { return id_; }
  uint64_t history() const override { return kTestHistory; }
  uint64_t num_elements() const override { return kElements; }
  std::shared_ptr<const core::GroupMap> group_map() const override { return config_.group_map; }
  std::shared_ptr<const core::LayerTable> layers() const override { return config_.layer_table; }
  absl::Status CheckHistory(uint64_t history) const override {
    if (history == kTestHistory) return absl::OkStatus();
    return core::MakeError(core::Reason::kHistoryChanged, "another history");
  }
  void AwaitMade() override { ++seen_.made_asked; }
  void Step(StepInput input) override { seen_.steps.push_back(std::move(input)); }
  void Abandon() override { ++seen_.abandoned; }
  void ShowLife(core::Heartbeat heartbeat) override { seen_.life.push_back(heartbeat); }

 private:
  Seen& seen_;
  const std::string id_;
  const core::SessionConfig config_ = TestConfig(kElements);
};

class FakeMemory final : public StreamMemory {
 public:
  explicit FakeMemory(Seen& seen) : seen_(seen) {}
  absl::Status Ask(uint64_t bytes) override {
    EXPECT_EQ(bytes, kBytes);
    EXPECT_FALSE(seen_.asking) << "asked twice";
    ++seen_.asked;
    if (seen_.refusal.ok()) seen_.asking = true;
    return seen_.refusal;
  }
  void StopAsking() override { seen_.asking = false; }
  bool OthersWait() const override { return seen_.others_wait; }
  void WatchForOthers() override { seen_.watching = true; }
  void StopWatching() override { seen_.watching = false; }

 private:
  Seen& seen_;
};

class FakeOutput final : public StreamOutput {
 public:
  explicit FakeOutput(Seen& seen) : seen_(seen) {}
  void SendGrant(uint64_t num_elements) override {
    EXPECT_EQ(num_elements, kElements);
    ++seen_.grants;
  }
  void SendReply(ReplyFrames reply) override { seen_.replies.push_back(std::move(reply)); }
  void End(const absl::Status& status) override { seen_.ends.push_back(status); }

 private:
  Seen& seen_;
};

inline v1::StreamStepRequest Header(uint64_t sequence = 1) {
  v1::StreamStepRequest frame;
  v1::ContributionHeader& header = *frame.mutable_header()->mutable_header();
  header.set_session_id("s");
  header.set_worker("a");
  header.set_history(kTestHistory);
  header.set_incarnation(3);
  header.set_sequence(sequence);
  header.add_losses(0.5);
  return frame;
}

inline v1::StreamStepRequest Abstention(uint64_t sequence = 1) {
  v1::StreamStepRequest frame = Header(sequence);
  frame.mutable_header()->mutable_header()->clear_losses();
  frame.mutable_header()->mutable_header()->set_abstain(true);
  return frame;
}

inline v1::StreamStepRequest Chunk(v1::SectionKind kind = v1::SECTION_KIND_GRADIENT) {
  v1::StreamStepRequest frame;
  v1::Section& section = *frame.mutable_chunk()->mutable_section();
  section.set_kind(kind);
  const std::vector<float> values = {1, 2, 3, 4, 5};
  section.set_data(std::string(BytesOf(values)));
  return frame;
}

inline v1::StreamStepRequest Commit() {
  v1::StreamStepRequest frame;
  frame.mutable_commit();
  return frame;
}

class StreamMachineTest : public ::testing::Test {
 protected:
  // The places where a stream may stand when something happens to it.
  enum class At {
    kStart,       // nothing came
    kUnmade,      // a header, and the session is not made yet
    kAsking,      // stands in the line for memory
    kOpen,        // has its grant
    kWithin,      // has a chunk too
    kJudging,     // the session has the contribution
    kReplying,    // it was judged, and its reply is being made
    kWholeAgain,  // the next contribution is whole, and the reply before it is still being made
    kResting,     // the reply was made
    kYielded,     // has given up its memory at rest
    kAskingAgain  // and asks for it again, with the next header
  };
  static constexpr At kAll[] = {At::kStart,   At::kUnmade,  At::kAsking,     At::kOpen,
                                At::kWithin,  At::kJudging, At::kReplying,   At::kWholeAgain,
                                At::kResting, At::kYielded, At::kAskingAgain};

  StreamMachineTest() { Renew(); }

  // A new machine, in new surroundings.
  void Renew() {
    machine_.reset();
    seen_ = std::make_unique<Seen>();
    output_ = std::make_unique<FakeOutput>(*seen_);
    memory_ = std::make_unique<FakeMemory>(*seen_);
    closed_ = absl::OkStatus();
    now_ = absl::UnixEpoch();
    machine_ = std::make_unique<StreamMachine>(StreamMachine::World{
        *output_, *memory_,
        [this](const std::string& id) -> absl::StatusOr<std::unique_ptr<StreamSession>> {
          if (id == "nobody") {
            return core::MakeError(core::Reason::kSessionNotFound, "no session \"nobody\"");
          }
          return std::make_unique<FakeSession>(*seen_, id);
        },
        [this] { return closed_; }, [this] { return now_; }});
  }

  void Grant() {
    ASSERT_TRUE(seen_->asking);
    seen_->asking = false;
    machine_->Granted(seen_->budget.Reserve(kBytes).value());
  }
  // The answer to the contribution that the session has, which no longer holds its gradient.
  void Judge(core::Verdict verdict = core::Verdict::kApplied, bool more_may_come = true) {
    seen_->steps.back().staged = nullptr;
    machine_->Judged(Outcome(verdict), more_may_come);
  }
  static StepOutcome Outcome(core::Verdict verdict) {
    StepOutcome outcome;
    outcome.answer.verdict = verdict;
    outcome.parameters = std::make_shared<core::Parameters>(kElements);
    return outcome;
  }

  // Leads a new stream there.
  void Lead(At at) {
    Renew();
    const std::vector<std::pair<At, std::function<void()>>> way = {
        {At::kStart, [] {}},
        {At::kUnmade, [&] { machine_->Take(Header()); }},
        {At::kAsking, [&] { machine_->SessionMade(absl::OkStatus()); }},
        {At::kOpen, [&] { Grant(); }},
        {At::kWithin, [&] { machine_->Take(Chunk()); }},
        {At::kJudging, [&] { machine_->Take(Commit()); }},
        {At::kReplying, [&] { Judge(); }},
        {At::kResting, [&] { machine_->ReplyMade(); }},
        {At::kYielded, [&] { machine_->Wanted(); }},
        {At::kAskingAgain, [&] { machine_->Take(Header(2)); }}};
    for (const auto& [place, go] : way) {
      go();
      if (place == at) break;
      if (place == At::kReplying && at == At::kWholeAgain) {
        for (const auto& frame : {Header(2), Chunk(), Commit()}) machine_->Take(frame);
        break;
      }
    }
    ASSERT_TRUE(seen_->ends.empty()) << seen_->ends[0];
  }

  // The one end that the stream came to.
  void ExpectEnd(const std::string& reason, const std::string& field = "") {
    ASSERT_EQ(seen_->ends.size(), 1u);
    EXPECT_EQ(core::ReasonName(seen_->ends[0]), reason) << seen_->ends[0];
    EXPECT_EQ(core::FieldName(seen_->ends[0]), field) << seen_->ends[0];
  }
  // What EndAtRest says: "none", "OK" or a reason.
  std::string AtRest(bool no_more_frames) const {
    const std::optional<absl::Status> end = machine_->EndAtRest(no_more_frames);
    if (!end.has_value()) return "none";
    return end->ok() ? "OK" : core::ReasonName(*end);
  }
  void CloseGate() {
    closed_ = core::MakeError(core::Reason::kDraining, "the server is stopping");
    machine_->Stop();
  }
  uint64_t held() const { return seen_->budget.used(); }

  std::unique_ptr<Seen> seen_;
  std::unique_ptr<FakeOutput> output_;
  std::unique_ptr<FakeMemory> memory_;
  absl::Status closed_;
  absl::Time now_;
  std::unique_ptr<StreamMachine> machine_;
};

}  // namespace talweg::server
