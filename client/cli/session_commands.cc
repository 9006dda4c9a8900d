// SPDX-License-Identifier: Apache-2.0
//
// talweg session create | get | list | update | delete
#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/config_text.h"
#include "client/cli/context.h"
#include "client/cli/describe.h"
#include "client/cli/tensor_file.h"
#include "client/cli/transfer.h"
#include "client/cli/typed_config.h"
#include "google/protobuf/util/json_util.h"

namespace talweg {
namespace {

// A session of at most this many elements is described with its digest unasked: the server reads a
// few vectors of 4 MiB for it, in some milliseconds.
constexpr uint64_t kDigestedElements = uint64_t{1} << 20;

// Flags of the configuration that create and update share.
std::vector<Flag> ConfigFlags() {
  return {{"set", "FIELD=VALUE",
           "a field of the optimizer, such as beta1=0.8 or amsgrad; may be repeated",
           /*repeatable=*/true},
          {"learning_rate", "RATE", "that warm-up leads to and decay starts from"},
          {"warmup_steps", "STEPS", "over which the rate rises linearly, before decay starts"},
          {"schedule", "DECAY",
           absl::StrCat("how the rate falls, such as cosine:total_steps=1000; one of ",
                        CaseNames(*v1::Schedule::descriptor(), "decay"))},
          {"aggregation", "FIELD=VALUE,...",
           "how a fleet makes versions, such as mode=SYNCHRONOUS,close=COUNT,close_count=3; see "
           "above",
           /*repeatable=*/true},
          {"search", "FIELD=VALUE,...",
           "how the session searches without gradients, such as "
           "method=EVOLUTION_STRATEGY,sigma=0.02; see above",
           /*repeatable=*/true},
          {"max_staleness", "VERSIONS", "largest age of a contribution that still counts"},
          {"lease_seconds", "SECONDS", "how long a silent worker is called live"},
          {"accumulation_steps", "NUMBER", "contributions whose mean makes a step (1)"},
          {"clip_norm", "NORM", "largest norm of a gradient; 0: any"},
          {"clip_value", "VALUE", "largest magnitude of an element of a gradient; 0: any"},
          {"weight_decay", "DECAY", "decoupled: parameters lose rate times this of themselves"},
          {"coupled_decay", "DECAY", "coupled: gradients gain this much of the parameters"},
          {"average_decay", "SHARE", "of a running average of the parameters, kept at each step"},
          {"digest_every", "STEPS", "versions between two digests in the series of steps; 0: none"},
          {"groups", "GROUPS",
           "TENSORS=SETTINGS each, such as \"bias*=decay_factor:0 embed=frozen\"; settings: " +
               GroupSettings()}};
}

// UsageError if one of the paths that the command line sets is there twice.
absl::Status CheckOnce(std::vector<std::string> paths) {
  std::sort(paths.begin(), paths.end());
  const auto twice = std::adjacent_find(paths.begin(), paths.end());
  if (twice == paths.end()) return absl::OkStatus();
  return UsageError(absl::StrCat(*twice, " is given twice"));
}

// Writes the flags of the configuration into `config`, and the paths they set behind those that
// `paths` holds. UsageError if a path is then there twice.
absl::Status ApplyConfigFlags(const Arguments& arguments, v1::SessionConfig& config,
                              std::vector<std::string>& paths) {
  const std::string method = CaseName(config.optimizer(), "method");
  if (arguments.Has("set") && method.empty()) return UsageError("--set needs an --optimizer");
  for (const std::string& field : arguments.Texts("set")) {
    const absl::Status set =
        SetField(field, *MutableCase(method, "method", *config.mutable_optimizer()));
    if (!set.ok()) return set;
    paths.push_back(absl::StrCat("optimizer.", method, ".", field.substr(0, field.find('='))));
  }
  // Flags that are fields of a message of the configuration.
  struct FieldFlag {
    const char* flag;
    const char* message;
    const char* field;
  };
  constexpr FieldFlag kFields[] = {
      {"learning_rate", "schedule", "learning_rate"},
      {"warmup_steps", "schedule", "warmup_steps"},
      {"max_staleness", "aggregation", "max_staleness"},
      {"lease_seconds", "aggregation", "lease_seconds"},
      {"accumulation_steps", "aggregation", "gradient_accumulation_steps"},
      {"clip_norm", "clipping", "max_norm"},
      {"clip_value", "clipping", "max_value"},
      {"weight_decay", "weight_decay", "decoupled"},
      {"coupled_decay", "weight_decay", "coupled"},
      {"average_decay", "average", "decay"},
      {"digest_every", "digests", "every_steps"}};
  for (const FieldFlag& row : kFields) {
    if (!arguments.Has(row.flag)) continue;
    google::protobuf::Message& message = *config.GetReflection()->MutableMessage(
        &config, config.GetDescriptor()->FindFieldByName(row.message));
    const absl::Status set =
        SetField(absl::StrCat(row.field, "=", arguments.Text(row.flag)), message);
    if (!set.ok()) return set;
    paths.push_back(absl::StrCat(row.message, ".", row.field));
  }
  for (const char* const message_name : {"aggregation", "search"}) {
    for (const std::string& fields : arguments.Texts(message_name)) {
      google::protobuf::Message& message = *config.GetReflection()->MutableMessage(
          &config, config.GetDescriptor()->FindFieldByName(message_name));
      const auto set = SetFields(fields, message);
      if (!set.ok()) return set.status();
      for (const std::string& field : *set) {
        paths.push_back(absl::StrCat(message_name, ".", field));
      }
    }
  }
  if (arguments.Has("groups")) {
    config.clear_groups();
    const absl::Status parsed = ParseGroups(arguments.Text("groups"), config);
    if (!parsed.ok()) return parsed;
    paths.emplace_back("groups");
  }
  if (arguments.Has("schedule")) {
    const auto decay = SetCase(arguments.Text("schedule"), "decay", *config.mutable_schedule());
    if (!decay.ok()) return decay.status();
    paths.push_back(absl::StrCat("schedule.", decay->name));
  }
  return CheckOnce(paths);
}

absl::Status ReadConfigFile(const std::string& path, v1::CreateSessionRequest& request) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  const std::string json{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto status = google::protobuf::util::JsonStringToMessage(json, &request);
  if (!status.ok()) {
    // Behind the first line comes an excerpt with a caret under it.
    const std::string text(status.message());
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no CreateSessionRequest: ", text.substr(0, text.find('\n'))));
  }
  return absl::OkStatus();
}

// What a session is made of: the request and, if they come from a file, the initial values.
struct CreateInput {
  v1::CreateSessionRequest request;
  std::optional<std::vector<float>> initial;
};

absl::Status ApplyInitialValues(const Arguments& arguments, const v1::Layout& layout,
                                v1::InitialValues& values,
                                std::optional<std::vector<float>>& initial) {
  if (arguments.Has("initial")) {
    // Values of a file leave nothing to be made.
    for (const char* made : {"init", "seed"}) {
      if (arguments.Has(made)) {
        return UsageError(absl::StrCat("--initial and --", made, " exclude each other"));
      }
    }
    if (layout.tensors().empty()) return UsageError("--initial needs a --layout");
    absl::StatusOr<TensorFile> file = TensorFile::Open(arguments.Text("initial"));
    if (!file.ok()) return file.status();
    absl::StatusOr<std::vector<float>> read = file->Read(layout);
    if (!read.ok()) return read.status();
    Tell(file->Note());
    initial = *std::move(read);
    return absl::OkStatus();
  }
  if (arguments.Has("init")) {
    values.mutable_seeded()->clear_rules();
    const absl::Status parsed = ParseInit(arguments.Text("init"), *values.mutable_seeded());
    if (!parsed.ok()) return parsed;
  }
  const absl::StatusOr<std::optional<uint64_t>> seed = arguments.Whole("seed");
  if (!seed.ok()) return seed.status();
  if (seed->has_value()) {
    if (values.has_uploaded()) {
      return UsageError("--seed is for values that are made, and --config has values");
    }
    values.mutable_seeded()->set_seed(**seed);
  }
  return absl::OkStatus();
}

absl::StatusOr<CreateInput> CreateInputOf(const Arguments& arguments) {
  CreateInput input;
  v1::CreateSessionRequest& request = input.request;
  if (arguments.Has("config")) {
    const absl::Status read = ReadConfigFile(arguments.Text("config"), request);
    if (!read.ok()) return read;
  }
  request.set_session_id(arguments.positional(0));
  request.set_validate_only(arguments.Has("dry_run") || request.validate_only());
  if (arguments.Has("request_id")) request.set_request_id(arguments.Text("request_id"));
  v1::SessionConfig& config = *request.mutable_config();
  if (arguments.Has("layout")) {
    absl::StatusOr<v1::Layout> layout = ParseLayout(arguments.Text("layout"));
    if (!layout.ok()) return layout.status();
    *config.mutable_layout() = *std::move(layout);
  }
  std::vector<std::string> paths;
  if (arguments.Has("optimizer")) {
    const auto method = SetCase(arguments.Text("optimizer"), "method", *config.mutable_optimizer());
    if (!method.ok()) return method.status();
    for (const std::string& field : method->fields) {
      paths.push_back(absl::StrCat("optimizer.", method->name, ".", field));
    }
  }
  absl::Status status = ApplyConfigFlags(arguments, config, paths);
  if (!status.ok()) return status;
  status = ApplyInitialValues(arguments, config.layout(), *request.mutable_initial_values(),
                              input.initial);
  if (!status.ok()) return status;
  return input;
}

absl::Status PrintSession(const Arguments& arguments, const absl::StatusOr<v1::Session>& session,
                          std::ostream& out) {
  if (!session.ok()) return session.status();
  if (arguments.Has("json")) return PrintJson(*session, out);
  out << SessionTable(*session);
  return absl::OkStatus();
}

absl::Status RunCreate(const Arguments& arguments, std::ostream& out) {
  const absl::StatusOr<CreateInput> input = CreateInputOf(arguments);
  if (!input.ok()) return input.status();
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const absl::StatusOr<v1::Session> created =
      input->initial.has_value()
          ? client->CreateSession(input->request, *input->initial,
                                  {.progress = TransferBar(stderr, "upload")})
          : client->CreateSession(input->request);
  const absl::Status printed = PrintSession(arguments, created, out);
  if (!printed.ok() || arguments.Has("json")) return printed;
  out << OneWorkerNote(created->config());
  if (input->request.validate_only()) out << "a dry run: no session was made\n";
  return printed;
}

absl::Status RunGet(const Arguments& arguments, std::ostream& out) {
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const std::string& session_id = arguments.positional(0);
  GetSessionOptions options = {.checksum = arguments.Has("checksum"),
                               .digest = arguments.Has("digest")};
  absl::StatusOr<v1::Session> session = client->GetSession(session_id, options);
  if (session.ok() && !options.digest && session->num_elements() <= kDigestedElements) {
    options.digest = true;
    session = client->GetSession(session_id, options);
  }
  const absl::Status printed = PrintSession(arguments, session, out);
  if (printed.ok() && !options.digest && !arguments.Has("json")) {
    out << "no digest of the state, because the session is large: --digest computes it\n";
  }
  return printed;
}

absl::Status RunList(const Arguments& arguments, std::ostream& out) {
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  absl::StatusOr<std::vector<v1::SessionSummary>> sessions = client->ListSessions();
  if (!sessions.ok()) return sessions.status();
  if (!arguments.Has("json")) {
    out << SessionsTable(*sessions);
    return absl::OkStatus();
  }
  v1::ListSessionsResponse all;
  for (v1::SessionSummary& session : *sessions) *all.add_sessions() = std::move(session);
  return PrintJson(all, out);
}

absl::Status RunUpdate(const Arguments& arguments, std::ostream& out) {
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  // The session says which method `--set` is about.
  const absl::StatusOr<v1::Session> session = client->GetSession(arguments.positional(0));
  if (!session.ok()) return session.status();
  v1::UpdateSessionRequest request;
  request.set_session_id(session->session_id());
  request.set_history(session->history());
  // An attempt that is given up and looked at late must not undo what somebody set after it.
  request.set_expected_config_version(session->config_version());
  const std::string method = CaseName(session->config().optimizer(), "method");
  MutableCase(method, "method", *request.mutable_config()->mutable_optimizer());
  std::vector<std::string> paths = arguments.Texts("reset");
  const absl::Status status = ApplyConfigFlags(arguments, *request.mutable_config(), paths);
  if (!status.ok()) return status;
  if (paths.empty()) return UsageError("nothing to change");
  request.mutable_update_mask()->mutable_paths()->Assign(paths.begin(), paths.end());
  return PrintSession(arguments, client->UpdateSession(request), out);
}

absl::Status RunDelete(const Arguments& arguments, std::ostream& out) {
  const absl::StatusOr<Client> client = ConnectAsAsked(arguments);
  if (!client.ok()) return client.status();
  const absl::Status status = client->DeleteSession(arguments.positional(0));
  if (!status.ok()) return status;
  if (arguments.Has("json")) return PrintJson(v1::DeleteSessionResponse(), out);
  out << "deleted " << arguments.positional(0) << "\n";
  return absl::OkStatus();
}

// Lines of at most 90 characters, cut at commas.
std::string FieldsHelp(absl::string_view flag, const google::protobuf::Descriptor& type) {
  constexpr size_t kLineCharacters = 90;
  std::string text = absl::StrCat("\nFields of --", flag, ":\n");
  std::string line = " ";
  const std::string names = FieldNames(type);
  for (const absl::string_view name : absl::StrSplit(names, ", ")) {
    if (line.size() + name.size() > kLineCharacters) {
      absl::StrAppend(&text, line, "\n");
      line = " ";
    }
    absl::StrAppend(&line, " ", name, ",");
  }
  line.back() = '\n';
  return text + line;
}

std::string PoliciesHelp() {
  return FieldsHelp("aggregation", *v1::AggregationPolicy::descriptor()) +
         FieldsHelp("search", *v1::SearchPolicy::descriptor());
}

std::vector<Flag> CreateFlags() {
  std::vector<Flag> flags = {
      {"layout", "TENSORS",
       "NAME:DIMENSIONS of each tensor, such as \"w:10,784 b:10\"; a bare NAME is a scalar"},
      {"optimizer", "METHOD", CaseNames(*v1::Optimizer::descriptor(), "method")}};
  for (Flag& flag : ConfigFlags()) flags.push_back(std::move(flag));
  flags.push_back(
      {"init", "RULES", "TENSORS=DISTRIBUTION each, such as \"w*=kaiming b*=constant:0\""});
  flags.push_back({"seed", "NUMBER", "of --init (0)"});
  flags.push_back(
      {"initial", "FILE",
       "initial values instead of --init, of any size: .npy in one dimension, or .npz by tensor"});
  flags.push_back({"config", "FILE.json", "a CreateSessionRequest as JSON; the flags go on top"});
  flags.push_back({"dry_run", "", "check everything and tell the memory, but make nothing"});
  flags.push_back({"request_id", "TEXT", "makes the same command again return the same session"});
  return flags;
}

std::vector<Flag> UpdateFlags() {
  std::vector<Flag> flags = ConfigFlags();
  flags.push_back({"reset", "PATH",
                   "back to its default, such as optimizer.adam.beta1; may be repeated",
                   /*repeatable=*/true});
  return flags;
}

}  // namespace

std::vector<Command> SessionCommands() {
  return {
      {"session create", "ID", "Make a session",
       "  talweg session create mlp --layout \"w:10,784 b:10\" --optimizer adam --set beta1=0.8 "
       "\\\n"
       "      --learning_rate 0.001 --schedule cosine:total_steps=1000 \\\n"
       "      --init \"w=kaiming b=constant:0\" --seed 1 \\\n"
       "      --clip_norm 1 --weight_decay 0.01 --groups \"b=decay_factor:0\" \\\n"
       "      --aggregation mode=SYNCHRONOUS,close=COUNT,close_count=3\n"
       "Behind a colon, bare values fill the fields in their order: --init \"w=normal:0,0.02\",\n"
       "--optimizer adam:0.8,0.9. No field may be given twice.\n"
       "A session that searches (proto/NOISE.md) still names the optimizer that steps:\n"
       "  talweg session create es --layout \"w:1000\" --optimizer adam --learning_rate 0.01 \\\n"
       "      --init \"w=normal\" \\\n"
       "      --search "
       "method=EVOLUTION_STRATEGY,num_pairs=50,sigma=0.05,shaping=CENTERED_RANKS\n" +
           PoliciesHelp(),
       CreateFlags(), RunCreate},
      {"session get",
       "ID",
       "Describe a session",
       "The digest of the state is what two runs that were given the same agree in; sessions of\n"
       "more than a million elements are told without it.\n",
       {{"checksum", "", "also compute the checksum of its whole state, history and workers"},
        {"digest", "", "compute the digest of the state, however large it is"}},
       RunGet},
      {"session list", "", "List all sessions", "", {}, RunList},
      {"session update", "ID", "Change hyper-parameters from the next version on",
       "  talweg session update mlp --learning_rate 0.0001 --set beta1=0.95\n"
       "A changed closing rule (close, close_count, ..., progress_seconds) holds for the open\n"
       "round, too. A changed search holds from the next generation on.\n" +
           PoliciesHelp(),
       UpdateFlags(), RunUpdate},
      {"session delete", "ID", "Forget a session", "", {}, RunDelete},
  };
}

}  // namespace talweg
