// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/worker_name.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace talweg {
namespace {

constexpr size_t kLongestName = 128;
constexpr size_t kDigestCharacters = 16;

std::string Acceptable(std::string name) {
  uint64_t digest = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : name) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  for (char& c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_') c = '-';
  }
  name.erase(name.begin(), std::find_if(name.begin(), name.end(),
                                        [](unsigned char c) { return absl::ascii_isalnum(c); }));
  if (name.empty()) return "worker";
  if (name.size() <= kLongestName) return name;
  return absl::StrCat(name.substr(0, kLongestName - kDigestCharacters - 1), "-",
                      absl::Hex(digest, absl::kZeroPad16));
}

std::string HostName() {
  std::array<char, 256> name = {};
  if (gethostname(name.data(), name.size() - 1) != 0) return "host";
  return name.data();
}

// The host name of a pod of an indexed Job is JOB-INDEX; its own name has a random suffix behind
// that, and so has the host name of a Job that is not indexed.
std::string JobMember(const std::string& host, const std::string& index) {
  const std::string suffix = absl::StrCat("-", index);
  if (absl::EndsWith(host, suffix)) return host;
  const std::string stem = host.substr(0, host.rfind('-'));
  return absl::EndsWith(stem, suffix) ? stem : stem + suffix;
}

}  // namespace

std::string WorkerName(absl::FunctionRef<const char*(const char* variable)> environment) {
  const auto text = [&](const char* variable) -> std::string {
    const char* value = environment(variable);
    return value == nullptr ? "" : value;
  };
  const std::string given = text("TALWEG_WORKER");
  if (!given.empty()) return Acceptable(given);
  const std::string run = text("TORCHELASTIC_RUN_ID");
  const std::string rank = text("RANK");
  if (!run.empty() && !rank.empty()) return Acceptable(absl::StrCat(run, "-", rank));
  const std::string slurm_job = text("SLURM_JOB_ID");
  const std::string process = text("SLURM_PROCID");
  if (!slurm_job.empty() && !process.empty()) {
    return Acceptable(absl::StrCat("slurm-", slurm_job, "-", process));
  }
  const std::string index = text("JOB_COMPLETION_INDEX");
  if (!index.empty()) {
    const std::string job = text("JOB_NAME");
    if (!job.empty()) return Acceptable(absl::StrCat(job, "-", index));
    const std::string host = text("HOSTNAME");
    return Acceptable(host.empty() ? absl::StrCat("worker-", index) : JobMember(host, index));
  }
  return Acceptable(absl::StrCat(HostName(), "-", getpid()));
}

std::string WorkerName() {
  return WorkerName([](const char* variable) -> const char* { return std::getenv(variable); });
}

}  // namespace talweg
