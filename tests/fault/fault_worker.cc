// SPDX-License-Identifier: Apache-2.0
//
// A worker as a process of its own, for tests that kill, freeze and cut it off. It says everything
// it does in a file, a line at a time, so that what it was answered outlives it:
//
//   joined INCARNATION VERSION
//   sends SEQUENCE BASE_VERSION
//   answered SEQUENCE VERDICT APPLIED_VERSION REPLAYED ATTEMPTS
//   ended REASON
//
//   fault_worker ADDRESS SESSION WORKER NUM_ELEMENTS FILE unary|streamed free|paced|driven
//
// `free`: contributes until SIGTERM, then leaves. `paced`: likewise, and rests for 40 ms before
// each. `driven`: contributes once for each line that it reads, and leaves at the end of its input.
// It ends with its parent, however the parent ends. It exits with 0 if it has left, with 1 after an
// error.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"
#include "tests/fault/fault_gradient.h"

namespace {

volatile sig_atomic_t stopping = 0;

void OnTerm(int) { stopping = 1; }

// One write each: a line is there whole or not at all.
class Diary {
 public:
  explicit Diary(const char* path)
      : file_(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  void Add(const std::string& line) const {
    const std::string whole = line + "\n";
    if (write(file_, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) abort();
  }

 private:
  const int file_;
};

int End(const Diary& diary, const absl::Status& status) {
  if (status.ok()) {
    diary.Add("ended OK");
    return 0;
  }
  const std::string reason = talweg::ReasonOf(status);
  diary.Add(absl::StrCat("ended ", reason.empty() ? status.ToString() : reason));
  return 1;
}

bool MayGoOn(const std::string& how) {
  std::string line;
  if (how == "driven") return static_cast<bool>(std::getline(std::cin, line));
  if (how == "paced") absl::SleepFor(absl::Milliseconds(40));
  return stopping == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(stderr,
                 "usage: fault_worker ADDRESS SESSION WORKER NUM_ELEMENTS FILE "
                 "unary|streamed free|paced|driven\n");
    return 2;
  }
  const pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) return 1;  // it had ended before
  signal(SIGTERM, OnTerm);

  const std::string worker = argv[3];
  const size_t num_elements = std::strtoull(argv[4], nullptr, 10);
  const Diary diary(argv[5]);
  const std::string how = argv[7];
  talweg::ClientOptions options;
  if (std::string(argv[6]) == "streamed") options.stream_threshold_bytes = 0;
  options.retry.max_backoff = absl::Milliseconds(200);

  const auto client = talweg::Client::Connect(argv[1], options);
  if (!client.ok()) return End(diary, client.status());
  auto session = client->Join(argv[2], worker);
  if (!session.ok()) return End(diary, session.status());
  diary.Add(absl::StrCat("joined ", session->incarnation(), " ", session->version()));

  std::vector<float> parameters(num_elements);
  for (uint64_t sequence = 1; MayGoOn(how); ++sequence) {
    const std::vector<float> gradient =
        talweg::testing::FaultGradient(worker, session->incarnation(), sequence, num_elements);
    diary.Add(absl::StrCat("sends ", sequence, " ", session->version()));
    const auto result = session->Step(gradient, absl::MakeSpan(parameters));
    if (!result.ok()) return End(diary, result.status());
    diary.Add(absl::StrCat("answered ", sequence, " ", talweg::v1::Verdict_Name(result->verdict),
                           " ", result->applied_version, " ", result->replayed ? 1 : 0, " ",
                           result->num_attempts));
  }
  return End(diary, session->Leave());
}
