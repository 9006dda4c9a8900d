// SPDX-License-Identifier: Apache-2.0
#include "tests/support/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

namespace talweg::testing {

ServerProcess::ServerProcess(const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {TALWEG_SERVER_BINARY, "--address=127.0.0.1:0"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for the server");
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    // However this process ends, its server ends with it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && dup2(output[1], STDOUT_FILENO) >= 0) {
      execv(TALWEG_SERVER_BINARY, argv.data());
    }
    _exit(127);
  }
  close(output[1]);
  std::string line;
  char c = 0;
  while (pid_ > 0 && read(output[0], &c, 1) == 1 && c != '\n') line.push_back(c);
  close(output[0]);
  const std::string prefix = "talweg-server listening on ";
  if (line.compare(0, prefix.size(), prefix) != 0) {
    throw std::runtime_error("the server does not listen: " + line);
  }
  address_ = line.substr(prefix.size());
}

ServerProcess::~ServerProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

int ServerProcess::port() const { return std::stoi(address_.substr(address_.rfind(':') + 1)); }

void ServerProcess::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

int ServerProcess::Wait() {
  int status = 0;
  if (waitpid(pid_, &status, 0) != pid_) return -1;
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace talweg::testing
