// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/worker_line.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace talweg {
namespace {

constexpr absl::string_view kVerdictPrefix = "VERDICT_";

}  // namespace

std::string FormatWorkerStep(const WorkerStep& step) {
  const std::string verdict = v1::Verdict_Name(step.verdict);
  return absl::StrFormat("step %s %d %.6g %.6f %.6f", absl::StripPrefix(verdict, kVerdictPrefix),
                         step.version, step.loss, step.compute_seconds, step.wait_seconds);
}

std::optional<WorkerStep> ParseWorkerStep(absl::string_view line) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  if (words.size() != 6 || words[0] != "step") return std::nullopt;
  WorkerStep step;
  const bool parsed = v1::Verdict_Parse(absl::StrCat(kVerdictPrefix, words[1]), &step.verdict) &&
                      absl::SimpleAtoi(words[2], &step.version) &&
                      absl::SimpleAtod(words[3], &step.loss) &&
                      absl::SimpleAtod(words[4], &step.compute_seconds) &&
                      absl::SimpleAtod(words[5], &step.wait_seconds);
  if (!parsed) return std::nullopt;
  return step;
}

void WorkerTally::Add(const WorkerStep& step) {
  if (step.verdict == v1::VERDICT_APPLIED) {
    ++applied;
  } else if (step.verdict == v1::VERDICT_ROUND_CLOSED) {
    ++late;
  } else {
    ++refused;
  }
  compute_seconds += step.compute_seconds;
  wait_seconds += step.wait_seconds;
  last_loss = step.loss;
  last_version = step.version;
}

void WorkerTally::Add(const WorkerTally& other) {
  applied += other.applied;
  late += other.late;
  refused += other.refused;
  compute_seconds += other.compute_seconds;
  wait_seconds += other.wait_seconds;
}

}  // namespace talweg
