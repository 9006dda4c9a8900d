// SPDX-License-Identifier: Apache-2.0
//
// The state of an operation of a host that may fold, step or release calls, and the answers that it
// gives. Only the files of SessionHost include this file.
#pragma once

#include <memory>
#include <utility>

#include "server/runtime/session_host.h"

namespace talweg::server {

struct SessionHost::Turn {
  explicit Turn(Task over) : finished(std::move(over)) {}

  Task finished;
  absl::Time judged;                                 // the time of the decision
  std::shared_ptr<const core::Parameters> previous;  // before the step, if a step is taken
  Answers answers;

  // Of an event that is no contribution.
  absl::Status status;
  uint64_t incarnation = 0;  // of a worker that joins or shows that it lives
  // Called at the end, while the session still belongs to the operation. Returns the task that
  // tells the caller, which runs when the session belongs to the next operation. May be empty.
  absl::AnyInvocable<Task(absl::Status)> conclude;

  // Of an ask; and of a tell, once it is judged.
  AskDone ask_done;
  core::Ask ask;
  core::TellAnswer told;
  bool made_version = false;

  // Of a contribution.
  StepInput input;
  StepDone done;
  std::shared_ptr<core::StagedGradient> gradient;
  std::shared_ptr<core::StagedStatistics> statistics;
};

}  // namespace talweg::server
