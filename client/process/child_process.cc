// SPDX-License-Identifier: Apache-2.0
#include "client/process/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace talweg {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(10);
constexpr int kCannotRun = 127;

// The ends of the two pipes; -1: there is no such pipe.
struct Pipes {
  int childs_input = -1, our_input = -1;
  int childs_output = -1, our_output = -1;

  void CloseChildsEnds() {
    for (int* end : {&childs_input, &childs_output}) Close(*end);
  }
  void CloseAll() {
    CloseChildsEnds();
    for (int* end : {&our_input, &our_output}) Close(*end);
  }
  static void Close(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
};

// False, with errno, if the system gives none.
bool MakePipes(const ChildStreams& streams, Pipes& pipes) {
  int ends[2];
  if (streams.input == ChildStreams::Input::kPipe) {
    // A socket, to which one can write without SIGPIPE.
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
    pipes.childs_input = ends[0];
    pipes.our_input = ends[1];
  }
  if (streams.output == ChildStreams::Output::kPipe) {
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    pipes.our_output = ends[0];
    pipes.childs_output = ends[1];
  }
  return true;
}

// In the child, between fork and exec: only what a signal handler may do.
[[noreturn]] void RunInChild(const char* program, char* const* words, const ChildStreams& streams,
                             const Pipes& pipes, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kCannotRun);  // the parent was gone before that call
  if (streams.own_process_group) setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal_number : {SIGINT, SIGTERM, SIGPIPE}) signal(signal_number, SIG_DFL);
  int input = pipes.childs_input;
  if (streams.input == ChildStreams::Input::kNothing) input = open("/dev/null", O_RDONLY);
  const bool has_input = streams.input == ChildStreams::Input::kInherited ||
                         (input >= 0 && dup2(input, STDIN_FILENO) >= 0);
  const bool has_output = pipes.childs_output < 0 || dup2(pipes.childs_output, STDOUT_FILENO) >= 0;
  const bool has_errors = !streams.errors_with_output || dup2(STDOUT_FILENO, STDERR_FILENO) >= 0;
  if (!has_input || !has_output || !has_errors) _exit(kCannotRun);
  execv(program, words);
  constexpr char kText[] = "cannot be run\n";
  const ssize_t written = write(STDERR_FILENO, kText, sizeof(kText) - 1);
  _exit(written < 0 ? kCannotRun + 1 : kCannotRun);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::string& program, absl::Span<const std::string> arguments,
    const ChildStreams& streams) {
  std::vector<std::string> texts = {program};
  texts.insert(texts.end(), arguments.begin(), arguments.end());
  std::vector<char*> words;
  words.reserve(texts.size() + 1);
  for (std::string& text : texts) words.push_back(text.data());
  words.push_back(nullptr);
  Pipes pipes;
  if (!MakePipes(streams, pipes)) {
    const int error = errno;
    pipes.CloseAll();
    return absl::ResourceExhaustedError(absl::StrCat("no pipe: ", std::strerror(error)));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) RunInChild(program.c_str(), words.data(), streams, pipes, parent);
  const int error = errno;
  pipes.CloseChildsEnds();
  if (pid < 0) {
    pipes.CloseAll();
    return absl::ResourceExhaustedError(absl::StrCat("no process: ", std::strerror(error)));
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, pipes.our_input, pipes.our_output));
}

ChildProcess::~ChildProcess() {
  Signal(SIGKILL);
  if (running_) waitpid(pid_, &status_, 0);
  CloseInput();
  CloseOutput();
}

bool ChildProcess::Running() {
  if (running_ && waitpid(pid_, &status_, WNOHANG) == pid_) running_ = false;
  return running_;
}

void ChildProcess::Signal(int signal) {
  // A number of 0 or below would mean whole groups.
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

bool ChildProcess::Freeze() {
  Signal(SIGSTOP);
  if (!running_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WUNTRACED) != pid_ || WIFSTOPPED(status)) return WIFSTOPPED(status);
  running_ = false;
  status_ = status;
  return false;
}

int ChildProcess::Wait() {
  if (running_) waitpid(pid_, &status_, 0);
  running_ = false;
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
}

bool ChildProcess::Write(absl::string_view text) {
  while (input_ >= 0 && !text.empty()) {
    const ssize_t count = send(input_, text.data(), text.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return input_ >= 0;
}

void ChildProcess::CloseInput() {
  if (input_ >= 0) close(input_);
  input_ = -1;
}

void ChildProcess::CloseOutput() {
  if (output_ >= 0) close(output_);
  output_ = -1;
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
  // This is asked first, so that all that the child wrote before its end is read after its end.
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

std::optional<std::string> ChildProcess::AwaitLine() {
  for (;;) {
    const size_t end = unread_.find('\n');
    if (end != std::string::npos || output_ < 0) {
      if (unread_.empty()) return std::nullopt;
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end == std::string::npos ? end : end + 1);
      return line;
    }
    pollfd output = {output_, POLLIN, 0};
    poll(&output, 1, /*timeout=*/-1);
    ReadOutput();
  }
}

std::string ChildProcess::HowItEnded() const {
  if (WIFSIGNALED(status_)) return absl::StrCat("signal ", WTERMSIG(status_));
  return absl::StrCat("exit status ", WEXITSTATUS(status_));
}

bool ChildProcess::EndedWell() const {
  return !running_ && WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
}

}  // namespace talweg
