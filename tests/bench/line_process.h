// SPDX-License-Identifier: Apache-2.0
//
// A child process that is asked and answers in lines: the peer of a benchmark, kept waiting between
// its turns.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

namespace talweg::testing {

// One thread.
class LineProcess {
 public:
  // Starts `command`, looked up on PATH. Where that fails, the first Read fails.
  explicit LineProcess(std::vector<std::string> command) {
    int to_child[2], from_child[2];
    if (pipe(to_child) != 0 || pipe(from_child) != 0) return;
    signal(SIGPIPE, SIG_IGN);  // a child that is gone shows as a failed Read
    child_ = fork();
    if (child_ == 0) {
      dup2(to_child[0], STDIN_FILENO);
      dup2(from_child[1], STDOUT_FILENO);
      for (const int fd : {to_child[0], to_child[1], from_child[0], from_child[1]}) close(fd);
      std::vector<char*> arguments;
      for (std::string& argument : command) arguments.push_back(argument.data());
      arguments.push_back(nullptr);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    close(to_child[0]);
    close(from_child[1]);
    in_ = fdopen(to_child[1], "w");
    out_ = fdopen(from_child[0], "r");
  }
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;
  // Ends the child's input, on which it leaves, and waits for it.
  ~LineProcess() {
    if (in_ != nullptr) fclose(in_);
    if (out_ != nullptr) fclose(out_);
    if (child_ > 0) waitpid(child_, nullptr, 0);
  }

  // Sends a line.
  void Write(const std::string& line) {
    if (in_ == nullptr) return;
    std::fprintf(in_, "%s\n", line.c_str());
    std::fflush(in_);
  }

  // Waits for a line and takes it, without its end. False where the child is gone.
  bool Read(std::string* line) {
    char buffer[256];
    if (out_ == nullptr || std::fgets(buffer, sizeof(buffer), out_) == nullptr) return false;
    *line = buffer;
    if (!line->empty() && line->back() == '\n') line->pop_back();
    return true;
  }

 private:
  pid_t child_ = -1;
  FILE* in_ = nullptr;
  FILE* out_ = nullptr;
};

}  // namespace talweg::testing
