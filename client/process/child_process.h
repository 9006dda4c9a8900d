// SPDX-License-Identifier: Apache-2.0
//
// A program as a child of this one. What it writes can be read here, line by line, and it can be
// written to. It never outlives its parent, not even a parent that is killed.
//
// The kernel ends a child together with the *thread* that made it (PR_SET_PDEATHSIG): make a child
// on a thread that lives as long as the child should. Linux only.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace talweg {

// What a child's streams are joined to.
struct ChildStreams {
  enum class Input { kNothing, kInherited, kPipe };
  enum class Output { kInherited, kPipe };
  Input input = Input::kNothing;   // kNothing: /dev/null; kPipe: Write reaches it
  Output output = Output::kPipe;   // kPipe: ReadLines and AwaitLine read it
  bool errors_with_output = true;  // standard error goes where standard output goes; else inherited
  bool own_process_group = true;   // a terminal's Ctrl-C does not reach the child
};

// Thread-compatible.
class ChildProcess {
 public:
  // Runs the file `program` with `arguments` and this program's environment. Signals have their
  // default effect in the child, and none is blocked. A program that cannot be run ends at once,
  // with exit status 127, after it said so on its standard error.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::string& program, absl::Span<const std::string> arguments,
      const ChildStreams& streams = {});
  // Kills the child if it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }  // > 0
  // Whether the child had not ended when this was called.
  bool Running();
  // Sends `signal`, unless the child is known to have ended: its number may be another's by then.
  void Signal(int signal);
  // Sends SIGTERM, and SIGKILL if the child still runs after `grace`. Goes on reading meanwhile, so
  // that a full pipe holds up no farewell; the lines can still be read afterwards.
  void Stop(absl::Duration grace);
  // Sends SIGSTOP and returns once the child stands still (true) or has ended (false). SIGCONT
  // wakes it.
  bool Freeze();
  // Waits for the end and returns the exit status, or -signal if a signal ended the child. Reads
  // nothing meanwhile: only for a child that does not write more than a pipe holds.
  int Wait();

  // Writes all of `text` to the child's standard input (Input::kPipe). False if the child no longer
  // reads; no signal is raised here.
  bool Write(absl::string_view text);
  // Ends the child's standard input.
  void CloseInput();

  // The whole lines that came since the last call. If the child has ended, the last piece of a line
  // follows as a line. Does not wait.
  std::vector<std::string> ReadLines();
  // Waits for one line and returns it without its end. At the end of the output it returns the last
  // piece of a line, then nothing.
  std::optional<std::string> AwaitLine();
  // Reads no more. What the child writes from now on fails there.
  void CloseOutput();

  // How a child that has ended did so: "exit status 3", "signal 9".
  std::string HowItEnded() const;
  // Whether the child has ended with exit status 0.
  bool EndedWell() const;

 private:
  ChildProcess(pid_t pid, int input, int output) : pid_(pid), input_(input), output_(output) {}
  void ReadOutput();

  const pid_t pid_;
  int input_;            // to write to; -1: there is none, or it was closed
  int output_;           // to read from; -1: there is none, or all was read
  bool running_ = true;  // not waited for yet
  int status_ = 0;       // as waitpid gave it
  std::string unread_;
};

}  // namespace talweg
