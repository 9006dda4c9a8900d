// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/worker_process.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/fault/fault_gradient.h"

namespace talweg::testing {

size_t WorkerProcess::Story::num_answered() const {
  size_t num = 0;
  for (const auto& [sequence, one] : sent) num += !one.verdict.empty();
  return num;
}

WorkerProcess::WorkerProcess(const Options& options) : options_(options) {
  char path[] = "/tmp/talweg_fault_worker_XXXXXX";
  const int file = mkstemp(path);
  if (file < 0) throw std::runtime_error("no file for a worker");
  close(file);
  path_ = path;
  ChildStreams streams;
  streams.input = ChildStreams::Input::kPipe;
  streams.output = ChildStreams::Output::kInherited;
  streams.errors_with_output = false;
  streams.own_process_group = false;
  absl::StatusOr<std::unique_ptr<ChildProcess>> process = ChildProcess::Start(
      TALWEG_FAULT_WORKER_BINARY,
      {options.address, options.session_id, options.worker, absl::StrCat(options.num_elements),
       path_, options.streamed ? "streamed" : "unary", options.how},
      streams);
  if (!process.ok()) throw std::runtime_error(process.status().ToString());
  process_ = *std::move(process);
}

WorkerProcess::~WorkerProcess() {
  process_.reset();
  unlink(path_.c_str());
}

void WorkerProcess::Freeze() { EXPECT_TRUE(process_->Freeze()); }

void WorkerProcess::Wake() const { Signal(SIGCONT); }

void WorkerProcess::Step() { EXPECT_TRUE(process_->Write("\n")); }

WorkerProcess::Story WorkerProcess::Read() const {
  Story story;
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "joined") {
      words >> story.incarnation;
    } else if (what == "sends") {
      uint64_t sequence = 0;
      words >> sequence >> story.sent[sequence].base_version;
    } else if (what == "answered") {
      uint64_t sequence = 0;
      words >> sequence;
      Sent& sent = story.sent[sequence];
      words >> sent.verdict >> sent.applied_version >> sent.replayed >> sent.num_attempts;
    } else {
      story.ended = line.substr(std::min<size_t>(line.size(), 6));
    }
  }
  return story;
}

WorkerProcess::Story WorkerProcess::AwaitAnswers(size_t num) const {
  for (;;) {
    Story story = Read();
    if (!story.ended.empty() || story.num_answered() >= num) return story;
    absl::SleepFor(absl::Milliseconds(5));
  }
}

WorkerProcess::Story WorkerProcess::AwaitJoin() const {
  for (;;) {
    Story story = Read();
    if (!story.ended.empty() || story.incarnation != 0) return story;
    absl::SleepFor(absl::Milliseconds(5));
  }
}

void ExpectExactlyOnce(const Client& client, const std::string& session_id,
                       const std::vector<std::unique_ptr<WorkerProcess>>& workers,
                       size_t num_elements) {
  // A contribution, and the version that it was sent on.
  using Key = std::tuple<std::string, uint64_t, uint64_t>;
  std::map<Key, WorkerProcess::Sent> sent;
  for (const auto& process : workers) {
    const WorkerProcess::Story story = process->Read();
    for (const auto& [sequence, one] : story.sent) {
      const Key key = {process->worker(), story.incarnation, sequence};
      sent[key] = one;
      if (one.verdict.empty()) {
        EXPECT_EQ(sequence, story.sent.rbegin()->first) << process->worker();
      }
    }
  }

  const v1::Session session = client.GetSession(session_id).value();
  const std::vector<v1::VersionRecord> records = client.VersionRecords(session_id).value();
  ASSERT_EQ(records.size(), session.version());
  std::map<Key, uint64_t> counted;
  std::vector<float> expected(num_elements);
  for (size_t index = 0; index < records.size(); ++index) {
    const v1::VersionRecord& record = records[index];
    EXPECT_EQ(record.version(), index + 1);
    EXPECT_GE(record.members_size(), 1);
    EXPECT_EQ(record.total_weight(), record.members_size());
    std::set<std::string> names;
    std::vector<double> sum(num_elements);
    for (const v1::VersionMember& member : record.members()) {
      EXPECT_TRUE(names.insert(member.worker()).second)
          << member.worker() << " twice in version " << record.version();
      const Key key = {member.worker(), member.incarnation(), member.sequence()};
      EXPECT_TRUE(counted.emplace(key, record.version()).second)
          << member.worker() << " " << member.sequence() << " in two versions";
      const auto found = sent.find(key);
      if (found == sent.end()) {
        ADD_FAILURE() << member.worker() << " " << member.incarnation() << " " << member.sequence()
                      << " was never sent";
        continue;
      }
      EXPECT_EQ(member.base_version(), found->second.base_version);
      const std::vector<float> gradient =
          FaultGradient(member.worker(), member.incarnation(), member.sequence(), num_elements);
      for (size_t element = 0; element < num_elements; ++element) sum[element] += gradient[element];
    }
    for (size_t element = 0; element < num_elements; ++element) {
      expected[element] -= 0.5f * static_cast<float>(sum[element] / record.members_size());
    }
  }
  for (const auto& [key, one] : sent) {
    const auto found = counted.find(key);
    const uint64_t version = found == counted.end() ? 0 : found->second;
    const auto& [worker, incarnation, sequence] = key;
    SCOPED_TRACE(absl::StrCat(worker, " ", incarnation, " ", sequence, " ", one.verdict));
    if (one.verdict == "VERDICT_APPLIED") {
      EXPECT_EQ(version, one.applied_version);
    } else if (!one.verdict.empty()) {
      EXPECT_EQ(version, 0u);
    }
  }
  std::vector<float> parameters(num_elements);
  ASSERT_TRUE(client.Pull(session_id, absl::MakeSpan(parameters)).ok());
  EXPECT_EQ(parameters, expected);
}

}  // namespace talweg::testing
