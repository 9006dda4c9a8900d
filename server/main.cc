// SPDX-License-Identifier: Apache-2.0
//
// The binary talweg-server: its flags, and the order of start and stop.
#include <malloc.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/ops/log.h"
#include "server/ops/repeated_flag.h"
#include "server/server.h"
#include "spdlog/spdlog.h"

ABSL_FLAG(std::string, address, "127.0.0.1:50551",
          "HOST:PORT to listen on; port 0 takes a free one and says which");
ABSL_FLAG(bool, insecure, false,
          "allow an address that other machines reach, without encryption or authentication");
ABSL_FLAG(uint32_t, threads, 0, "compute threads; 0: as many as this process may use CPUs");
ABSL_FLAG(uint64_t, memory_bytes, 0,
          "bytes that all sessions may take together; 0: three fifths of what there is");
ABSL_FLAG(uint32_t, max_sessions, 10000, "sessions held at the same time");
ABSL_FLAG(double, drain_seconds, 0,
          "on SIGTERM, seconds to serve on while not ready, so that balancers can follow");
ABSL_FLAG(double, grace_seconds, 20, "on SIGTERM, seconds to wait for calls under way");
ABSL_FLAG(std::string, log_format, "text", "text for people, json for machines");
ABSL_FLAG(std::string, log_level, "info", "debug, info, warning or error");

namespace {

constexpr const char* kFlags[] = {"address",       "insecure",     "threads",
                                  "memory_bytes",  "max_sessions", "drain_seconds",
                                  "grace_seconds", "log_format",   "log_level"};

void PrintHelp() {
  std::puts(
      "talweg-server: owns parameters and optimizer state, takes gradients, gives back the next "
      "point.\n\n"
      "  talweg-server [--flag=value ...]\n");
  for (const char* name : kFlags) {
    const absl::CommandLineFlag& flag = *absl::FindCommandLineFlag(name);
    std::printf("  %-30s %s\n", absl::StrCat("--", name, "=", flag.DefaultValue()).c_str(),
                flag.Help().c_str());
  }
  std::puts(
      "\nState lives in memory: it ends with the server. SIGTERM and SIGINT finish the calls under "
      "way\nand exit 0. Health: grpc.health.v1, services \"live\" and \"ready\". --version tells "
      "the "
      "version.");
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "talweg-server: %s\n", std::string(status.message()).c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef M_ARENA_MAX
  // Messages are allocated on one thread and freed on another. With an arena for each thread, what
  // the process holds besides its vectors came to 200 MiB in a large session.
  mallopt(M_ARENA_MAX, 2);
#endif
  for (int index = 1; index < argc; ++index) {
    const std::string argument = argv[index];
    if (argument == "--help" || argument == "-help" || argument == "-h") {
      PrintHelp();
      return 0;
    }
    if (argument == "--version" || argument == "-version") {
      std::puts("talweg-server " TALWEG_VERSION);
      return 0;
    }
  }
  const std::string repeated =
      talweg::server::RepeatedFlag({argv + 1, static_cast<size_t>(std::max(argc - 1, 0))});
  if (!repeated.empty()) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("--", repeated, " is given twice")));
  }
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    return Fail(absl::InvalidArgumentError(absl::StrCat("unexpected argument \"", rest[1], "\"")));
  }
  const absl::Status logging =
      talweg::server::SetUpLog(absl::GetFlag(FLAGS_log_format), absl::GetFlag(FLAGS_log_level));
  if (!logging.ok()) return Fail(logging);

  // Done before any thread is made, so that all threads leave these signals to this one.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  if (absl::GetFlag(FLAGS_max_sessions) == 0) {
    return Fail(absl::InvalidArgumentError("--max_sessions is 0, allowed: 1 or more"));
  }
  talweg::server::ServerOptions options;
  options.address = absl::GetFlag(FLAGS_address);
  options.insecure = absl::GetFlag(FLAGS_insecure);
  options.num_threads = absl::GetFlag(FLAGS_threads);
  options.memory_bytes = absl::GetFlag(FLAGS_memory_bytes);
  options.max_sessions = absl::GetFlag(FLAGS_max_sessions);
  auto server = talweg::server::Server::Start(options);
  if (!server.ok()) return Fail(server.status());
  // For people, and for scripts that gave port 0. Nothing else is ever written to standard output.
  std::printf("talweg-server listening on %s\n", (*server)->address().c_str());
  std::fflush(stdout);
  spdlog::info("version {} serves at {}", TALWEG_VERSION, (*server)->address());

  int received = 0;
  sigwait(&signals, &received);
  spdlog::info("{}: stopping", received == SIGTERM ? "SIGTERM" : "SIGINT");
  (*server)->NotReady();
  absl::SleepFor(absl::Seconds(absl::GetFlag(FLAGS_drain_seconds)));
  (*server)->Stop(absl::Seconds(absl::GetFlag(FLAGS_grace_seconds)));
  spdlog::info("stopped");
  return 0;
}
