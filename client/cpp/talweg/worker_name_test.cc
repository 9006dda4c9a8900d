// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/worker_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"

namespace talweg {
namespace {

std::string NameIn(const std::map<std::string, std::string>& environment) {
  return WorkerName([&](const char* variable) -> const char* {
    const auto found = environment.find(variable);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(WorkerNameTest, NameThatIsGivenComesFirst) {
  EXPECT_EQ(NameIn({{"TALWEG_WORKER", "simulator-7"},
                    {"RANK", "1"},
                    {"TORCHELASTIC_RUN_ID", "run"},
                    {"SLURM_JOB_ID", "2"},
                    {"SLURM_PROCID", "3"},
                    {"JOB_COMPLETION_INDEX", "4"}}),
            "simulator-7");
}

TEST(WorkerNameTest, InnermostLauncherNamesItsProcesses) {
  // torchrun starts several in one task of Slurm, or in one pod.
  EXPECT_EQ(NameIn({{"RANK", "5"},
                    {"TORCHELASTIC_RUN_ID", "night"},
                    {"SLURM_JOB_ID", "2"},
                    {"SLURM_PROCID", "0"},
                    {"JOB_COMPLETION_INDEX", "0"}}),
            "night-5");
  EXPECT_EQ(NameIn({{"SLURM_JOB_ID", "812"}, {"SLURM_PROCID", "3"}, {"RANK", "5"}}), "slurm-812-3");
}

TEST(WorkerNameTest, PodsOfAnIndexedJobKeepTheirNameAcrossRestarts) {
  EXPECT_EQ(NameIn({{"JOB_COMPLETION_INDEX", "3"}, {"JOB_NAME", "mnist"}, {"HOSTNAME", "x-y-z"}}),
            "mnist-3");
  // As host name and as name of the pod, whose random suffix differs from start to start.
  for (const std::string host : {"mnist-3", "mnist-3-x7k2p", "mnist-3-q99zz", "mnist-x7k2p"}) {
    EXPECT_EQ(NameIn({{"JOB_COMPLETION_INDEX", "3"}, {"HOSTNAME", host}}), "mnist-3") << host;
  }
  EXPECT_EQ(NameIn({{"JOB_COMPLETION_INDEX", "3"}, {"HOSTNAME", "run-3-3"}}), "run-3-3");
  EXPECT_EQ(NameIn({{"JOB_COMPLETION_INDEX", "3"}}), "worker-3");
}

TEST(WorkerNameTest, WithoutALauncherItIsHostAndProcess) {
  const std::string name = NameIn({{"RANK", "1"}, {"SLURM_PROCID", "1"}, {"HOSTNAME", "h"}});
  EXPECT_THAT(name, ::testing::EndsWith(absl::StrCat("-", getpid())));
  EXPECT_EQ(NameIn({{"TALWEG_WORKER", ""}}), name);
}

TEST(WorkerNameTest, EveryNameIsOneThatAServerTakes) {
  EXPECT_EQ(NameIn({{"TALWEG_WORKER", "rack 2/host:1"}}), "rack-2-host-1");
  EXPECT_EQ(NameIn({{"TALWEG_WORKER", "-._a.b_c-"}}), "a.b_c-");
  EXPECT_EQ(NameIn({{"TALWEG_WORKER", "///"}}), "worker");
  EXPECT_EQ(NameIn({{"TALWEG_WORKER", "\xc3\xa9t\xc3\xa9"}}), "t--");
  const std::string longest(128, 'a');
  EXPECT_EQ(NameIn({{"TALWEG_WORKER", longest}}), longest);
  // Ranks stand at the end, and must still differ.
  const std::string first = NameIn({{"TORCHELASTIC_RUN_ID", longest}, {"RANK", "1"}});
  const std::string second = NameIn({{"TORCHELASTIC_RUN_ID", longest}, {"RANK", "2"}});
  EXPECT_EQ(first.size(), 128u);
  EXPECT_EQ(second.size(), 128u);
  EXPECT_NE(first, second);
}

TEST(WorkerNameTest, ReadsTheEnvironmentOfTheProcess) {
  setenv("TALWEG_WORKER", "of-the-process", 1);
  EXPECT_EQ(WorkerName(), "of-the-process");
  unsetenv("TALWEG_WORKER");
}

}  // namespace
}  // namespace talweg
