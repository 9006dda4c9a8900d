// SPDX-License-Identifier: Apache-2.0
#include "client/cli/context.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/talweg/status.h"
#include "client/cpp/talweg/told.h"
#include "client/cpp/talweg/worker_name.h"
#include "google/protobuf/util/json_util.h"

namespace talweg {
namespace {

constexpr const char* kDefaultServer = "127.0.0.1:50551";
constexpr double kDefaultTimeoutSeconds = 30;
constexpr absl::Duration kToldAfter = absl::Seconds(1);
// Two retries that are farther apart belong to different absences: more than the longest backoff.
constexpr absl::Duration kAbsenceGap = absl::Seconds(60);

absl::StatusOr<std::string> JsonOf(const google::protobuf::Message& message, bool lines) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = lines;
  options.preserve_proto_field_names = true;
#if GOOGLE_PROTOBUF_VERSION >= 5026000
  options.always_print_fields_with_no_presence = true;
#else
  options.always_print_primitive_fields = true;
#endif
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) return absl::InternalError("this message has no JSON form");
  return json;
}

// HOST:PORT, as gRPC would dial it; without a port it dials 443 and waits.
bool HasHostAndPort(absl::string_view server) {
  const size_t colon = server.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return false;
  const absl::string_view host = server.substr(0, colon);
  // Within an IPv6 address colons stand between brackets.
  const bool bare =
      absl::StrContains(host, ':') && !absl::StartsWith(host, "[") && !absl::StrContains(host, '/');
  uint32_t port = 0;
  return !bare && absl::SimpleAtoi(server.substr(colon + 1), &port) && port > 0 && port <= 65535;
}

// "http://host:1", "host:1/path". Of the names that gRPC takes with a slash, only one for DNS has a
// port.
bool IsUrl(absl::string_view server) {
  return absl::StrContains(server, '/') && !absl::StartsWith(server, "dns:");
}

}  // namespace

absl::StatusOr<std::string> ServerAsAsked(const Arguments& arguments) {
  const char* environment = std::getenv("TALWEG_SERVER");
  if (!arguments.Has("server") && environment == nullptr) return std::string();
  const std::string server = arguments.Has("server") ? arguments.Text("server") : environment;
  const bool is_url = IsUrl(server);
  if (is_url || !HasHostAndPort(server)) {
    return UsageError(absl::StrCat(
        arguments.Has("server") ? "--server" : "$TALWEG_SERVER", " is \"", server,
        "\", expected HOST:PORT",
        is_url ? ", such as 127.0.0.1:50551, without http:// in front or a path behind" : ""));
  }
  return server;
}

absl::StatusOr<ClientOptions> OptionsAsAsked(const Arguments& arguments,
                                             std::function<bool()> stop) {
  const absl::StatusOr<std::optional<double>> seconds = arguments.Number("timeout");
  if (!seconds.ok()) return seconds.status();
  const double timeout_seconds = seconds->value_or(kDefaultTimeoutSeconds);
  // Also refuses what is not a number.
  if (!(timeout_seconds > 0)) return UsageError("--timeout takes seconds above 0");
  ClientOptions options;
  options.connect_timeout = absl::Seconds(timeout_seconds);
  options.retry.overall_timeout = absl::Seconds(timeout_seconds);
  // Other workers may take their time, unless somebody says otherwise.
  if (seconds->has_value()) options.retry.round_timeout = absl::Seconds(timeout_seconds);
  options.retry.stop = std::move(stop);
  return options;
}

absl::StatusOr<Client> ConnectTo(const std::string& server, const Arguments& arguments,
                                 std::function<bool()> stop) {
  absl::StatusOr<ClientOptions> options = OptionsAsAsked(arguments, std::move(stop));
  if (!options.ok()) return options.status();
  const auto notice = std::make_shared<AbsenceNotice>(server, options->connect_timeout);
  options->connecting = [notice](absl::Duration waited) { Tell(notice->Connecting(waited)); };
  // Heartbeats and calls may retry at the same time, each on its own thread.
  const auto mutex = std::make_shared<std::mutex>();
  options->retry.retrying = [notice, mutex](const absl::Status& why) {
    const std::lock_guard<std::mutex> lock(*mutex);
    Tell(notice->Retrying(why, absl::Now()));
  };
  return Client::Connect(server, *options);
}

absl::StatusOr<Client> ConnectAsAsked(const Arguments& arguments, std::function<bool()> stop) {
  const absl::StatusOr<std::string> server = ServerAsAsked(arguments);
  if (!server.ok()) return server.status();
  return ConnectTo(server->empty() ? kDefaultServer : *server, arguments, std::move(stop));
}

std::string AbsenceNotice::Connecting(absl::Duration waited) {
  if (told_ || waited < kToldAfter) return "";
  told_ = true;
  return absl::StrCat("no talweg-server answers at ", server_, " yet; trying for ",
                      DurationText(timeout_), " in all (--timeout)");
}

std::string AbsenceNotice::Retrying(const absl::Status& why, absl::Time now) {
  if (now - last_ > kAbsenceGap) {
    first_ = now;
    told_ = false;
  }
  last_ = now;
  if (told_ || now - first_ < kToldAfter) return "";
  told_ = true;
  return absl::StrCat("the server at ", server_, " does not answer; trying for ",
                      DurationText(timeout_), " in all (--timeout). ", Describe(why));
}

std::string WorkerAsAsked(const Arguments& arguments) {
  if (arguments.Has("worker")) return arguments.Text("worker");
  if (std::getenv("TALWEG_WORKER") != nullptr) return WorkerName();
  std::array<char, 256> host = {};
  if (gethostname(host.data(), host.size() - 1) != 0) host = {'h', 'o', 's', 't'};
  const struct passwd* user = getpwuid(geteuid());
  const std::string name = user != nullptr ? user->pw_name : absl::StrCat(geteuid());
  // With the characters that a worker's name may have.
  const std::string worker = absl::StrCat("cli-", name, "-", host.data());
  return WorkerName([&](const char* variable) -> const char* {
    return absl::string_view(variable) == "TALWEG_WORKER" ? worker.c_str() : nullptr;
  });
}

std::string WorkerFlagHelp(absl::string_view subject) {
  return absl::StrCat(subject, "; else $TALWEG_WORKER, else cli-USER-HOST");
}

absl::Status WithWorker(const absl::Status& status, const std::string& worker) {
  if (ReasonOf(status) != "INCARNATION_FENCED") return status;
  absl::Status told(status.code(),
                    absl::StrCat(status.message(), "; another process joined as \"", worker,
                                 "\": give each a name of its own with --worker"));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { told.SetPayload(url, payload); });
  return told;
}

void Tell(absl::string_view note) {
  if (!note.empty()) std::cerr << "talweg: " << note << std::endl;
}

absl::Status PrintJson(const google::protobuf::Message& message, std::ostream& out) {
  const absl::StatusOr<std::string> json = JsonOf(message, /*lines=*/true);
  if (json.ok()) out << *json;
  return json.status();
}

absl::Status PrintJsonLine(const google::protobuf::Message& message, std::ostream& out) {
  const absl::StatusOr<std::string> json = JsonOf(message, /*lines=*/false);
  if (json.ok()) out << *json << "\n";
  return json.status();
}

}  // namespace talweg
