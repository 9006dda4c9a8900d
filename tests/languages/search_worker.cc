// SPDX-License-Identifier: Apache-2.0
//
//   search_worker ADDRESS SESSION
//
// A worker in C++ beside one in another language: evaluates the sum of squares until the search is
// finished, then replays it from version 0, whose parameters are all 1, and compares with the
// server. Exits with 0 if the bits are the same.
//
// It evaluates at most half of the pairs of a generation, rounded up, and then waits for the next
// version. If the other worker does so too, every generation has losses of both, however fast
// either of them is. It prints "told GENERATION PAIRS" for the pairs that counted.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/perturbation.h"
#include "client/replay/replay.h"

namespace {

using namespace talweg;

float LossAt(const std::vector<float>& w) {
  float sum = 0;
  for (const float x : w) sum += x * x;
  return sum;
}

absl::Status Work(const Client& client, const std::string& id, const v1::Session& before) {
  Session session = client.Join(id, "cpp").value();
  std::vector<float> w(before.num_elements());
  std::vector<float> point(w.size());
  const uint32_t share = (before.config().search().num_pairs() + 1) / 2;
  uint64_t told_version = 0;
  uint32_t num_told = 0;  // pairs of told_version
  for (;;) {
    PullOptions options;
    if (num_told == share) options.min_version = told_version + 1;
    const absl::StatusOr<uint64_t> version = session.Pull(absl::MakeSpan(w), options);
    if (!version.ok()) return version.status();
    if (*version != told_version) num_told = 0;
    told_version = *version;
    const absl::StatusOr<v1::AskResponse> asked = session.Ask(std::min(3u, share - num_told));
    if (!asked.ok()) return asked.status();
    if (!asked->has_lease()) return absl::OkStatus();
    const v1::EvaluationLease& lease = asked->lease();
    if (*version != lease.version()) continue;  // A generation has closed; the lease is held.
    const core::Perturbation perturbation = PerturbationOf(before.config().layout(), lease);
    std::vector<float> losses;
    if (lease.evaluate()) losses.push_back(LossAt(w));
    const uint32_t end = lease.first_pair() + lease.num_pairs();
    for (uint32_t pair = lease.first_pair(); pair < end; ++pair) {
      for (const float sigma : {lease.sigma(), -lease.sigma()}) {
        if (sigma < 0 && lease.differences() != v1::DIFFERENCES_CENTRAL) continue;
        perturbation.Perturb({lease.generation(), pair}, sigma, 0, w, point);
        losses.push_back(LossAt(point));
      }
    }
    const auto told = session.Tell(lease, losses);
    if (!told.ok()) return told.status();
    num_told += lease.num_pairs();
    if (!lease.evaluate()) std::printf("told %u %u\n", lease.generation(), told->num_accepted());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: search_worker ADDRESS SESSION\n");
    return 2;
  }
  const std::string id = argv[2];
  const Client client = Client::Connect(argv[1]).value();
  const v1::Session before = client.GetSession(id).value();
  const size_t num_elements = before.num_elements();
  absl::Status status = Work(client, id, before);
  if (status.ok()) {
    Replay replay =
        Replay::Begin(before.config(), 0, std::vector<float>(num_elements, 1.0f)).value();
    status = client.WatchGenerations(
        id, {}, [&](const v1::WatchGenerationsResponse& message) { return replay.Apply(message); });
    std::vector<float> served(num_elements);
    if (status.ok()) status = client.Pull(id, absl::MakeSpan(served)).status();
    if (status.ok() && !std::equal(served.begin(), served.end(), replay.parameters().begin())) {
      status = absl::InternalError("the replay has other parameters than the server");
    }
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "search_worker: %s\n", status.ToString().c_str());
  return 1;
}
