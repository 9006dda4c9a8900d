// SPDX-License-Identifier: Apache-2.0
#include "core/session/session_config.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/session/config_sections.h"
#include "core/session/run_series.h"

namespace talweg::core {
namespace {

bool SameFields(const Config* a, const Config* b) {
  if (a == nullptr || b == nullptr) return a == b;
  const std::vector<FieldInfo> fields = a->Fields();
  return std::all_of(fields.begin(), fields.end(), [&](const FieldInfo& field) {
    return a->Get(field.name) == b->Get(field.name);
  });
}

bool SameSection(const SectionView& a, const SectionView& b) {
  return a.kind == b.kind && SameFields(a.fields, b.fields) &&
         SameFields(a.kind_fields, b.kind_fields) &&
         std::equal(a.entries.begin(), a.entries.end(), b.entries.begin(), b.entries.end(),
                    [](const SectionView::Entry& x, const SectionView::Entry& y) {
                      return x.key == y.key && SameFields(x.fields, y.fields);
                    });
}

// `from` and `to` are of one type, or both are null. `path` is that of the section or of its kind.
absl::Status CheckFixedFields(const Config* from, const Config* to, absl::string_view path) {
  if (from == nullptr) return absl::OkStatus();
  for (const FieldInfo& field : from->Fields()) {
    if (field.change == Change::kLive || from->Get(field.name) == to->Get(field.name)) continue;
    return MakeError(Reason::kFieldImmutable,
                     absl::StrCat(field.name, " is fixed: ", FieldValueText(from->Get(field.name))),
                     absl::StrCat(path, ".", field.name));
  }
  return absl::OkStatus();
}

// Entries come and go as wholes: their section has a rule that says what may not change.
absl::Status CheckFixed(const Section& section, const SectionView& from, const SectionView& to) {
  const std::string path = absl::StrCat("config.", section.name);
  TALWEG_RETURN_IF_ERROR(CheckFixedFields(from.fields, to.fields, path));
  if (from.kind == to.kind) {
    return CheckFixedFields(from.kind_fields, to.kind_fields, absl::StrCat(path, ".", from.kind));
  }
  if (section.fixed_kind.empty()) return absl::OkStatus();
  return MakeError(Reason::kFieldImmutable,
                   absl::StrCat(section.fixed_kind, ": this one is ", from.kind), path);
}

}  // namespace

absl::Status SessionConfig::Resolve() {
  for (const Section& section : Sections()) {
    if (section.resolve != nullptr) TALWEG_RETURN_IF_ERROR(section.resolve(*this));
  }
  return absl::OkStatus();
}

absl::Status SessionConfig::CheckAsked() const {
  for (const Section& section : Sections()) {
    if (section.check_asked != nullptr) TALWEG_RETURN_IF_ERROR(section.check_asked(*this));
  }
  return absl::OkStatus();
}

ParameterSpace SessionConfig::Space() const {
  ParameterSpace space{layout, {}, layer_table->layers};
  if (method->tensor_roles.empty()) return space;
  std::vector<TensorRole> role_of_group = {kUsualRole};
  for (const ParameterGroup& group : groups) {
    role_of_group.push_back(
        method->FindRole(RoleAskedFor(group.config).value()).value_or(kUsualRole));
  }
  space.roles.resize(layout->tensors().size());
  for (size_t tensor = 0; tensor < space.roles.size(); ++tensor) {
    space.roles[tensor] = role_of_group[group_map->GroupOfTensor(tensor)];
  }
  return space;
}

uint64_t SessionConfig::NumTrained() const {
  uint64_t trained = 0;
  group_map->ForEachRun({0, layout->num_elements()}, [&](Shard run, size_t group) {
    if (group == 0 || !groups[group - 1].config.value().frozen) trained += run.size();
  });
  return trained;
}

uint64_t SessionConfig::MemoryBytes() const {
  uint64_t bytes = 3 * layout->num_elements() * sizeof(float) + layout->memory_bytes();
  for (const Section& section : Sections()) {
    if (section.memory_bytes != nullptr) bytes += section.memory_bytes(*this);
  }
  return bytes + RunSeries::kBytes;
}

absl::Status CheckLiveChange(const SessionConfig& from, const SessionConfig& to) {
  if (from.layout->digest() != to.layout->digest()) {
    return MakeError(Reason::kFieldImmutable, "a session's layout is fixed", "config.layout");
  }
  for (const Section& section : Sections()) {
    TALWEG_RETURN_IF_ERROR(CheckFixed(section, section.view(from), section.view(to)));
  }
  for (const Section& section : Sections()) {
    if (section.check_change == nullptr) continue;
    TALWEG_RETURN_IF_ERROR(section.check_change(from, to));
  }
  return absl::OkStatus();
}

bool SameConfig(const SessionConfig& a, const SessionConfig& b) {
  // The default of a section that says nothing may depend on who made the configuration.
  const auto same = [&](const Section& section) {
    return (!section.IsSaid(a) && !section.IsSaid(b)) ||
           SameSection(section.view(a), section.view(b));
  };
  return a.layout->digest() == b.layout->digest() &&
         std::all_of(Sections().begin(), Sections().end(), same);
}

}  // namespace talweg::core
