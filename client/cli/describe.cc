// SPDX-License-Identifier: Apache-2.0
#include "client/cli/describe.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/cli/config_text.h"
#include "client/terminal/table.h"
#include "core/base/bytes_text.h"
#include "google/protobuf/descriptor.h"

namespace talweg {
namespace {

constexpr int kShownTensors = 8;
constexpr int kShownGroups = 8;
constexpr size_t kShownWorkers = 4;

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", TimeOf(time), absl::UTCTimeZone());
}

// "a b c d ...": at most kShownWorkers of `names`, which may lack some of the `number`.
std::string NamesText(size_t number, std::vector<std::string> names) {
  names.resize(std::min(names.size(), kShownWorkers));
  if (names.size() < number) names.emplace_back("...");
  return absl::StrJoin(names, " ");
}

std::string NamesText(const v1::WorkerList& workers) {
  return NamesText(workers.count(), {workers.names().begin(), workers.names().end()});
}

// "6: a b c d ...".
std::string WorkersText(size_t number, std::vector<std::string> names) {
  if (number == 0) return "";
  return absl::StrCat(number, ": ", NamesText(number, std::move(names)));
}

// What closes a round: "COUNT, 2 of 4 contributions, waits for more".
std::string ClosingText(const v1::OpenRound& round) {
  std::vector<std::string> parts;
  if (round.close() != v1::CLOSE_RULE_UNSPECIFIED) {
    parts.emplace_back(absl::StripPrefix(v1::CloseRule_Name(round.close()), "CLOSE_RULE_"));
  }
  if (round.needed_contributions() > 0) {
    parts.push_back(absl::StrCat(round.num_contributions(), " of ", round.needed_contributions(),
                                 " contributions"));
  }
  if (round.needed_weight() > 0) {
    parts.push_back(absl::StrFormat("weight %g of %g", round.weight(), round.needed_weight()));
  }
  if (round.has_closes_in_seconds()) {
    parts.push_back(absl::StrFormat("in %.1f s at the latest", round.closes_in_seconds()));
  }
  if (round.needed_live_workers() > 0) {
    parts.push_back(absl::StrCat("not before ", round.needed_live_workers(),
                                 " workers are live, now ", round.num_live_workers()));
  }
  const bool lacks = round.num_contributions() < round.needed_contributions() ||
                     round.weight() < round.needed_weight();
  if (lacks && round.too_few() == v1::TOO_FEW_WAIT && round.expected().count() == 0) {
    parts.emplace_back("nobody else is expected: more workers must join, or the policy change");
  }
  return absl::StrJoin(parts, ", ");
}

// "12 of 50 told, 38 leased to 3 workers, 2 workers wait".
std::string PairsText(const v1::OpenGeneration& generation) {
  std::string text = absl::StrCat(GroupDigits(generation.num_told()), " of ",
                                  GroupDigits(generation.num_pairs()), " told");
  if (generation.num_leased() > 0) {
    absl::StrAppend(&text, ", ", GroupDigits(generation.num_leased()), " leased to ",
                    generation.num_leases(), generation.num_leases() == 1 ? " worker" : " workers");
  }
  if (generation.num_dropped() > 0)
    absl::StrAppend(&text, ", ", generation.num_dropped(), " dropped");
  if (generation.needs_evaluation()) absl::StrAppend(&text, ", W itself is to be evaluated");
  if (generation.num_waiting() > 0) {
    absl::StrAppend(&text, ", ", generation.num_waiting(),
                    generation.num_waiting() == 1 ? " worker waits" : " workers wait");
  }
  if (generation.has_closes_in_seconds()) {
    absl::StrAppendFormat(&text, ", closes in %.1f s at the latest",
                          generation.closes_in_seconds());
  }
  return text;
}

// "8,068 generations since version 3, without the losses that a step needs; 64,544 losses were not
// finite".
std::string GivenUpText(const v1::OpenGeneration& generation) {
  const uint32_t count = generation.num_given_up();
  if (count == 0) return "";
  std::string text = absl::StrCat(GroupDigits(count), count == 1 ? " generation" : " generations",
                                  " since version ", generation.version(),
                                  ", without the losses that a step needs");
  if (generation.num_given_up_non_finite() > 0) {
    absl::StrAppend(&text, "; ", GroupDigits(generation.num_given_up_non_finite()),
                    " losses were not finite");
  }
  return text;
}

using Names = google::protobuf::RepeatedPtrField<std::string>;

std::string NamedText(uint64_t count, const Names& names) {
  return WorkersText(count, {names.begin(), names.end()});
}

template <class Message>
std::string LateText(const Message& message) {
  return NamedText(message.num_late(), message.late_workers());
}

template <class Message>
std::string ExpiredText(const Message& message) {
  return NamedText(message.num_expired(), message.expired_workers());
}

template <class Message>
std::string AbstainedText(const Message& message) {
  return NamedText(message.num_abstained(), message.abstained_workers());
}

std::string FaultText(const v1::GradientFault& fault) {
  return absl::StrCat("tensor ", fault.tensor(), ", element ", fault.element(),
                      fault.may_have_overflowed()
                          ? ": infinite in float16, whose largest number is 65504; bfloat16 and "
                            "float32 reach further"
                          : "");
}

// "element 4 of tensor b" for an element of the flat vector.
std::string PlaceText(uint64_t element, const v1::Layout& layout) {
  std::string name;
  for (const v1::Tensor& tensor : layout.tensors()) {
    uint64_t size = 1;
    for (const uint64_t dimension : tensor.shape()) size *= dimension;
    name = tensor.name();
    if (element < size) break;
    element -= size;
  }
  return absl::StrCat("element ", element, " of tensor ", name);
}

constexpr absl::string_view kGoBack = ": go back to older parameters, and take a smaller rate";

// Empty if nothing was refused.
std::string RefusalsText(const v1::RefusalCounts& refusals) {
  std::vector<std::string> parts;
  const auto add = [&](v1::Verdict verdict, uint64_t count) {
    if (count > 0) parts.push_back(absl::StrCat(GroupDigits(count), " ", VerdictText(verdict)));
  };
  add(v1::VERDICT_TOO_STALE, refusals.too_stale());
  add(v1::VERDICT_REJECTED_NON_FINITE, refusals.rejected_non_finite());
  add(v1::VERDICT_ROUND_CLOSED, refusals.round_closed());
  return absl::StrJoin(parts, ", ");
}

// Which configuration a version's closing rule came from, if it is not the version's own.
std::string ClosingRuleText(const v1::VersionRecord& record) {
  const uint64_t version = record.close_config_version();
  if (version == 0 || version == record.config_version()) return "";
  return absl::StrCat("configuration ", version);
}

// A section that is not shown under its own name, or not by SectionText.
struct SectionRow {
  absl::string_view section;
  absl::string_view heading;  // Empty: the section has no row here.
  std::string (*text)(const v1::SessionConfig& config);
};

constexpr SectionRow kSectionRows[] = {
    {"layout", "", nullptr},
    {"aggregation", "policy",
     [](const v1::SessionConfig& config) {
       return config.has_search() ? "" : PolicyText(config.aggregation());
     }},
    {"search", "search",
     [](const v1::SessionConfig& config) { return SearchText(config.search()); }},
    {"groups", "groups",
     [](const v1::SessionConfig& config) { return GroupsText(config, kShownGroups); }},
};

// One row for each section of a resolved configuration that says something, in the order of the
// wire.
void AddSections(const v1::SessionConfig& config, Table& table) {
  std::vector<const google::protobuf::FieldDescriptor*> set;
  config.GetReflection()->ListFields(config, &set);
  for (const google::protobuf::FieldDescriptor* field : set) {
    const auto* row =
        std::find_if(std::begin(kSectionRows), std::end(kSectionRows),
                     [&](const SectionRow& special) { return special.section == field->name(); });
    const bool is_special = row != std::end(kSectionRows);
    if (is_special && row->heading.empty()) continue;
    const std::string text = is_special ? row->text(config) : SectionText(config, *field);
    if (text.empty()) continue;
    table.AddRow(
        {is_special ? std::string(row->heading) : absl::StrReplaceAll(field->name(), {{"_", " "}}),
         text});
  }
}

}  // namespace

std::string SessionTable(const v1::Session& session) {
  const v1::SessionConfig& config = session.config();
  Table table({{""}, {""}});
  table.AddRow({"session", session.session_id()});
  table.AddRow({"version", absl::StrCat(session.version())});
  table.AddRow({"history", absl::StrCat(session.history())});
  AddSections(config, table);
  table.AddRow({"layout", LayoutText(config.layout(), kShownTensors)});
  table.AddRow({"elements", GroupDigits(session.num_elements())});
  table.AddRow({"memory", core::BytesText(session.memory_bytes())});
  table.AddRow({"workers", absl::StrCat(session.num_workers(), " joined, ",
                                        session.num_live_workers(), " live")});
  const std::string refused = RefusalsText(session.refusals());
  if (!refused.empty()) table.AddRow({"refused", refused});
  table.AddRow({"config version", absl::StrCat(session.config_version())});
  table.AddRow({"created", TimeText(session.create_time())});
  if (config.has_search() && config.search().max_generations() > 0 &&
      session.version() >= config.search().max_generations()) {
    table.AddRow({"finished", absl::StrCat("at version ", session.version())});
  }
  if (const std::optional<OpenWork> open = OpenWorkOf(session)) {
    for (const auto& [name, text] : OpenWorkTexts(*open)) table.AddRow({name, text});
  }
  if (session.has_last_step()) {
    table.AddRow({"last step", FieldsText(session.last_step())});
    if (session.last_step().has_search()) {
      table.AddRow({"last generation", FieldsText(session.last_step().search())});
    }
    if (session.last_step().has_curvature()) {
      table.AddRow({"last curvature", FieldsText(session.last_step().curvature())});
    }
  }
  if (session.has_state_checksum()) {
    table.AddRow({"checksum", absl::StrFormat("%08x", session.state_checksum())});
  }
  if (session.has_state_digest()) {
    const v1::StateDigest& digest = session.state_digest();
    table.AddRow({"state digest", absl::StrCat(digest.sha256(), " of version ", digest.version(),
                                               ", ", digest.scheme())});
    for (const v1::VectorDigest& vector : digest.vectors()) {
      table.AddRow({absl::StrCat("  of ", vector.name()),
                    absl::StrCat(vector.sha256(), " of ", GroupDigits(vector.num_elements()), " ",
                                 vector.type())});
    }
  }
  return table.Text();
}

std::vector<std::pair<std::string, std::string>> OpenRoundTexts(const v1::OpenRound& round) {
  std::vector<std::pair<std::string, std::string>> texts;
  const auto list = [&](const char* name, const v1::WorkerList& workers) {
    if (workers.count() == 0) return;
    texts.emplace_back(name, NamedText(workers.count(), workers.names()));
  };
  std::string open = absl::StrCat("makes version ", round.version());
  if (round.has_open_seconds()) absl::StrAppendFormat(&open, ", for %.1f s", round.open_seconds());
  texts.emplace_back("open round", open);
  list("contributed", round.contributed());
  list("waits for", round.expected());
  list("late in it", round.late());
  list("abstained", round.abstained());
  list("will not count", round.will_not_count());
  texts.emplace_back("closes", ClosingText(round));
  return texts;
}

std::string OpenRoundLine(const v1::OpenRound& round) {
  const v1::WorkerList& contributed = round.contributed();
  const v1::WorkerList& expected = round.expected();
  const bool synchronous = round.close() != v1::CLOSE_RULE_UNSPECIFIED;
  std::string line = absl::StrCat("waiting  round ", round.version(), ": ", contributed.count());
  // In other modes the expected workers are not the rest of the round.
  if (synchronous && expected.count() > 0) {
    absl::StrAppend(&line, " of ", contributed.count() + expected.count());
  }
  absl::StrAppend(&line, " contributed");
  if (contributed.count() > 0) absl::StrAppend(&line, " (", NamesText(contributed), ")");
  if (expected.count() > 0) absl::StrAppend(&line, ", expected: ", NamesText(expected));
  if (round.late().count() > 0) absl::StrAppend(&line, ", late: ", NamesText(round.late()));
  if (round.abstained().count() > 0) {
    absl::StrAppend(&line, ", abstained: ", NamesText(round.abstained()));
  }
  if (round.has_open_seconds()) {
    absl::StrAppendFormat(&line, ", since %.0f s", round.open_seconds());
  }
  const std::string closing = ClosingText(round);
  if (closing == "ALL") return line + ", closes when all have contributed";
  return closing.empty() ? line : absl::StrCat(line, ", closes: ", closing);
}

std::optional<OpenWork> OpenWorkOf(const v1::Session& session) {
  if (session.has_open_round()) return session.open_round();
  if (session.has_open_generation()) return session.open_generation();
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> OpenWorkTexts(const OpenWork& open) {
  if (const auto* round = std::get_if<v1::OpenRound>(&open)) return OpenRoundTexts(*round);
  const auto& generation = std::get<v1::OpenGeneration>(open);
  std::string head = absl::StrCat(generation.generation(), ", at version ", generation.version());
  if (generation.has_open_seconds()) {
    absl::StrAppendFormat(&head, ", for %.1f s", generation.open_seconds());
  }
  std::vector<std::pair<std::string, std::string>> texts = {{"open generation", head},
                                                            {"pairs", PairsText(generation)}};
  const std::string given_up = GivenUpText(generation);
  if (!given_up.empty()) texts.emplace_back("given up", given_up);
  return texts;
}

std::string OpenWorkLine(const OpenWork& open) {
  if (const auto* round = std::get_if<v1::OpenRound>(&open)) return OpenRoundLine(*round);
  const auto& generation = std::get<v1::OpenGeneration>(open);
  std::string line =
      absl::StrCat("waiting  generation ", generation.generation(), ": ", PairsText(generation));
  if (generation.has_open_seconds()) {
    absl::StrAppendFormat(&line, ", since %.0f s", generation.open_seconds());
  }
  const std::string given_up = GivenUpText(generation);
  if (!given_up.empty()) absl::StrAppend(&line, "; given up: ", given_up);
  return line;
}

std::string SessionsTable(absl::Span<const v1::SessionSummary> sessions) {
  if (sessions.empty()) return "no sessions\n";
  Table table({{"session"},
               {"optimizer"},
               {"version", Align::kRight},
               {"elements", Align::kRight},
               {"memory", Align::kRight},
               {"live workers", Align::kRight},
               {"created"}});
  for (const v1::SessionSummary& session : sessions) {
    table.AddRow({session.session_id(), session.optimizer(), GroupDigits(session.version()),
                  GroupDigits(session.num_elements()), core::BytesText(session.memory_bytes()),
                  absl::StrCat(session.num_live_workers()), TimeText(session.create_time())});
  }
  return table.Text();
}

std::string StepTable(const StepResult& result) {
  Table table({{""}, {""}});
  table.AddRow(
      {"verdict", absl::StrCat(VerdictText(result.verdict), result.replayed ? ", replayed" : "",
                               result.will_not_count ? ", will not count" : "")});
  const char* version = result.applied() ? "made version" : "judged at version";
  if (result.verdict == v1::VERDICT_ABSTAINED) version = "now at version";
  if (result.verdict == v1::VERDICT_PENDING) version = "waits for version";
  table.AddRow({version, absl::StrCat(result.applied_version)});
  if (result.report.has_value()) {
    table.AddRow({"report", FieldsText(*result.report)});
    const std::string late = LateText(*result.report);
    if (!late.empty()) table.AddRow({"late", late});
    const std::string expired = ExpiredText(*result.report);
    if (!expired.empty()) table.AddRow({"expired", expired});
    const std::string abstained = AbstainedText(*result.report);
    if (!abstained.empty()) table.AddRow({"abstained", abstained});
  }
  if (result.fault.has_value()) table.AddRow({"not finite", FaultText(*result.fault)});
  if (result.missed_rounds > 0) {
    table.AddRow({"missed rounds", absl::StrCat(result.missed_rounds, " in a row")});
  }
  if (!result.advice.empty()) table.AddRow({"advice", result.advice});
  return table.Text();
}

std::string VersionRecordsTable(absl::Span<const v1::VersionRecord> records) {
  if (records.empty()) return "no records\n";
  // What is rare has no column without need.
  const bool changed = std::any_of(records.begin(), records.end(), [](const auto& record) {
    return record.close_config_version() != 0;
  });
  const bool any_expired = std::any_of(records.begin(), records.end(),
                                       [](const auto& record) { return record.num_expired() > 0; });
  const bool any_abstained = std::any_of(records.begin(), records.end(), [](const auto& record) {
    return record.num_abstained() > 0;
  });
  std::vector<Column> columns = {{"version", Align::kRight},
                                 {"opened"},
                                 {"seconds", Align::kRight},
                                 {"weight", Align::kRight},
                                 {"staleness", Align::kRight},
                                 {"contributors"},
                                 {"late"}};
  if (any_expired) columns.push_back({"expired"});
  if (any_abstained) columns.push_back({"abstained"});
  if (changed) columns.push_back({"closing rule of"});
  Table table(columns);
  for (const v1::VersionRecord& record : records) {
    uint64_t staleness = 0;
    std::vector<std::string> members;
    for (const v1::VersionMember& member : record.members()) {
      members.push_back(member.worker());
      staleness = std::max(staleness, record.version() - 1 - member.base_version());
    }
    const absl::Duration open = TimeOf(record.close_time()) - TimeOf(record.open_time());
    std::vector<std::string> cells = {GroupDigits(record.version()),
                                      TimeText(record.open_time()),
                                      absl::StrFormat("%.3f", absl::ToDoubleSeconds(open)),
                                      absl::StrFormat("%g", record.total_weight()),
                                      absl::StrCat(staleness),
                                      WorkersText(members.size(), members),
                                      LateText(record)};
    if (any_expired) cells.push_back(ExpiredText(record));
    if (any_abstained) cells.push_back(AbstainedText(record));
    if (changed) cells.push_back(ClosingRuleText(record));
    table.AddRow(std::move(cells));
  }
  return table.Text();
}

std::string VerdictText(v1::Verdict verdict) {
  const std::string name(absl::StripPrefix(v1::Verdict_Name(verdict), "VERDICT_"));
  // A server may be newer than this program.
  return name.empty() ? absl::StrCat("verdict ", static_cast<int>(verdict)) : name;
}

absl::Status VerdictError(v1::Verdict verdict) {
  if (verdict == v1::VERDICT_APPLIED || verdict == v1::VERDICT_PENDING ||
      verdict == v1::VERDICT_ABSTAINED) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the contribution was refused: ", VerdictText(verdict)));
}

absl::Status StepError(const StepResult& result, const v1::Layout& layout) {
  if (!result.report.has_value() || result.report->num_non_finite() == 0) {
    return VerdictError(result.verdict);
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "version ", result.applied_version, " has ", GroupDigits(result.report->num_non_finite()),
      result.report->num_non_finite() == 1 ? " parameter that is" : " parameters that are",
      " not finite, first ", PlaceText(result.report->first_non_finite(), layout), kGoBack));
}

absl::Status NonFiniteError(absl::Span<const float> parameters, uint64_t num_overflowed,
                            uint64_t first_overflowed, const v1::Layout& layout) {
  for (uint64_t element = 0; element < parameters.size(); ++element) {
    const float value = parameters[element];
    if (std::isfinite(value)) continue;
    // From the first overflow on, an infinity may be one more.
    if (num_overflowed > 0 && element >= first_overflowed && !std::isnan(value)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("parameters that came are not finite on the server, first ",
                     PlaceText(element, layout), " (", NumberText(value), ")", kGoBack));
  }
  return absl::OkStatus();
}

absl::Status OverflowError(uint64_t num_overflowed, uint64_t first_overflowed,
                           const v1::Layout& layout) {
  if (num_overflowed == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      GroupDigits(num_overflowed), num_overflowed == 1 ? " parameter is" : " parameters are",
      " finite on the server and infinite in this dtype, first ",
      PlaceText(first_overflowed, layout),
      "; what came has infinities there: pull with --dtype float32, or bfloat16, which reaches "
      "almost "
      "as far"));
}

std::string OneWorkerNote(const v1::SessionConfig& config) {
  const v1::AggregationPolicy& policy = config.aggregation();
  if (config.has_search() || policy.mode() != v1::AGGREGATION_MODE_ASYNCHRONOUS ||
      policy.max_staleness() > 0 || policy.max_workers() == 1) {
    return "";
  }
  return "for one worker: it takes only gradients of the current version. For several workers, set "
         "--aggregation mode=SYNCHRONOUS, or a --max_staleness\n";
}

}  // namespace talweg
