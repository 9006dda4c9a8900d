// SPDX-License-Identifier: Apache-2.0
#include "client/process/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<ChildProcess> Shell(const std::string& script) {
  return ChildProcess::Start("/bin/sh", {"-c", script}).value();
}

void AwaitEnd(ChildProcess& process) {
  while (process.Running()) absl::SleepFor(absl::Milliseconds(5));
}

// Reads until `count` lines have come, or the child has ended.
std::vector<std::string> AwaitLines(ChildProcess& process, size_t count) {
  std::vector<std::string> lines;
  for (bool running = true; running && lines.size() < count;) {
    running = process.Running();
    for (std::string& line : process.ReadLines()) lines.push_back(std::move(line));
    absl::SleepFor(absl::Milliseconds(5));
  }
  return lines;
}

// Whether there is such a process and it has not ended. A process that nobody waited for has ended.
bool Lives(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  if (!std::getline(file, text)) return false;
  return text.substr(text.rfind(')') + 2, 1) != "Z";
}

TEST(ChildProcessTest, BothOutputsAreReadAsLinesAndTheLastPieceAtTheEnd) {
  const auto process = Shell("echo one; echo two >&2; printf three");
  AwaitEnd(*process);
  EXPECT_THAT(process->ReadLines(), ElementsAre("one", "two", "three"));
  EXPECT_THAT(process->ReadLines(), ElementsAre());
  EXPECT_TRUE(process->EndedWell());
}

TEST(ChildProcessTest, APieceOfALineWaitsForItsEnd) {
  const auto process = Shell("printf 'a\\nb'; read nothing; sleep 60");
  EXPECT_THAT(AwaitLines(*process, 1), ElementsAre("a"));
  EXPECT_TRUE(process->Running());
}

TEST(ChildProcessTest, TellsHowItEnded) {
  const auto failed = Shell("exit 3");
  AwaitEnd(*failed);
  EXPECT_EQ(failed->HowItEnded(), "exit status 3");
  EXPECT_FALSE(failed->EndedWell());
  const auto killed = Shell("kill -9 $$");
  AwaitEnd(*killed);
  EXPECT_EQ(killed->HowItEnded(), "signal 9");
  EXPECT_FALSE(killed->EndedWell());
}

TEST(ChildProcessTest, AProgramThatIsNotThereEndsAtOnce) {
  const auto process = ChildProcess::Start("/no/such/program", {}).value();
  AwaitEnd(*process);
  EXPECT_EQ(process->HowItEnded(), "exit status 127");
  EXPECT_THAT(process->ReadLines(), ElementsAre("cannot be run"));
}

TEST(ChildProcessTest, StopAsksFirst) {
  const auto process = Shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done");
  EXPECT_THAT(AwaitLines(*process, 1), ElementsAre("up"));
  process->Stop(absl::Seconds(30));
  EXPECT_TRUE(process->EndedWell());
  EXPECT_THAT(process->ReadLines(), ElementsAre("bye"));
}

TEST(ChildProcessTest, StopKillsWhoDoesNotListen) {
  const auto process = Shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
  EXPECT_THAT(AwaitLines(*process, 1), ElementsAre("up"));
  process->Stop(absl::Milliseconds(50));
  EXPECT_EQ(process->HowItEnded(), "signal 9");
}

TEST(ChildProcessTest, MoreThanAPipeHoldsIsReadWhileItStops) {
  const auto process =
      Shell("trap 'head -c 300000 /dev/zero; exit 0' TERM; echo up; while :; do sleep 0.01; done");
  EXPECT_THAT(AwaitLines(*process, 1), ElementsAre("up"));
  process->Stop(absl::Seconds(30));
  EXPECT_TRUE(process->EndedWell()) << process->HowItEnded();
  const std::vector<std::string> lines = process->ReadLines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].size(), 300000u);
}

TEST(ChildProcessTest, GoesWithItsObject) {
  auto process = Shell("sleep 60");
  const pid_t pid = process->pid();
  EXPECT_TRUE(Lives(pid));
  process.reset();
  EXPECT_FALSE(Lives(pid));
}

TEST(ChildProcessTest, DiesWithAParentThatIsKilled) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t parent = fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    const auto process = ChildProcess::Start("/bin/sleep", {"60"});
    const pid_t pid = (*process)->pid();
    if (write(ends[1], &pid, sizeof(pid)) == sizeof(pid)) pause();
    _exit(1);
  }
  pid_t child = -1;
  ASSERT_EQ(read(ends[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  close(ends[0]);
  close(ends[1]);
  ASSERT_GT(child, 0);
  EXPECT_TRUE(Lives(child));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  while (Lives(child)) absl::SleepFor(absl::Milliseconds(5));  // or the test's own deadline
}

TEST(ChildProcessTest, IsInAProcessGroupOfItsOwn) {
  const auto process = Shell("sleep 60");
  while (getpgid(process->pid()) == getpgrp()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(getpgid(process->pid()), process->pid());
}

constexpr ChildStreams kPeer = {ChildStreams::Input::kPipe, ChildStreams::Output::kPipe,
                                /*errors_with_output=*/false, /*own_process_group=*/false};

std::unique_ptr<ChildProcess> PeerShell(const std::string& script) {
  return ChildProcess::Start("/bin/sh", {"-c", script}, kPeer).value();
}

TEST(ChildProcessTest, IsAskedAndAnswersInLines) {
  const auto process = PeerShell("while read word; do echo \"<$word>\"; done; printf end");
  EXPECT_TRUE(process->Write("one\ntwo\n"));
  EXPECT_EQ(process->AwaitLine(), "<one>");
  EXPECT_EQ(process->AwaitLine(), "<two>");
  EXPECT_TRUE(process->Write("three\n"));
  EXPECT_EQ(process->AwaitLine(), "<three>");
  process->CloseInput();
  EXPECT_EQ(process->AwaitLine(), "end");
  EXPECT_EQ(process->AwaitLine(), std::nullopt);
  EXPECT_EQ(process->Wait(), 0);
  EXPECT_FALSE(process->Write("four\n"));
}

TEST(ChildProcessTest, NothingIsWrittenToAChildThatIsGone) {
  const auto process = PeerShell("exit 4");
  EXPECT_EQ(process->Wait(), 4);
  EXPECT_FALSE(process->Write("a line\n"));  // and no SIGPIPE ends this test
  EXPECT_EQ(process->AwaitLine(), std::nullopt);
}

TEST(ChildProcessTest, StandardErrorAndProcessGroupCanBeInherited) {
  const auto process = PeerShell("echo out; echo err >&2; read word");
  EXPECT_EQ(process->AwaitLine(), "out");
  EXPECT_EQ(getpgid(process->pid()), getpgrp());
  process->CloseInput();
  EXPECT_EQ(process->AwaitLine(), std::nullopt);
}

TEST(ChildProcessTest, HasTheEnvironmentOfThisProgram) {
  ASSERT_EQ(setenv("TALWEG_CHILD_PROCESS_TEST", "a value", 1), 0);
  const auto process = Shell("echo \"$TALWEG_CHILD_PROCESS_TEST\"");
  EXPECT_EQ(process->AwaitLine(), "a value");
}

TEST(ChildProcessTest, WaitTellsExitStatusOrSignalAsOftenAsItIsAsked) {
  const auto failed = Shell("exit 3");
  EXPECT_EQ(failed->Wait(), 3);
  EXPECT_EQ(failed->Wait(), 3);
  const auto killed = Shell("sleep 60");
  killed->Signal(SIGKILL);
  EXPECT_EQ(killed->Wait(), -SIGKILL);
}

TEST(ChildProcessTest, AFrozenChildStandsStillUntilItIsWoken) {
  const auto process = PeerShell("while read word; do echo \"$word\"; done");
  ASSERT_TRUE(process->Freeze());
  EXPECT_TRUE(process->Running());
  EXPECT_TRUE(process->Write("one\n"));
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_THAT(process->ReadLines(), ElementsAre());
  process->Signal(SIGCONT);
  EXPECT_EQ(process->AwaitLine(), "one");
  process->Signal(SIGKILL);
  EXPECT_EQ(process->Wait(), -SIGKILL);
  EXPECT_FALSE(process->Freeze());
}

TEST(ChildProcessTest, WritingFailsOnceTheOutputIsClosed) {
  const auto process = PeerShell("read word; echo \"$word\"; exit 0");
  process->CloseOutput();
  EXPECT_TRUE(process->Write("one\n"));
  EXPECT_NE(process->Wait(), 0);
}

}  // namespace
}  // namespace talweg
