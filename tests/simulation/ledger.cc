// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/ledger.h"

#include "absl/strings/str_cat.h"

namespace talweg::simulation {
namespace {

std::string Name(const Key& key) {
  return absl::StrCat(WorkerName(key.worker), "/", key.incarnation, "/", key.sequence);
}

}  // namespace

void Ledger::Clear() { *this = Ledger{}; }

void Ledger::GoBackTo(const Mark& mark) {
  for (; versions_.size() > mark.num_versions; versions_.pop_back()) {
    for (const Key& key : versions_.back().members) counted_in_.erase(key);
  }
  for (; log_.size() > mark.num_answers; log_.pop_back()) given_.erase(log_.back());
}

Violation Ledger::Record(const core::VersionRecord& record, bool synchronous) {
  if (record.version != versions_.size() + 1) {
    return {"version_skipped",
            absl::StrCat("version ", record.version, " follows ", versions_.size())};
  }
  Version& version = versions_.emplace_back();
  version.total_weight = record.total_weight;
  version.num_late = record.num_late;
  absl::flat_hash_set<uint32_t> workers;
  for (const core::RoundMember& member : record.members) {
    const Key key{WorkerOf(member.worker), member.incarnation, member.sequence};
    const auto [counted, is_new] = counted_in_.emplace(key, record.version);
    if (!is_new) {
      return {"counted_twice", absl::StrCat(Name(key), " is in version ", record.version,
                                            " and in ", counted->second)};
    }
    version.members.push_back(key);
    const auto given = given_.find(key);
    if (given != given_.end()) {
      return {"refused_but_counted", absl::StrCat(Name(key), " has had its final answer before")};
    }
    if (synchronous && !workers.insert(key.worker).second) {
      return {"twice_in_a_round",
              absl::StrCat(member.worker, " is twice in version ", record.version)};
    }
  }
  return {};
}

Violation Ledger::Answer(const Key& key, const core::Answer& answer) {
  const auto [given, is_new] = given_.emplace(key, Given{answer.verdict, answer.applied_version});
  if (is_new) log_.push_back(key);
  if (given->second.verdict != answer.verdict || given->second.version != answer.applied_version) {
    return {"answer_changed", absl::StrCat(Name(key), " got another answer before")};
  }
  const auto counted = counted_in_.find(key);
  if (answer.verdict != core::Verdict::kApplied) {
    if (counted == counted_in_.end()) return {};
    return {"refused_but_counted",
            absl::StrCat(Name(key), " is in version ", counted->second, ", but refused")};
  }
  if (counted == counted_in_.end() || counted->second != answer.applied_version) {
    return {"applied_not_counted", absl::StrCat(Name(key), " is told that it is in version ",
                                                answer.applied_version, ", but is not")};
  }
  if (answer.report == nullptr) {
    return {"report_missing", absl::StrCat(Name(key), " is applied without a report")};
  }
  const Version& version = versions_[answer.applied_version - 1];
  if (answer.report->contributors != version.members.size() ||
      answer.report->total_weight != version.total_weight ||
      answer.report->num_late != version.num_late) {
    return {"report_differs", absl::StrCat("the report of version ", answer.applied_version,
                                           " that ", Name(key), " got is not its record")};
  }
  return {};
}

}  // namespace talweg::simulation
