// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/process_fault.h"

#include <signal.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace talweg::testing {
namespace {

std::string NameOf(const ::testing::TestParamInfo<FaultShape>& info) {
  const absl::string_view way = info.param.streamed ? "Streamed" : "Unary";
  switch (info.param.mode) {
    case v1::AGGREGATION_MODE_BOUNDED_STALENESS:
      return absl::StrCat("BoundedStaleness", way);
    case v1::AGGREGATION_MODE_ASYNCHRONOUS:
      return absl::StrCat("Asynchronous", way);
    default:
      return absl::StrCat("Synchronous", way);
  }
}

constexpr FaultShape kSynchronous[] = {{v1::AGGREGATION_MODE_SYNCHRONOUS, false},
                                       {v1::AGGREGATION_MODE_SYNCHRONOUS, true}};
constexpr FaultShape kBoundedStaleness[] = {{v1::AGGREGATION_MODE_BOUNDED_STALENESS, false},
                                            {v1::AGGREGATION_MODE_BOUNDED_STALENESS, true}};
constexpr FaultShape kAsynchronous[] = {{v1::AGGREGATION_MODE_ASYNCHRONOUS, false},
                                        {v1::AGGREGATION_MODE_ASYNCHRONOUS, true}};

}  // namespace

void ProcessFaultTest::SetUp() {
  client_.emplace(Client::Connect(server_.address()).value());
  v1::CreateSessionRequest request;
  request.set_session_id(kSession);
  v1::SessionConfig& config = *request.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(num_elements());
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(0.5);
  config.mutable_aggregation()->set_mode(GetParam().mode);
  config.mutable_aggregation()->set_lease_seconds(kLeaseSeconds);
  if (GetParam().mode == v1::AGGREGATION_MODE_ASYNCHRONOUS) {
    config.mutable_aggregation()->set_max_staleness(kMaxStaleness);
  }
  v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();
  ASSERT_TRUE(client_->CreateSession(request).ok());
}

WorkerProcess& ProcessFaultTest::Start(const std::string& worker, How how,
                                       const std::string& address) {
  WorkerProcess::Options options;
  options.address = address.empty() ? server_.address() : address;
  options.session_id = kSession;
  options.worker = worker;
  options.num_elements = num_elements();
  options.streamed = GetParam().streamed;
  // The server keeps the records of 4,096 versions. If each contribution makes a version, workers
  // that never rest make more.
  const bool rests = how == How::kPaced || !synchronous();
  options.how = how == How::kDriven ? "driven" : rests ? "paced" : "free";
  WorkerProcess& process = *workers_.emplace_back(std::make_unique<WorkerProcess>(options));
  EXPECT_EQ(process.AwaitJoin().ended, "");
  return process;
}

void ProcessFaultTest::AwaitVersion(uint64_t wanted) const {
  while (version() < wanted) absl::SleepFor(absl::Milliseconds(5));
}

void ProcessFaultTest::AwaitLive(uint32_t wanted) const {
  while (client_->GetSession(kSession).value().num_live_workers() != wanted) {
    absl::SleepFor(absl::Milliseconds(5));
  }
}

std::vector<std::string> ProcessFaultTest::MembersOf(uint64_t wanted) const {
  VersionRecordsOptions options;
  options.after_version = wanted - 1;
  std::vector<std::string> names;
  const auto records = client_->VersionRecords(kSession, options).value();
  for (const v1::VersionMember& member : records.at(0).members()) {
    names.push_back(member.worker());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void ProcessFaultTest::AwaitJudgement(const WorkerProcess& process) {
  std::string reason;
  while (reason != "SEQUENCE_REUSED") {
    const WorkerProcess::Story story = process.Read();
    ASSERT_EQ(story.ended, "");
    if (story.sent.empty() || !story.sent.rbegin()->second.verdict.empty()) continue;
    v1::StepRequest request;
    v1::ContributionHeader& header = *request.mutable_header();
    header.set_session_id(kSession);
    header.set_history(client_->GetSession(kSession).value().history());
    header.set_worker(process.worker());
    header.set_incarnation(story.incarnation);
    header.set_sequence(story.sent.rbegin()->first);
    header.set_base_version(1'000'000);
    v1::Section& section = *request.add_sections();
    section.set_kind(v1::SECTION_KIND_GRADIENT);
    section.mutable_data()->resize(num_elements() * sizeof(float));
    request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
    swarm_.Step(0, request, [&](const absl::Status& status, const v1::StepResponse&) {
      reason = ReasonOf(status);
    });
    swarm_.Wait();
    ASSERT_TRUE(reason == "SEQUENCE_REUSED" || reason == "VERSION_AHEAD") << reason;
  }
}

void ProcessFaultTest::StepTogether(const std::vector<WorkerProcess*>& processes) {
  std::vector<size_t> before;
  for (WorkerProcess* process : processes) before.push_back(process->Read().num_answered());
  for (WorkerProcess* process : processes) process->Step();
  for (size_t index = 0; index < processes.size(); ++index) {
    EXPECT_EQ(processes[index]->AwaitAnswers(before[index] + 1).ended, "");
  }
}

void ProcessFaultTest::EndAll() {
  for (const auto& process : workers_) {
    process->CloseInput();
    process->Signal(SIGTERM);
    process->Wake();
  }
  for (const auto& process : workers_) process->Wait();
  ExpectExactlyOnce(*client_, kSession, workers_, num_elements());
  EXPECT_EQ(client_->GetSession(kSession).value().num_workers(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Rounds, ProcessFaultTest, ::testing::ValuesIn(kSynchronous), NameOf);
INSTANTIATE_TEST_SUITE_P(Rounds, AnyModeFaultTest, ::testing::ValuesIn(kSynchronous), NameOf);
INSTANTIATE_TEST_SUITE_P(Bounded, AnyModeFaultTest, ::testing::ValuesIn(kBoundedStaleness), NameOf);
INSTANTIATE_TEST_SUITE_P(Free, AnyModeFaultTest, ::testing::ValuesIn(kAsynchronous), NameOf);
INSTANTIATE_TEST_SUITE_P(Bounded, BoundedStalenessFaultTest, ::testing::ValuesIn(kBoundedStaleness),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Free, AsynchronousFaultTest, ::testing::ValuesIn(kAsynchronous), NameOf);

}  // namespace talweg::testing
