// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/swarm_fault.h"

#include <cstdlib>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"

namespace talweg::testing {

std::string SwarmFaultTest::NameOf(size_t worker) { return absl::StrCat("worker-", worker); }

void SwarmFaultTest::Start(size_t num_connections, const std::vector<std::string>& flags,
                           bool through_proxy) {
  std::vector<std::string> all = {"--log_level=error"};
  all.insert(all.end(), flags.begin(), flags.end());
  // Without these options a server under the address sanitizer keeps memory that was freed.
  const char* sanitizer = std::getenv("ASAN_OPTIONS");
  const std::string options = sanitizer == nullptr ? "" : sanitizer;
  setenv("ASAN_OPTIONS",
         (options + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64").c_str(), 1);
  server_.emplace(all);
  setenv("ASAN_OPTIONS", options.c_str(), 1);
  proxy_.emplace(server_->port());
  client_.emplace(Client::Connect(server_->address()).value());
  swarm_.emplace(through_proxy ? proxy_->address() : server_->address(), num_connections);
  probe_.emplace(server_->address(), num_connections);
}

void SwarmFaultTest::Create(uint64_t num_elements) {
  num_elements_ = num_elements;
  v1::CreateSessionRequest request;
  request.set_session_id(kSession);
  v1::SessionConfig& config = *request.mutable_config();
  v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
  tensor.set_name("w");
  tensor.add_shape(num_elements);
  config.mutable_optimizer()->mutable_gradient_descent();
  config.mutable_schedule()->set_learning_rate(0.5);
  config.mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  // No worker sends heartbeats here, and none is to expire in the middle of a test.
  config.mutable_aggregation()->set_lease_seconds(600);
  v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
  rule.set_tensors("*");
  rule.mutable_constant();
  ASSERT_TRUE(client_->CreateSession(request).ok());
  const std::vector<float> ones(num_elements, 1);
  ones_.set_kind(v1::SECTION_KIND_GRADIENT);
  ones_.set_data(
      std::string(reinterpret_cast<const char*>(ones.data()), ones.size() * sizeof(float)));
  v1::StreamStepRequest chunk;
  *chunk.mutable_chunk()->mutable_section() = ones_;
  chunks_ = Swarm::Serialize({chunk});
}

void SwarmFaultTest::SetLease(uint64_t seconds) {
  v1::UpdateSessionRequest request;
  request.set_session_id(kSession);
  request.mutable_config()->mutable_aggregation()->set_lease_seconds(seconds);
  request.mutable_update_mask()->add_paths("aggregation.lease_seconds");
  ASSERT_TRUE(client_->UpdateSession(request).ok());
}

void SwarmFaultTest::HeartbeatAll(size_t num_workers) {
  v1::HeartbeatRequest request;
  request.set_session_id(kSession);
  for (size_t worker = 0; worker < num_workers; ++worker) {
    request.set_history(joined_[worker].history());
    request.set_worker(NameOf(worker));
    request.set_incarnation(joined_[worker].incarnation());
    swarm_->Heartbeat(worker, request, [](const absl::Status& status, v1::HeartbeatResponse&) {
      EXPECT_TRUE(status.ok()) << status;
    });
  }
  swarm_->Wait();
}

void SwarmFaultTest::JoinAll(size_t num_workers) {
  joined_.assign(num_workers, v1::JoinResponse());
  v1::JoinRequest request;
  request.set_session_id(kSession);
  for (size_t worker = 0; worker < num_workers; ++worker) {
    request.set_worker(NameOf(worker));
    swarm_->Join(worker, request,
                 [this, worker](const absl::Status& status, v1::JoinResponse& response) {
                   EXPECT_TRUE(status.ok()) << status;
                   joined_[worker] = response;
                 });
  }
  swarm_->Wait();
  std::set<uint64_t> incarnations;
  for (const v1::JoinResponse& joined : joined_) incarnations.insert(joined.incarnation());
  EXPECT_EQ(incarnations.size(), num_workers);
  EXPECT_EQ(GetSession().num_workers(), num_workers);
  EXPECT_EQ(GetSession().num_live_workers(), num_workers);
}

v1::ContributionHeader SwarmFaultTest::HeaderOf(size_t worker, uint64_t sequence) const {
  v1::ContributionHeader header;
  header.set_session_id(kSession);
  header.set_history(joined_[worker].history());
  header.set_worker(NameOf(worker));
  header.set_incarnation(joined_[worker].incarnation());
  header.set_sequence(sequence);
  header.set_base_version(sequence - 1);
  return header;
}

void SwarmFaultTest::Step(size_t worker, uint64_t sequence, v1::ReplyData data) {
  Step(*swarm_, worker, sequence, data);
}

void SwarmFaultTest::Step(Swarm& through, size_t worker, uint64_t sequence, v1::ReplyData data) {
  v1::StepRequest request;
  *request.mutable_header() = HeaderOf(worker, sequence);
  *request.add_sections() = ones_;
  request.mutable_reply()->set_data(data);
  through.Step(worker, request, [this](const absl::Status& status, v1::StepResponse& response) {
    Count(status, response);
  });
}

void SwarmFaultTest::StreamStep(size_t worker, uint64_t sequence, v1::ReplyData data) {
  v1::StreamHeader header;
  *header.mutable_header() = HeaderOf(worker, sequence);
  header.mutable_reply()->set_data(data);
  swarm_->OpenStream(worker).Contribute(
      header, chunks_,
      [this](const absl::Status& status, v1::StepResponse& response) { Count(status, response); });
}

void SwarmFaultTest::Count(const absl::Status& status, const v1::StepResponse& response) {
  ++num_answered_;
  if (status.ok()) {
    ++answers_[absl::StrCat(v1::Verdict_Name(response.verdict()), " of ",
                            response.report().contributors())];
  } else {
    ++answers_[ReasonOf(status).empty() ? status.ToString() : ReasonOf(status)];
  }
}

void SwarmFaultTest::AwaitJudgement(size_t begin, size_t end, uint64_t sequence) {
  v1::StepRequest request;
  v1::Section& section = *request.add_sections();
  section.set_kind(v1::SECTION_KIND_GRADIENT);
  section.mutable_data()->resize(num_elements_ * sizeof(float));
  request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
  std::vector<size_t> left(end - begin);
  std::iota(left.begin(), left.end(), begin);
  while (!left.empty()) {
    std::vector<size_t> again;  // Only the swarm's thread touches it until Wait returns.
    for (const size_t worker : left) {
      *request.mutable_header() = HeaderOf(worker, sequence);
      request.mutable_header()->set_base_version(1'000'000);
      probe_->Step(worker, request, [&, worker](const absl::Status& status, v1::StepResponse&) {
        if (ReasonOf(status) == "SEQUENCE_REUSED") return;
        EXPECT_EQ(ReasonOf(status), "VERSION_AHEAD");
        again.push_back(worker);
      });
    }
    probe_->Wait();
    ASSERT_FALSE(HasFailure());
    left = again;
  }
}

void SwarmFaultTest::WaitForever(size_t num_workers) {
  constexpr size_t kStreams = 20;
  for (size_t worker = 0; worker < num_workers; ++worker) {
    worker < kStreams ? StreamStep(worker, 1) : Step(worker, 1);
  }
  AwaitJudgement(0, num_workers, 1);
  EXPECT_EQ(num_answered_, 0u);
}

}  // namespace talweg::testing
