// SPDX-License-Identifier: Apache-2.0
//
//   search_worker ADDRESS SESSION
//
// A worker in C++ beside those in other languages: evaluates the sum of squares until the search is
// finished, then replays it from version 0, whose parameters are all 1, and compares with the
// server. Exits with 0 if the bits are the same.
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

absl::Status Work(const Client& client, const std::string& id, size_t num_elements,
                  const v1::Layout& layout) {
  Session session = client.Join(id, "cpp").value();
  std::vector<float> w(num_elements);
  std::vector<float> point(num_elements);
  for (;;) {
    const absl::StatusOr<v1::AskResponse> asked = session.Ask(3);
    if (!asked.ok()) return asked.status();
    if (!asked->has_lease()) return absl::OkStatus();
    const v1::EvaluationLease& lease = asked->lease();
    const absl::StatusOr<uint64_t> version = session.Pull(absl::MakeSpan(w));
    if (!version.ok()) return version.status();
    if (*version != lease.version()) continue;  // the generation has closed
    const core::Perturbation perturbation = PerturbationOf(layout, lease);
    std::vector<float> losses;
    const uint32_t end = lease.first_pair() + lease.num_pairs();
    for (uint32_t pair = lease.first_pair(); pair < end; ++pair) {
      for (const float sigma : {lease.sigma(), -lease.sigma()}) {
        perturbation.Perturb({lease.generation(), pair}, sigma, 0, w, point);
        losses.push_back(LossAt(point));
      }
    }
    const auto told = session.Tell(lease, losses);
    if (!told.ok()) return told.status();
    std::printf("told %u\n", told->num_accepted());
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
  absl::Status status = Work(client, id, num_elements, before.config().layout());
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
