// SPDX-License-Identifier: Apache-2.0
//
// A storm: all faults that may befall a fleet, at random, in every mode. At the end every
// contribution must be where its worker was told that it is, and nowhere else.
//
// The storm draws another seed in every run and prints it; TALWEG_FAULT_SEED repeats one.
#include <signal.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/fault/process_fault.h"
#include "tests/support/proxy.h"

namespace talweg {
namespace {

using testing::AnyModeFaultTest;
using testing::Proxy;
using testing::WorkerProcess;

TEST_P(AnyModeFaultTest, StormLosesNothingAndCountsNothingTwice) {
  const char* given = std::getenv("TALWEG_FAULT_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "TALWEG_FAULT_SEED=" << seed << std::endl;
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t bound) { return random() % bound; };
  const auto pause = [&](uint64_t milliseconds) {
    absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(below(milliseconds))));
  };

  constexpr size_t kWorkers = 4;
  constexpr uint64_t kBeyondLease = 1500 * kLeaseSeconds;
  std::vector<std::unique_ptr<Proxy>> proxies;
  std::vector<WorkerProcess*> lives;
  const auto start = [&](size_t index) -> WorkerProcess& {
    // Rounds of workers that never rest may make more versions than the server keeps records of.
    return Start(absl::StrCat("worker-", index), How::kPaced, proxies[index]->address());
  };
  for (size_t index = 0; index < kWorkers; ++index) {
    proxies.push_back(std::make_unique<Proxy>(server_.port()));
    lives.push_back(&start(index));
  }
  for (int fault = 0; fault < 14; ++fault) {
    const size_t index = below(kWorkers);
    Proxy& proxy = *proxies[index];
    switch (below(6)) {
      case 0:
        lives[index]->Signal(SIGKILL);
        lives[index]->Wait();
        pause(below(3) == 0 ? kBeyondLease : 100);
        lives[index] = &start(index);
        break;
      case 1:
        lives[index]->Freeze();
        pause(below(3) == 0 ? kBeyondLease : 100);
        lives[index]->Wake();
        break;
      case 2: {
        WorkerProcess& replaced = *lives[index];
        replaced.Freeze();
        lives[index] = &start(index);
        pause(300);
        replaced.Wake();
        EXPECT_EQ(replaced.Wait(), 1);
        EXPECT_EQ(replaced.Read().ended, "INCARNATION_FENCED");
        break;
      }
      case 3:
        proxy.DropReplies();
        pause(300);
        proxy.CutAndHeal();
        break;
      case 4:
        proxy.CutAfter(below(2) == 0,
                       static_cast<int64_t>(below(GetParam().streamed ? 1'500'000 : 10'000)));
        pause(300);
        break;
      default:
        proxy.FallSilent();
        pause(below(3) == 0 ? kBeyondLease : 100);
        proxy.CutAndHeal();
    }
    AwaitVersion(version() + 1 + below(3));
  }
  EndAll();
}

}  // namespace
}  // namespace talweg
