// SPDX-License-Identifier: Apache-2.0
//
// A worker that searches as a process of its own, for tests that kill it: it asks, evaluates and
// tells until the search is finished. The loss is the sum of the squares of the parameters.
//
//   search_fault_worker ADDRESS SESSION WORKER CAPACITY MILLISECONDS
//
// It rests so many milliseconds for each pair, and tells each half of a lease by itself. Its output
// says what it is at: "holds GENERATION FIRST COUNT" before it evaluates pairs of its lease that it
// has not told, "tells" before each tell. So if the last line says "holds", it holds those pairs.
// It ends with its parent, however the parent ends; and with 0 if the search is finished.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/perturbation.h"

namespace {

float LossAt(const std::vector<float>& w) {
  float sum = 0;
  for (const float x : w) sum += x * x;
  return sum;
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "search_fault_worker: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) return 1;  // it had ended before
  const auto capacity = static_cast<uint32_t>(std::atoi(argv[4]));
  const absl::Duration rest = absl::Milliseconds(std::atoi(argv[5]));

  const auto client = talweg::Client::Connect(argv[1]);
  if (!client.ok()) return Fail(client.status());
  auto session = client->Join(argv[2], argv[3]);
  if (!session.ok()) return Fail(session.status());
  const auto described = client->GetSession(argv[2]);
  if (!described.ok()) return Fail(described.status());
  const talweg::v1::Layout layout = described->config().layout();

  std::vector<float> w(layout.tensors(0).shape(0));  // the layout is one vector
  std::vector<float> point(w.size());
  for (;;) {
    const auto answer = session->Ask(capacity);
    if (!answer.ok()) return Fail(answer.status());
    if (!answer->has_lease()) return 0;
    const talweg::v1::EvaluationLease& lease = answer->lease();
    const auto version = session->Pull(absl::MakeSpan(w));
    if (!version.ok()) return Fail(version.status());
    if (*version != lease.version()) continue;  // others have closed it meanwhile
    const talweg::core::Perturbation perturbation = talweg::PerturbationOf(layout, lease);
    talweg::v1::TellRequest tell;
    tell.set_generation(lease.generation());
    tell.set_lease(lease.lease());
    const auto say_what_it_holds = [&](uint32_t first) {
      dprintf(STDOUT_FILENO, "holds %u %u %u\n", lease.generation(), first,
              lease.first_pair() + lease.num_pairs() - first);
    };
    say_what_it_holds(lease.first_pair());
    for (uint32_t i = 0; i < lease.num_pairs(); ++i) {
      const uint32_t pair = lease.first_pair() + i;
      if (tell.losses().empty()) tell.set_first_pair(pair);
      for (const float sign : {1.0f, -1.0f}) {
        perturbation.Perturb({lease.generation(), pair}, sign * lease.sigma(), 0, w, point);
        tell.add_losses(LossAt(point));
      }
      absl::SleepFor(rest);
      if (i + 1 != lease.num_pairs() && i + 1 != lease.num_pairs() / 2) continue;
      dprintf(STDOUT_FILENO, "tells\n");
      const auto told = session->Tell(tell);
      if (!told.ok()) return Fail(told.status());
      tell.clear_losses();
      if (i + 1 != lease.num_pairs()) say_what_it_holds(pair + 1);
    }
  }
}
