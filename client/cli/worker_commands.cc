// SPDX-License-Identifier: Apache-2.0
//
// talweg session join | heartbeat | leave: a worker's place in a session, one call at a time.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

// The roles that a worker may have, as typed: "gradient, statistics, search".
std::string RoleNames() {
  std::vector<std::string> names;
  for (int number = v1::Role_MIN; number <= v1::Role_MAX; ++number) {
    if (!v1::Role_IsValid(number) || number == v1::ROLE_UNSPECIFIED) continue;
    const std::string name = v1::Role_Name(static_cast<v1::Role>(number));
    names.push_back(absl::AsciiStrToLower(name.substr(std::string("ROLE_").size())));
  }
  return absl::StrJoin(names, ", ");
}

absl::StatusOr<v1::JoinRequest> JoinRequestOf(const Arguments& arguments) {
  v1::JoinRequest request;
  request.set_session_id(arguments.positional(0));
  request.set_worker(WorkerAsAsked(arguments));
  for (const std::string& name : arguments.Texts("role")) {
    v1::Role role = v1::ROLE_UNSPECIFIED;
    if (!v1::Role_Parse(absl::StrCat("ROLE_", absl::AsciiStrToUpper(name)), &role) ||
        role == v1::ROLE_UNSPECIFIED) {
      return UsageError(absl::StrCat("--role takes ", RoleNames(), "; not \"", name, "\""));
    }
    request.add_roles(role);
  }
  return request;
}

// What a server tells of a worker's place, as rows.
struct Place {
  std::string worker;
  uint64_t incarnation = 0;
  uint64_t history = 0;
  std::optional<uint64_t> version;
  std::optional<uint64_t> lease_seconds;
};

std::string PlaceTable(const Place& place) {
  Table table({{""}, {""}});
  table.AddRow({"worker", place.worker});
  table.AddRow({"incarnation", absl::StrCat(place.incarnation)});
  table.AddRow({"history", absl::StrCat(place.history)});
  if (place.version.has_value()) table.AddRow({"version", absl::StrCat(*place.version)});
  if (place.lease_seconds.has_value()) {
    table.AddRow({"lease", absl::StrCat(*place.lease_seconds, " s")});
  }
  return table.Text();
}

absl::Status RunJoin(const Arguments& arguments, std::ostream& out) {
  const absl::StatusOr<v1::JoinRequest> request = JoinRequestOf(arguments);
  if (!request.ok()) return request.status();
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const absl::StatusOr<v1::JoinResponse> joined = client->CallJoin(*request);
  if (!joined.ok()) return joined.status();
  if (arguments.Has("json")) return PrintJson(*joined, out);
  out << PlaceTable({request->worker(), joined->incarnation(), joined->history(), joined->version(),
                     joined->lease_seconds()});
  return absl::OkStatus();
}

// Fills in session, worker, incarnation and history: of the session as it stands there now, unless
// --history says another.
template <class Request>
absl::StatusOr<Request> PlaceRequest(const Arguments& arguments, const Client& client) {
  Request request;
  request.set_session_id(arguments.positional(0));
  request.set_worker(WorkerAsAsked(arguments));
  request.set_incarnation(arguments.Whole("incarnation").value().value_or(0));
  const std::optional<uint64_t> history = arguments.Whole("history").value();
  if (history.has_value()) {
    request.set_history(*history);
    return request;
  }
  const absl::StatusOr<v1::Session> session = client.GetSession(request.session_id());
  if (!session.ok()) return session.status();
  request.set_history(session->history());
  return request;
}

// Checks the numbers before any server is called.
absl::Status CheckPlace(const Arguments& arguments) {
  if (!arguments.Has("incarnation")) {
    return UsageError("--incarnation is needed: the number that `talweg session join` printed");
  }
  absl::Status status = arguments.Whole("incarnation").status();
  status.Update(arguments.Whole("history").status());
  return status;
}

absl::Status RunHeartbeat(const Arguments& arguments, std::ostream& out) {
  const absl::Status checked = CheckPlace(arguments);
  if (!checked.ok()) return checked;
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const auto request = PlaceRequest<v1::HeartbeatRequest>(arguments, *client);
  if (!request.ok()) return request.status();
  const absl::StatusOr<v1::HeartbeatResponse> beat = client->CallHeartbeat(*request);
  if (!beat.ok()) return WithWorker(beat.status(), request->worker());
  if (arguments.Has("json")) return PrintJson(*beat, out);
  out << PlaceTable({request->worker(), request->incarnation(), beat->history(), beat->version(),
                     beat->lease_seconds()});
  return absl::OkStatus();
}

absl::Status RunLeave(const Arguments& arguments, std::ostream& out) {
  const absl::Status checked = CheckPlace(arguments);
  if (!checked.ok()) return checked;
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const auto request = PlaceRequest<v1::LeaveRequest>(arguments, *client);
  if (!request.ok()) return request.status();
  const absl::Status left = client->CallLeave(*request);
  if (!left.ok()) return WithWorker(left, request->worker());
  if (arguments.Has("json")) return PrintJson(v1::LeaveResponse(), out);
  out << PlaceTable({request->worker(), request->incarnation(), request->history(), {}, {}})
      << request->worker() << " has left " << request->session_id() << "\n";
  return absl::OkStatus();
}

std::vector<Flag> PlaceFlags() {
  return {{"worker", "NAME", WorkerFlagHelp("the worker")},
          {"incarnation", "NUMBER", "as `talweg session join` printed it; needed"},
          {"history", "NUMBER", "as join printed it; else the one that the session has now"}};
}

}  // namespace

std::vector<Command> WorkerCommands() {
  return {
      {"session join",
       "ID",
       "Take a worker's place in a session",
       "Prints the incarnation, which heartbeat and leave ask for. A process that works under the\n"
       "same name is fenced. Nothing keeps the lease afterwards except `talweg session "
       "heartbeat`;\n"
       "once it has run out, no round waits for the worker any more. `talweg step` under the same\n"
       "name joins anew and so gives this place up.\n",
       {{"worker", "NAME", WorkerFlagHelp("who joins")},
        {"role", "ROLE",
         absl::StrCat("what the worker does, one of ", RoleNames(), " (gradient); may be repeated"),
         /*repeatable=*/true}},
       RunJoin},
      {"session heartbeat", "ID", "Renew a worker's lease", "", PlaceFlags(), RunHeartbeat},
      {"session leave", "ID", "Give up a worker's place in a session", "", PlaceFlags(), RunLeave},
  };
}

}  // namespace talweg
