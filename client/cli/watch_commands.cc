// SPDX-License-Identifier: Apache-2.0
//
// talweg session watch | export | records
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/context.h"
#include "client/cli/describe.h"
#include "client/cli/open_round_watch.h"
#include "client/cli/reader.h"
#include "client/cli/record_columns.h"
#include "client/cli/run_view.h"
#include "client/cli/stop_signals.h"
#include "client/cli/tensorboard.h"
#include "client/terminal/progress.h"
#include "client/terminal/screen.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr absl::Duration kRedrawEvery = absl::Milliseconds(100);

absl::StatusOr<WatchOptions> WatchOptionsOf(const Arguments& arguments) {
  WatchOptions options;
  const auto after = arguments.Whole("after_version");
  if (!after.ok()) return after.status();
  options.after_version = after->value_or(0);
  options.follow = !arguments.Has("once");
  return options;
}

// What makes the session's next version; nothing if nothing waits, or if the server does not say.
std::optional<OpenWork> OpenWorkIn(const Client& client, const std::string& session_id) {
  const absl::StatusOr<v1::Session> session = client.GetSession(session_id);
  return session.ok() ? OpenWorkOf(*session) : std::nullopt;
}

// One line per record. While nothing moves, or at the end if the watch follows nothing, one line
// for what the open round waits for, whenever that has changed.
class LineWatch {
 public:
  LineWatch(const Client& client, const std::string& session_id, bool json, std::ostream& out)
      : client_(client), session_id_(session_id), json_(json), out_(out) {}

  absl::Status Run(WatchOptions options) {
    options.idle = [this] {
      // What cannot be written is an error of the next record.
      if (round_watch_.ShouldAsk(absl::Now())) TellRound().IgnoreError();
    };
    const absl::Status status = client_.WatchSession(
        session_id_, options,
        [this](const v1::WatchSessionResponse& message) { return Tell(message); });
    if (!status.ok() || options.follow) return status;
    return TellRound();
  }

 private:
  absl::Status Tell(const v1::WatchSessionResponse& message) {
    for (const v1::StepRecord& record : message.records()) {
      round_watch_.StepTaken(absl::Now());
      const absl::Status printed = Print(record);
      if (!printed.ok()) return printed;
    }
    return Flush();
  }

  absl::Status TellRound() {
    const std::optional<OpenWork> open = OpenWorkIn(client_, session_id_);
    if (!open.has_value() || !round_watch_.IsNews(*open)) return absl::OkStatus();
    absl::Status printed;
    if (json_) {
      printed = std::visit([this](const auto& work) { return PrintJsonLine(work, out_); }, *open);
    } else {
      out_ << OpenWorkLine(*open) << "\n";
    }
    return printed.ok() ? Flush() : printed;
  }

  absl::Status Print(const v1::StepRecord& record) {
    if (json_) return PrintJsonLine(record, out_);
    out_ << RecordLine(record) << "\n";
    return absl::OkStatus();
  }

  absl::Status Flush() {
    out_.flush();
    return out_ ? absl::OkStatus() : absl::DataLossError("standard output takes no more");
  }

  const Client& client_;
  const std::string& session_id_;
  const bool json_;
  std::ostream& out_;
  OpenRoundWatch round_watch_{absl::Now()};
};

// A page for a person: once, or redrawn until the end.
absl::Status WatchPage(const Client& client, const std::string& session_id, WatchOptions options) {
  RunView view(session_id);
  OpenRoundWatch round_watch(absl::Now());
  std::optional<Screen> screen;
  absl::Time next_draw = absl::InfinitePast();
  const auto draw = [&] {
    const absl::Time now = absl::Now();
    if (!screen.has_value() || now < next_draw) return;
    next_draw = now + kRedrawEvery;
    const TerminalSize size = SizeOfTerminal(stdout);
    screen->Draw(view.Page(size, now), size);
  };
  options.idle = [&] {
    if (round_watch.ShouldAsk(absl::Now())) view.ShowRound(OpenWorkIn(client, session_id));
    draw();
  };
  const absl::Status status =
      client.WatchSession(session_id, options, [&](const v1::WatchSessionResponse& message) {
        // Not before the server answered: an error needs no other screen.
        if (options.follow && !screen.has_value()) screen.emplace(stdout);
        if (message.records_size() > 0) round_watch.StepTaken(absl::Now());
        view.Take(message, absl::Now());
        draw();
        return absl::OkStatus();
      });
  if (screen.has_value()) {
    next_draw = absl::InfinitePast();
    draw();
  } else if (status.ok()) {
    view.ShowRound(OpenWorkIn(client, session_id));
    for (const std::string& line : view.Page(SizeOfTerminal(stdout), absl::Now())) {
      std::cout << line << "\n";
    }
  }
  return status;
}

absl::Status RunWatch(const Arguments& arguments, std::ostream& out) {
  const absl::StatusOr<WatchOptions> options = WatchOptionsOf(arguments);
  if (!options.ok()) return options.status();
  // A reader that has gone has seen enough, also while nothing moves.
  const absl::StatusOr<Client> client =
      ConnectAsAsked(arguments, [] { return Stopped() || ReaderIsGone(); });
  if (!client.ok()) return client.status();
  const std::string& session_id = arguments.positional(0);
  const bool page =
      !arguments.Has("json") && !arguments.Has("lines") && &out == &std::cout && IsTerminal(stdout);
  StopOnSignals(SecondSignal::kIgnored);
  if (page) return WatchPage(*client, session_id, *options);
  absl::Status status = LineWatch(*client, session_id, arguments.Has("json"), out).Run(*options);
  return !Stopped() && ReaderIsGone() ? absl::OkStatus() : status;
}

// `path` "-" is standard output.
absl::Status WriteFile(const std::string& path, const std::string& content, std::ostream& out) {
  if (path == "-") {
    out << content;
    return absl::OkStatus();
  }
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  return file ? absl::OkStatus() : absl::UnknownError(absl::StrCat("cannot write ", path));
}

absl::Status RunExport(const Arguments& arguments, std::ostream& out) {
  const std::string csv = arguments.Text("csv");
  const std::string folder = arguments.Text("tensorboard");
  if (csv.empty() && folder.empty() && !arguments.Has("json")) {
    return UsageError("--csv, --tensorboard or --json is needed");
  }
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const std::string& session_id = arguments.positional(0);
  v1::WatchSessionResponse all;
  const absl::Status watched =
      client->WatchSession(session_id, {}, [&](const v1::WatchSessionResponse& message) {
        all.MergeFrom(message);
        return absl::OkStatus();
      });
  if (!watched.ok()) return watched;
  const std::vector<v1::StepRecord> records(all.records().begin(), all.records().end());
  const std::string number = absl::StrCat(GroupDigits(records.size()), " records");
  const bool quiet = arguments.Has("json") || csv == "-";
  if (!csv.empty()) {
    const absl::Status written = WriteFile(csv, RecordsCsv(records), out);
    if (!written.ok()) return written;
    if (!quiet) out << number << " in " << csv << "\n";
  }
  if (!folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    const std::string path =
        (std::filesystem::path(folder) / TensorBoardFileName(session_id)).string();
    const absl::Status written = WriteFile(path, TensorBoardEvents(records), out);
    if (!written.ok()) return written;
    if (!quiet) out << number << " in " << path << "\n";
  }
  return arguments.Has("json") ? PrintJson(all, out) : absl::OkStatus();
}

absl::Status RunRecords(const Arguments& arguments, std::ostream& out) {
  const auto after = arguments.Whole("after_version");
  if (!after.ok()) return after.status();
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const std::string& session_id = arguments.positional(0);
  // The records are of the history that is told with them.
  const absl::StatusOr<v1::Session> session = client->GetSession(session_id);
  if (!session.ok()) return session.status();
  const absl::StatusOr<std::vector<v1::VersionRecord>> records =
      client->VersionRecords(session_id, {session->history(), after->value_or(0)});
  if (!records.ok()) return records.status();
  if (!arguments.Has("json")) {
    out << VersionRecordsTable(*records);
    return absl::OkStatus();
  }
  v1::ListVersionRecordsResponse all;
  all.set_history(session->history());
  all.mutable_records()->Assign(records->begin(), records->end());
  return PrintJson(all, out);
}

}  // namespace

std::vector<Command> WatchCommands() {
  return {
      {"session watch",
       "ID",
       "Show the steps of a session as they are taken",
       "On a terminal: curves of loss, norms, rate and times, redrawn in place. Ctrl-C ends it.\n"
       "Elsewhere one line per step; with --json each is a StepRecord of the wire.\n"
       "If nothing moves for a second, also whom the open round waits for: one line whenever that\n"
       "changes, with --json an OpenRound or OpenGeneration of the wire.\n",
       {{"once", "", "show what is there, and end"},
        {"after_version", "VERSION", "only steps that made a later version (0)"},
        {"lines", "", "one line per step on a terminal, too"}},
       RunWatch},
      {"session export",
       "ID",
       "Write the steps of a session to files",
       "The server keeps up to 4,096 records of a run, evenly spread over all of it.\n",
       {{"csv", "FILE", "a header and a line a record; - is standard output"},
        {"tensorboard", "FOLDER",
         "an event file for TensorBoard, made anew each time: tensorboard --logdir FOLDER"}},
       RunExport},
      {"session records",
       "ID",
       "Tell who made which version",
       "Of the newest versions, as many as the server keeps: whose contributions, their weights\n"
       "and staleness, who was late. With --json also each contribution by itself.\n",
       {{"after_version", "VERSION", "only later versions (0)"}},
       RunRecords},
  };
}

}  // namespace talweg
