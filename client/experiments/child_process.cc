// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace talweg {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(10);
constexpr int kCannotRun = 127;

// In the child, between fork and exec: only what a signal handler may do.
[[noreturn]] void RunInChild(const char* program, char* const* words, int output, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kCannotRun);  // it was gone before that
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal_number : {SIGINT, SIGTERM, SIGPIPE}) signal(signal_number, SIG_DFL);
  const int nothing = open("/dev/null", O_RDONLY);
  if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
      dup2(output, STDERR_FILENO) < 0) {
    _exit(kCannotRun);
  }
  execv(program, words);
  constexpr char kText[] = "cannot be run\n";
  const ssize_t written = write(STDOUT_FILENO, kText, sizeof(kText) - 1);
  _exit(written < 0 ? kCannotRun + 1 : kCannotRun);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::string& program, absl::Span<const std::string> arguments) {
  std::vector<std::string> texts = {program};
  texts.insert(texts.end(), arguments.begin(), arguments.end());
  std::vector<char*> words;
  words.reserve(texts.size() + 1);
  for (std::string& text : texts) words.push_back(text.data());
  words.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no pipe: ", std::strerror(errno)));
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) RunInChild(program.c_str(), words.data(), ends[1], parent);
  const int error = errno;
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return absl::ResourceExhaustedError(absl::StrCat("no process: ", std::strerror(error)));
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, ends[0]));
}

ChildProcess::~ChildProcess() {
  Signal(SIGKILL);
  if (running_) waitpid(pid_, &status_, 0);
  if (output_ >= 0) close(output_);
}

bool ChildProcess::Running() {
  if (running_ && waitpid(pid_, &status_, WNOHANG) == pid_) running_ = false;
  return running_;
}

void ChildProcess::Signal(int signal) {
  // 0 and below would mean whole groups.
  if (Running() && pid_ > 0) kill(pid_, signal);
}

void ChildProcess::Stop(absl::Duration grace) {
  Signal(SIGTERM);
  const absl::Time end = absl::Now() + grace;
  while (Running() && absl::Now() < end) {
    ReadOutput();
    absl::SleepFor(kLookEvery);
  }
  Signal(SIGKILL);
  if (running_) waitpid(pid_, &status_, 0);
  running_ = false;
  ReadOutput();
}

void ChildProcess::ReadOutput() {
  char bytes[16384];
  while (output_ >= 0) {
    const ssize_t count = read(output_, bytes, sizeof(bytes));
    if (count > 0) {
      unread_.append(bytes, static_cast<size_t>(count));
    } else if (count == 0) {
      close(output_);
      output_ = -1;
    } else if (errno != EINTR) {
      return;  // nothing more for now
    }
  }
}

std::vector<std::string> ChildProcess::ReadLines() {
  // Asked first, so that what it wrote before its end is read after it.
  const bool ended = !Running();
  ReadOutput();
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t end = unread_.find('\n'); end != std::string::npos; end = unread_.find('\n', begin)) {
    lines.push_back(unread_.substr(begin, end - begin));
    begin = end + 1;
  }
  unread_.erase(0, begin);
  if (ended && !unread_.empty()) {
    lines.push_back(std::move(unread_));
    unread_.clear();
  }
  return lines;
}

std::string ChildProcess::HowItEnded() const {
  if (WIFSIGNALED(status_)) return absl::StrCat("signal ", WTERMSIG(status_));
  return absl::StrCat("exit status ", WEXITSTATUS(status_));
}

bool ChildProcess::EndedWell() const {
  return !running_ && WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
}

std::string PathOfThisProgram() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "" : path.string();
}

}  // namespace talweg
