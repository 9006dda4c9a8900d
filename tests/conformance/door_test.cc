// SPDX-License-Identifier: Apache-2.0
//
// The door of a real server: a doorkeeper sees every method begin once and end once, whatever
// becomes of the call, and may refuse calls and hide sessions.
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/calls/doorkeeper.h"
#include "tests/conformance/served_test.h"
#include "tests/support/proxy.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ErrorOf;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;
using testing::WireStream;

constexpr uint64_t kElements = 5;
const std::vector<float> kGradient = {1, 2, 3, 4, 5};

std::set<std::string> AllMethods() {
  std::set<std::string> methods;
  for (const auto* service :
       {v1::SessionService::service_full_name(), v1::TrainingService::service_full_name()}) {
    const auto* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(service);
    for (int index = 0; index < descriptor->method_count(); ++index) {
      methods.insert(std::string(service) + "/" + descriptor->method(index)->name());
    }
  }
  return methods;
}

// Writes down how calls begin and end, and holds each to one end.
class Recorder final : public server::Doorkeeper {
 public:
  struct End {
    std::string method;
    server::CallEnd how;
  };

  absl::Status Admit(const server::CallFacts& call) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_FALSE(call.peer.empty());
    begun_.insert(std::string(call.method));
    if (call.Metadata("talweg-test") == "refuse") return absl::PermissionDeniedError("not you");
    EXPECT_TRUE(open_.insert(&call).second);
    return absl::OkStatus();
  }
  bool MaySee(const server::CallFacts& call, const server::SessionIdentity&) override {
    return call.Metadata("talweg-test") != "blind";
  }
  void Ended(const server::CallFacts& call, const server::CallEnd& end) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_EQ(open_.erase(&call), 1u) << call.method << " ended twice, or never began";
    ends_.push_back({std::string(call.method), end});
  }

  // What ended since the last time, once every call is over.
  std::vector<End> Ends(size_t num_calls) {
    for (int tries = 0; tries < 10000; ++tries) {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (ends_.size() >= num_calls && open_.empty()) break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_TRUE(open_.empty());
    EXPECT_EQ(ends_.size(), num_calls);
    return std::exchange(ends_, {});
  }
  std::set<std::string> begun() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return begun_;
  }
  size_t num_open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return open_.size();
  }

 private:
  std::mutex mutex_;
  std::set<const server::CallFacts*> open_;
  std::set<std::string> begun_;
  std::vector<End> ends_;
};

class DoorTest : public testing::ServedTest {
 protected:
  void SetUp() override { Start({.doorkeepers = {&recorder_}}); }
  void TearDown() override { server_.reset(); }  // before the recorder

  // Calls every method once. `note` is sent along; with "" the session "s" is made and deleted.
  std::map<std::string, grpc::Status> CallAll(const std::string& note = "") {
    std::map<std::string, grpc::Status> statuses;
    const auto call = [&](const std::string& method,
                          const std::function<grpc::Status(grpc::ClientContext*)>& make) {
      grpc::ClientContext context;
      if (!note.empty()) context.AddMetadata("talweg-test", note);
      statuses[method] = make(&context);
    };
    const auto named = [](auto request) {
      request.set_session_id("s");
      return request;
    };
    v1::CreateSessionResponse made;
    const auto create = VectorSession(note == "blind" ? "other" : "s", kElements);
    call("talweg.v1.SessionService/CreateSession",
         [&](auto* c) { return wire_->sessions().CreateSession(c, create, &made); });
    call("talweg.v1.SessionService/UploadSession", [&](auto* c) {
      const auto stream = wire_->sessions().UploadSession(c);
      v1::UploadSessionRequest frame;
      *frame.mutable_create() = testing::UploadOf(create);
      frame.mutable_create()->set_session_id("uploaded");
      stream->Write(frame);
      v1::UploadSessionResponse answer;
      if (stream->Read(&answer)) {
        v1::Section& section = *frame.mutable_chunk()->mutable_section();
        section.set_kind(v1::SECTION_KIND_PARAMETERS);
        section.set_data(testing::Bytes(kGradient));
        stream->Write(frame);
        frame.mutable_commit();
        stream->Write(frame);
      }
      stream->WritesDone();
      while (stream->Read(&answer)) continue;
      return stream->Finish();
    });
    v1::JoinResponse joined;
    auto join = named(v1::JoinRequest());
    join.set_worker("a");
    call("talweg.v1.SessionService/Join",
         [&](auto* c) { return wire_->sessions().Join(c, join, &joined); });
    auto heartbeat = named(v1::HeartbeatRequest());
    heartbeat.set_worker("a");
    heartbeat.set_history(std::max<uint64_t>(1, joined.history()));
    heartbeat.set_incarnation(std::max<uint64_t>(1, joined.incarnation()));
    v1::HeartbeatResponse beaten;
    call("talweg.v1.SessionService/Heartbeat",
         [&](auto* c) { return wire_->sessions().Heartbeat(c, heartbeat, &beaten); });
    joined.set_history(heartbeat.history());
    joined.set_incarnation(heartbeat.incarnation());
    const v1::StepRequest step = StepOf("s", joined, 1, 0, kGradient);
    v1::StepResponse stepped;
    call("talweg.v1.TrainingService/Step",
         [&](auto* c) { return wire_->training().Step(c, step, &stepped); });
    step_bytes_ = {step.ByteSizeLong(), stepped.ByteSizeLong()};
    call("talweg.v1.TrainingService/StreamStep", [&](auto* c) {
      const auto stream = wire_->training().StreamStep(c);
      v1::StreamStepRequest frame;
      *frame.mutable_header()->mutable_header() = step.header();
      stream->Write(frame);
      v1::StreamStepResponse grant;
      if (stream->Read(&grant)) {
        for (const auto& chunk : testing::ChunksOf(kGradient, kElements)) stream->Write(chunk);
        frame.mutable_commit();
        stream->Write(frame);
      }
      stream->WritesDone();
      while (stream->Read(&grant)) continue;
      return stream->Finish();
    });
    const auto pull = named(v1::PullRequest());
    call("talweg.v1.TrainingService/Pull", [&](auto* c) {
      const auto reader = wire_->training().Pull(c, pull);
      v1::PullResponse message;
      while (reader->Read(&message)) continue;
      return reader->Finish();
    });
    const auto watch = named(v1::WatchSessionRequest());
    call("talweg.v1.SessionService/WatchSession", [&](auto* c) {
      const auto reader = wire_->sessions().WatchSession(c, watch);
      v1::WatchSessionResponse message;
      while (reader->Read(&message)) continue;
      return reader->Finish();
    });
    v1::GetSessionResponse got;
    call("talweg.v1.SessionService/GetSession", [&](auto* c) {
      return wire_->sessions().GetSession(c, named(v1::GetSessionRequest()), &got);
    });
    call("talweg.v1.SessionService/ListSessions",
         [&](auto* c) { return wire_->sessions().ListSessions(c, {}, &listed_); });
    auto update = named(v1::UpdateSessionRequest());
    update.mutable_update_mask()->add_paths("schedule.learning_rate");
    update.mutable_config()->mutable_schedule()->set_learning_rate(0.25);
    v1::UpdateSessionResponse updated;
    call("talweg.v1.SessionService/UpdateSession",
         [&](auto* c) { return wire_->sessions().UpdateSession(c, update, &updated); });
    v1::ListVersionRecordsResponse records;
    call("talweg.v1.SessionService/ListVersionRecords", [&](auto* c) {
      return wire_->sessions().ListVersionRecords(c, named(v1::ListVersionRecordsRequest()),
                                                  &records);
    });
    auto leave = named(v1::LeaveRequest());
    leave.set_worker("a");
    leave.set_history(joined.history());
    leave.set_incarnation(joined.incarnation());
    v1::LeaveResponse left;
    call("talweg.v1.SessionService/Leave",
         [&](auto* c) { return wire_->sessions().Leave(c, leave, &left); });
    v1::DeleteSessionResponse deleted;
    call("talweg.v1.SessionService/DeleteSession", [&](auto* c) {
      return wire_->sessions().DeleteSession(c, named(v1::DeleteSessionRequest()), &deleted);
    });
    return statuses;
  }

  // Opens, through `wire`, one call of each kind that waits; returns what keeps them open. None of
  // them ends by itself.
  class Waiting {
   public:
    Waiting(DoorTest& test, WireClient& wire) : stream_(wire.training()) {
      const v1::JoinResponse joined = test.wire_->Join("s");
      test.wire_->Join("s", "b");  // which the round waits for
      step_ = StepOf("s", joined, 1, 0, kGradient);
      threads_.emplace_back([this, &wire] {
        v1::StepResponse response;
        step_status_ = wire.training().Step(&step_context_, step_, &response);
      });
      v1::WatchSessionRequest watch;
      watch.set_session_id("s");
      watch.set_follow(true);
      watch_ = wire.sessions().WatchSession(&watch_context_, watch);
      v1::WatchSessionResponse first;
      EXPECT_TRUE(watch_->Read(&first));
      v1::PullRequest pull;
      pull.set_session_id("s");
      pull.set_min_version(100);
      pull_ = wire.training().Pull(&pull_context_, pull);
      v1::StepRequest streamed = StepOf("s", joined, 2, 0, {});
      EXPECT_TRUE(stream_.WriteHeader(streamed));
      EXPECT_TRUE(stream_.ReadGrant());
      for (int tries = 0; tries < 10000 && test.recorder_.num_open() != kNum; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      EXPECT_EQ(test.recorder_.num_open(), kNum);
    }
    static constexpr size_t kNum = 4;

    void Cancel() {
      step_context_.TryCancel();
      watch_context_.TryCancel();
      pull_context_.TryCancel();
      stream_.Cancel();
    }
    std::vector<grpc::Status> Statuses() {
      for (std::thread& thread : threads_) thread.join();
      threads_.clear();
      v1::WatchSessionResponse record;
      while (watch_->Read(&record)) continue;
      v1::PullResponse part;
      while (pull_->Read(&part)) continue;
      return {step_status_, watch_->Finish(), pull_->Finish(), stream_.Finish()};
    }

   private:
    v1::StepRequest step_;
    grpc::Status step_status_;
    grpc::ClientContext step_context_, watch_context_, pull_context_;
    std::unique_ptr<grpc::ClientReader<v1::WatchSessionResponse>> watch_;
    std::unique_ptr<grpc::ClientReader<v1::PullResponse>> pull_;
    WireStream stream_;
    std::vector<std::thread> threads_;
  };

  // A session "s" whose rounds wait for all workers; the calls that made it are over.
  void MakeWaitingSession() {
    v1::CreateSessionRequest create = VectorSession("s", kElements);
    create.mutable_config()->mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
    ASSERT_TRUE(wire_->Create(create).ok());
    recorder_.Ends(1);
  }

  // How the calls of a Waiting ended.
  std::vector<server::CallEnd> EndsOfWaiting() {
    std::vector<server::CallEnd> ends;
    for (Recorder::End& end : recorder_.Ends(2 + Waiting::kNum)) {  // two joins
      if (end.method != "talweg.v1.SessionService/Join") ends.push_back(std::move(end.how));
    }
    EXPECT_EQ(ends.size(), Waiting::kNum);
    return ends;
  }

  Recorder recorder_;
  v1::ListSessionsResponse listed_;
  std::pair<uint64_t, uint64_t> step_bytes_;  // of the request and of the response
};

TEST_F(DoorTest, EveryMethodBeginsOnceAndEndsOnce) {
  const std::set<std::string> methods = AllMethods();
  for (const auto& [method, status] : CallAll()) {
    EXPECT_TRUE(status.ok()) << method << ": " << status.error_message();
  }
  EXPECT_EQ(recorder_.begun(), methods);
  std::set<std::string> ended;
  for (const Recorder::End& end : recorder_.Ends(methods.size())) {
    SCOPED_TRACE(end.method);
    EXPECT_TRUE(ended.insert(end.method).second);
    EXPECT_TRUE(end.how.status.ok()) << end.how.status;
    EXPECT_GT(end.how.elapsed, absl::ZeroDuration());
    const bool lists = end.method == "talweg.v1.SessionService/ListSessions";
    const bool uploads = end.method == "talweg.v1.SessionService/UploadSession";
    EXPECT_EQ(end.how.session_id, lists ? "" : uploads ? "uploaded" : "s");
    EXPECT_EQ(end.how.bytes_in > 0, !lists);
    if (end.method == "talweg.v1.TrainingService/Step") {
      EXPECT_EQ(end.how.bytes_in, step_bytes_.first);
      EXPECT_EQ(end.how.bytes_out, step_bytes_.second);
    }
    if (end.method.find("TrainingService") != std::string::npos) {
      EXPECT_GT(end.how.bytes_out, kElements * sizeof(float));
    }
  }
  EXPECT_EQ(ended, methods);
}

TEST_F(DoorTest, ARefusedCallEndsWithItsReason) {
  v1::StepRequest step = StepOf("nobody", v1::JoinResponse(), 1, 0, kGradient);
  const auto end = [&] {
    wire_->Step(step);
    return recorder_.Ends(1).at(0).how;
  };
  EXPECT_EQ(core::ReasonName(end().status), "FIELD_REQUIRED");
  step.mutable_header()->set_history(1);
  step.mutable_header()->set_incarnation(1);
  const server::CallEnd not_found = end();
  EXPECT_EQ(core::ReasonName(not_found.status), "SESSION_NOT_FOUND");
  EXPECT_EQ(not_found.session_id, "nobody");
  for (int count = 0; count < 100; ++count) step.add_sections();
  const server::CallEnd too_many = end();
  EXPECT_EQ(core::ReasonName(too_many.status), "FIELD_OUT_OF_RANGE");
  EXPECT_GT(too_many.bytes_in, 100u);
}

TEST_F(DoorTest, ADoorkeeperMayRefuseEveryMethod) {
  const auto statuses = CallAll("refuse");
  EXPECT_EQ(statuses.size(), AllMethods().size());
  for (const auto& [method, status] : statuses) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << method;
    EXPECT_EQ(status.error_message(), "not you") << method;
  }
  EXPECT_EQ(recorder_.begun(), AllMethods());
  recorder_.Ends(0);  // it let none of them in
}

TEST_F(DoorTest, AHiddenSessionIsNotFoundByAnyMethod) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", kElements)).ok());
  for (const auto& [method, status] : CallAll("blind")) {
    if (method == "talweg.v1.SessionService/CreateSession" ||
        method == "talweg.v1.SessionService/UploadSession" ||
        method == "talweg.v1.SessionService/ListSessions") {
      EXPECT_TRUE(status.ok()) << method << status.error_message();
      continue;
    }
    EXPECT_EQ(ErrorOf(status).reason, "SESSION_NOT_FOUND") << method;
    EXPECT_EQ(status.error_message(), "no session \"s\"") << method;
  }
  EXPECT_EQ(listed_.sessions_size(), 0);
  EXPECT_EQ(wire_->Get("s").version(), 0u);
}

TEST_F(DoorTest, CancelledCallsEndOnce) {
  MakeWaitingSession();
  Waiting waiting(*this, *wire_);
  waiting.Cancel();
  for (const grpc::Status& status : waiting.Statuses()) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  }
  for (const server::CallEnd& end : EndsOfWaiting()) {
    EXPECT_TRUE(absl::IsCancelled(end.status)) << end.status;
  }
}

TEST_F(DoorTest, CallsOfABrokenConnectionEndOnce) {
  MakeWaitingSession();
  testing::Proxy proxy(std::stoi(server_->address().substr(server_->address().rfind(':') + 1)));
  WireClient relayed(proxy.address());
  Waiting waiting(*this, relayed);
  proxy.CutAndHeal();
  for (const grpc::Status& status : waiting.Statuses()) EXPECT_FALSE(status.ok());
  for (const server::CallEnd& end : EndsOfWaiting()) {
    EXPECT_TRUE(absl::IsCancelled(end.status)) << end.status;
  }
}

TEST_F(DoorTest, CallsOfAServerThatStopsHaveEndedOnceWhenItHas) {
  MakeWaitingSession();
  Waiting waiting(*this, *wire_);
  server_->Stop(absl::Milliseconds(500));
  EXPECT_EQ(recorder_.num_open(), 0u);
  for (const grpc::Status& status : waiting.Statuses()) EXPECT_FALSE(status.ok());
  int draining = 0;
  for (const server::CallEnd& end : EndsOfWaiting()) {
    draining += core::ReasonName(end.status) == "DRAINING";
    EXPECT_FALSE(end.status.ok());
  }
  EXPECT_EQ(draining, 3);  // all except the stream, which is cut within its contribution
}

}  // namespace
}  // namespace talweg
