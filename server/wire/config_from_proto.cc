// SPDX-License-Identifier: Apache-2.0
#include "server/wire/config_from_proto.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/name_pattern.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/session/config_sections.h"
#include "google/protobuf/util/field_mask_util.h"
#include "server/wire/config_fields.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::PrefixField;
using core::Reason;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The field of v1.SessionConfig that holds the section; a test holds both to each other.
const FieldDescriptor& FieldOf(const core::Section& section) {
  const FieldDescriptor* field =
      v1::SessionConfig::descriptor()->FindFieldByName(std::string(section.name));
  TALWEG_CHECK(field != nullptr);
  return *field;
}

// The field of an entry that says which tensors it is for.
const FieldDescriptor& KeyOf(const Message& entry, const core::Section& section) {
  const FieldDescriptor* field =
      entry.GetDescriptor()->FindFieldByName(std::string(section.entry_key));
  TALWEG_CHECK(field != nullptr);
  return *field;
}

absl::StatusOr<core::Layout> LayoutFromProto(const v1::Layout& layout) {
  // Checked before the copy: a refused layout costs no memory beyond its message.
  if (static_cast<size_t>(layout.tensors_size()) > core::Layout::kMaxTensors) {
    return MakeError(Reason::kLayoutInvalid,
                     absl::StrCat("layout has ", layout.tensors_size(), " tensors, allowed: 1 to ",
                                  core::Layout::kMaxTensors),
                     "tensors");
  }
  std::vector<core::TensorSpec> tensors;
  tensors.reserve(layout.tensors_size());
  for (const v1::Tensor& tensor : layout.tensors()) {
    tensors.push_back({tensor.name(), {tensor.shape().begin(), tensor.shape().end()}});
  }
  return core::Layout::Create(std::move(tensors));
}

// Whether `config`, in which `field` is the section's, lacks a section that must be there, or lacks
// its kind although no kind is the default.
bool IsLacking(const v1::SessionConfig& config, const FieldDescriptor& field,
               const core::Section& section) {
  if (section.needed.empty()) return false;
  if (!config.GetReflection()->HasField(config, &field)) return true;
  if (section.choose_kind == nullptr || !section.default_kind.empty()) return false;
  const Message& message = config.GetReflection()->GetMessage(config, &field);
  return OneofCase(message, std::string(section.kinds)) == nullptr;
}

// What `message`, the section's own, says beside entries.
absl::Status ReadSection(const Message& message, const core::Section& section,
                         core::SectionValue& value) {
  if (value.fields != nullptr) TALWEG_RETURN_IF_ERROR(ReadFields(message, *value.fields));
  if (section.choose_kind == nullptr) return absl::OkStatus();
  const FieldDescriptor* chosen = OneofCase(message, std::string(section.kinds));
  if (chosen == nullptr) return absl::OkStatus();            // The default kind stands.
  TALWEG_CHECK(section.choose_kind(chosen->name(), value));  // a test holds the oneof to the table
  const Message& kind = message.GetReflection()->GetMessage(message, chosen);
  return PrefixField(ReadFields(kind, *value.kind_fields), chosen->name());
}

// What `config`, in which `field` is the section's, says in entries.
absl::Status ReadEntries(const v1::SessionConfig& config, const FieldDescriptor& field,
                         const core::Section& section, core::SectionValue& value) {
  const Reflection& reflection = *config.GetReflection();
  const int num_entries = reflection.FieldSize(config, &field);
  if (static_cast<size_t>(num_entries) > core::kMaxPatterns) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("there are ", num_entries, " ", section.name, ", allowed: 0 to ",
                                  core::kMaxPatterns),
                     section.name);
  }
  for (int index = 0; index < num_entries; ++index) {
    const Message& message = reflection.GetRepeatedMessage(config, &field, index);
    core::SectionValue::Entry& entry = value.entries.emplace_back();
    entry.key = message.GetReflection()->GetString(message, &KeyOf(message, section));
    entry.fields = section.default_entry();
    TALWEG_RETURN_IF_ERROR(PrefixField(ReadFields(message, *entry.fields),
                                       absl::StrCat(section.name, "[", index, "]")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<core::SessionConfig> ConfigFromProto(const v1::SessionConfig& config) {
  if (!config.has_layout()) {
    return MakeError(Reason::kFieldRequired, "a session needs a layout", "layout");
  }
  absl::StatusOr<core::Layout> layout = LayoutFromProto(config.layout());
  if (!layout.ok()) return PrefixField(layout.status(), "layout");
  core::SessionConfig resolved =
      core::BlankConfig(std::make_shared<const core::Layout>(*std::move(layout)));
  for (const core::Section& section : core::Sections()) {
    const FieldDescriptor& field = FieldOf(section);
    core::SectionValue value = DefaultsOf(section, resolved);
    if (section.default_entry != nullptr) {
      TALWEG_RETURN_IF_ERROR(ReadEntries(config, field, section, value));
    } else {
      if (IsLacking(config, field, section)) {
        return MakeError(Reason::kFieldRequired, section.needed, section.name);
      }
      const Message& message = config.GetReflection()->GetMessage(config, &field);
      TALWEG_RETURN_IF_ERROR(PrefixField(ReadSection(message, section, value), section.name));
    }
    section.set(std::move(value), resolved);
  }
  TALWEG_RETURN_IF_ERROR(resolved.Resolve());
  TALWEG_RETURN_IF_ERROR(resolved.CheckAsked());
  return resolved;
}

v1::SessionConfig ConfigToProto(const core::SessionConfig& config) {
  v1::SessionConfig proto;
  for (const core::TensorSpec& tensor : config.layout->tensors()) {
    v1::Tensor& added = *proto.mutable_layout()->add_tensors();
    added.set_name(tensor.name);
    added.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  }
  const Reflection& reflection = *proto.GetReflection();
  for (const core::Section& section : core::Sections()) {
    if (!section.IsSaid(config)) continue;
    const FieldDescriptor& field = FieldOf(section);
    const core::SectionView view = section.view(config);
    for (const core::SectionView::Entry& entry : view.entries) {
      Message& added = *reflection.AddMessage(&proto, &field);
      added.GetReflection()->SetString(&added, &KeyOf(added, section), std::string(entry.key));
      WriteFields(*entry.fields, added);
    }
    if (section.default_entry != nullptr) continue;
    Message& message = *reflection.MutableMessage(&proto, &field);
    if (view.fields != nullptr) WriteFields(*view.fields, message);
    if (view.kind_fields == nullptr) continue;
    const FieldDescriptor* kind = message.GetDescriptor()->FindFieldByName(std::string(view.kind));
    TALWEG_CHECK(kind != nullptr);
    WriteFields(*view.kind_fields, *message.GetReflection()->MutableMessage(&message, kind));
  }
  return proto;
}

namespace {

// FIELD_IMMUTABLE if `wanted` says another value of a section's fixed field than `current` has.
absl::Status CheckFixedFields(const core::SessionConfig& current, const v1::SessionConfig& wanted) {
  for (const core::Section& section : core::Sections()) {
    const core::SectionView view = section.view(current);
    const FieldDescriptor& field = FieldOf(section);
    if (view.fields == nullptr || section.default_entry != nullptr ||
        !wanted.GetReflection()->HasField(wanted, &field)) {
      continue;
    }
    const Message& message = wanted.GetReflection()->GetMessage(wanted, &field);
    TALWEG_RETURN_IF_ERROR(PrefixField(CheckFixed(message, *view.fields), section.name));
  }
  return absl::OkStatus();
}

// A field that the change makes somebody say must be named by it: what `current` has there may be a
// default that nobody chose. ConfigFromProto cannot tell, because it is handed every field.
absl::Status CheckNamed(const core::SessionConfig& current, const core::SessionConfig& changed,
                        const google::protobuf::FieldMask& mask) {
  for (const core::Section& section : core::Sections()) {
    const core::SectionView before = section.view(current);
    const core::SectionView after = section.view(changed);
    if (before.fields == nullptr || after.fields == nullptr) continue;
    const core::SectionValue defaults = DefaultsOf(section, current);
    for (const core::FieldInfo& info : after.fields->Fields()) {
      const absl::string_view by = after.fields->NeededBy(info.name);
      if (by.empty() || !before.fields->NeededBy(info.name).empty()) continue;
      if (before.fields->Get(info.name) != defaults.fields->Get(info.name)) continue;
      const std::string path = absl::StrCat(section.name, ".", info.name);
      const bool named = std::any_of(
          mask.paths().begin(), mask.paths().end(),
          [&](const std::string& each) { return each == path || each == section.name; });
      if (named) continue;
      return MakeError(Reason::kFieldRequired, absl::StrCat(info.name, " is required with ", by),
                       path);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<core::SessionConfig> MergeConfig(const core::SessionConfig& current,
                                                const v1::SessionConfig& wanted,
                                                const google::protobuf::FieldMask& mask) {
  using google::protobuf::util::FieldMaskUtil;
  if (mask.paths().empty()) {
    return MakeError(Reason::kFieldRequired, "an update names at least one path", "update_mask");
  }
  for (int index = 0; index < mask.paths_size(); ++index) {
    const std::string& path = mask.paths(index);
    const std::string field = absl::StrCat("update_mask.paths[", index, "]");
    // FieldMaskUtil passes over empty names: "" would change nothing, ".layout" would be the
    // layout.
    const bool has_empty_name = absl::StrContains(absl::StrCat(".", path, "."), "..");
    if (has_empty_name || !FieldMaskUtil::IsValidPath<v1::SessionConfig>(path)) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("\"", path, "\" names no field of the configuration"), field);
    }
    if (path == "layout" || absl::StartsWith(path, "layout.")) {
      return MakeError(Reason::kFieldImmutable, "a session's layout is fixed", field);
    }
  }
  v1::SessionConfig merged = ConfigToProto(current);
  FieldMaskUtil::MergeOptions options;
  options.set_replace_message_fields(true);
  options.set_replace_repeated_fields(true);
  FieldMaskUtil::MergeMessageTo(wanted, mask, options, &merged);
  // First, because a fixed field that changes may contradict others as well.
  absl::Status status = CheckFixedFields(current, merged);
  if (!status.ok()) return PrefixField(status, "config");
  absl::StatusOr<core::SessionConfig> resolved = ConfigFromProto(merged);
  status = resolved.status();
  if (status.ok()) status = CheckNamed(current, *resolved, mask);
  if (!status.ok()) return PrefixField(status, "config");
  return resolved;
}

absl::StatusOr<core::InitialValues> InitialValuesFromProto(const core::Layout& layout,
                                                           const v1::SeededValues& values) {
  if (static_cast<size_t>(values.rules_size()) > core::kMaxPatterns) {
    return MakeError(Reason::kInitialValuesInvalid,
                     absl::StrCat("there are ", values.rules_size(), " rules, allowed: 1 to ",
                                  core::kMaxPatterns),
                     "rules");
  }
  std::vector<core::InitialValueRule> rules;
  for (int index = 0; index < values.rules_size(); ++index) {
    const v1::InitialValueRule& rule = values.rules(index);
    const std::string field = absl::StrCat("rules[", index, "]");
    const FieldDescriptor* chosen = OneofCase(rule, "distribution");
    if (chosen == nullptr) {
      return MakeError(Reason::kFieldRequired, "a rule needs a distribution", field);
    }
    const auto& message = rule.GetReflection()->GetMessage(rule, chosen);
    const auto read = [&](auto fields) -> absl::StatusOr<core::Distribution> {
      TALWEG_RETURN_IF_ERROR(
          PrefixField(ReadFields(message, fields), absl::StrCat(field, ".", chosen->name())));
      return core::Distribution(fields.value());
    };
    absl::StatusOr<core::Distribution> distribution;
    switch (rule.distribution_case()) {
      case v1::InitialValueRule::kConstant:
        distribution = read(core::ConfigOf<core::ConstantValues>());
        break;
      case v1::InitialValueRule::kNormal:
        distribution = read(core::ConfigOf<core::NormalValues>());
        break;
      case v1::InitialValueRule::kUniform:
        distribution = read(core::ConfigOf<core::UniformValues>());
        break;
      case v1::InitialValueRule::kKaiming:
        distribution = read(core::ConfigOf<core::KaimingValues>());
        break;
      case v1::InitialValueRule::kXavier:
        distribution = read(core::ConfigOf<core::XavierValues>());
        break;
      case v1::InitialValueRule::DISTRIBUTION_NOT_SET:
        break;
    }
    if (!distribution.ok()) return distribution.status();
    rules.push_back({rule.tensors(), *std::move(distribution)});
  }
  return core::InitialValues::Create(layout, values.seed(), rules);
}

}  // namespace talweg::server
