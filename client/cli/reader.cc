// SPDX-License-Identifier: Apache-2.0
#include "client/cli/reader.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

namespace talweg {

void SurviveGoneReaders() { signal(SIGPIPE, SIG_IGN); }

bool ReaderIsGone() {
  struct pollfd output = {STDOUT_FILENO, 0, 0};
  return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace talweg
