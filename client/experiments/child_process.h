// SPDX-License-Identifier: Apache-2.0
//
// A program as a child of this one: what it writes is read here, line by line, and it never
// outlives its parent, not even one that is killed.
//
// The kernel ends a child with the *thread* that made it (PR_SET_PDEATHSIG): make children on a
// thread that lives as long as they should. Linux only.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace talweg {

// Thread-compatible.
class ChildProcess {
 public:
  // Runs the file `program` with `arguments`, standard output and error into one pipe, no input, in
  // a process group of its own, so that a terminal's Ctrl-C is this program's business. A program
  // that cannot be run ends at once, with 127.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::string& program, absl::Span<const std::string> arguments);
  // Kills it if it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }  // > 0
  // Whether it had not ended when this was called.
  bool Running();
  // Sends `signal`, unless it is known to have ended: its number may be another's by then.
  void Signal(int signal);
  // SIGTERM; SIGKILL where it still runs after `grace`. Reads on meanwhile, so that a full pipe
  // holds up no farewell; the lines stay to be read.
  void Stop(absl::Duration grace);

  // The whole lines that came since the last call, and, of one that has ended, the last piece of a
  // line. Does not wait.
  std::vector<std::string> ReadLines();
  // Of one that has ended: "exit status 3", "signal 9".
  std::string HowItEnded() const;
  // Whether it ended with exit status 0.
  bool EndedWell() const;

 private:
  ChildProcess(pid_t pid, int output) : pid_(pid), output_(output) {}
  void ReadOutput();

  const pid_t pid_;
  int output_;           // to read from; -1 once all was read
  bool running_ = true;  // not waited for yet
  int status_ = 0;       // as waitpid gave it
  std::string unread_;
};

// The file that this program was started from; empty where the system does not say.
std::string PathOfThisProgram();

}  // namespace talweg
