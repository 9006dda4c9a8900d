// SPDX-License-Identifier: Apache-2.0
#include "client/cli/config_text.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/arguments.h"

namespace talweg {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

// The shape of a tensor without dimensions.
constexpr absl::string_view kScalar = "scalar";

// What all values of an enumeration start with: "DIALECT_".
std::string PrefixOf(const EnumDescriptor& type) {
  return std::string(absl::StripSuffix(type.value(0)->name(), "UNSPECIFIED"));
}

const EnumValueDescriptor* FindValue(const EnumDescriptor& type, absl::string_view text) {
  return type.FindValueByName(PrefixOf(type) + absl::AsciiStrToUpper(text));
}

// What may be typed for an enumeration: "KERAS", without the value that says nothing.
std::string KnownValues(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() == 0) continue;
    names.emplace_back(absl::StripPrefix(type.value(i)->name(), PrefixOf(type)));
  }
  return absl::StrJoin(names, ", ");
}

std::string KnownFields(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) {
    if (type.field(i)->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE &&
        type.field(i)->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      names.emplace_back(type.field(i)->name());
    }
  }
  return names.empty() ? "none" : absl::StrJoin(names, ", ");
}

// Parses `text` into `field`; returns false if it is no value of the field's type.
bool SetValue(const FieldDescriptor& field, absl::string_view text, Message& message) {
  const auto& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      if (!absl::SimpleAtod(text, &value)) return false;
      reflection.SetDouble(&message, &field, value);
      return true;
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      uint32_t value = 0;
      if (!absl::SimpleAtoi(text, &value)) return false;
      reflection.SetUInt32(&message, &field, value);
      return true;
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      if (!absl::SimpleAtoi(text, &value)) return false;
      reflection.SetUInt64(&message, &field, value);
      return true;
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      bool value = false;
      if (!absl::SimpleAtob(text, &value)) return false;
      reflection.SetBool(&message, &field, value);
      return true;
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* value = FindValue(*field.enum_type(), text);
      if (value == nullptr) return false;
      reflection.SetEnum(&message, &field, value);
      return true;
    }
    default:
      return false;
  }
}

std::string ValueText(const FieldDescriptor& field, const Message& message) {
  const auto& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrFormat("%g", reflection.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(reflection.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return std::string(absl::StripPrefix(reflection.GetEnum(message, &field)->name(),
                                           PrefixOf(*field.enum_type())));
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.GetString(message, &field);
    default:
      return "";
  }
}

// Notes the name in "beta1=0.9" among the `names` given so far. UsageError if it is there already.
absl::Status Note(absl::string_view field, std::vector<std::string>& names) {
  std::string name(field.substr(0, field.find('=')));
  if (std::find(names.begin(), names.end(), name) != names.end()) {
    return UsageError(absl::StrCat(name, " is given twice"));
  }
  names.push_back(std::move(name));
  return absl::OkStatus();
}

// "beta2=0.9" for the bare value "0.9" at `position` (0 for the first); `word` itself if it starts
// with a field's name. A position of -1 has no room for a bare value.
absl::StatusOr<std::string> NamedField(const std::string& word, const Descriptor& type,
                                       int position) {
  if (absl::StrContains(word, '=') || type.FindFieldByName(word) != nullptr) return word;
  if (position < 0) {
    return UsageError(absl::StrCat("the bare value \"", word,
                                   "\" must stand before the fields with a name in ", type.name()));
  }
  if (position >= type.field_count()) {
    return UsageError(absl::StrCat(type.name(), " has no field for the value \"", word,
                                   "\"; it has: ", KnownFields(type)));
  }
  return absl::StrCat(type.field(position)->name(), "=", word);
}

// Whether a field of a resolved policy, beside its mode, says anything in that mode.
bool HasMeaning(const FieldDescriptor& field, const v1::AggregationPolicy& policy) {
  const bool synchronous = policy.mode() == v1::AGGREGATION_MODE_SYNCHRONOUS;
  switch (field.number()) {
    case v1::AggregationPolicy::kModeFieldNumber:
      return false;
    case v1::AggregationPolicy::kMaxStalenessFieldNumber:
      return true;
    case v1::AggregationPolicy::kMinWorkersFieldNumber:
      return synchronous;
    case v1::AggregationPolicy::kGradientAccumulationStepsFieldNumber:
      return policy.mode() == v1::AGGREGATION_MODE_ASYNCHRONOUS;
    case v1::AggregationPolicy::kMaxRoundsAheadFieldNumber:
      return policy.mode() == v1::AGGREGATION_MODE_BOUNDED_STALENESS;
    case v1::AggregationPolicy::kTrimFractionFieldNumber:
      return policy.reduction() == v1::REDUCTION_TRIMMED_MEAN;
    default:
      break;
  }
  // Choices are those of rounds; anything else is 0 or false if it is not used, or if there is no
  // limit.
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return synchronous;
  const std::string value = ValueText(field, policy);
  return value != "0" && value != "false";
}

// Whether a number or flag of `message` is set to anything but 0 or false.
bool SaysSomething(const Message& message) {
  std::vector<const FieldDescriptor*> set;
  message.GetReflection()->ListFields(message, &set);
  return std::any_of(set.begin(), set.end(), [&](const FieldDescriptor* field) {
    if (field->is_repeated() || field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return false;
    const std::string value = ValueText(*field, message);
    return value != "0" && value != "false";
  });
}

}  // namespace

absl::StatusOr<v1::Layout> ParseLayout(absl::string_view text) {
  v1::Layout layout;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipWhitespace())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(word, ':');
    v1::Tensor& tensor = *layout.add_tensors();
    tensor.set_name(std::string(parts[0]));
    if (parts.size() > 2) return UsageError(absl::StrCat("\"", word, "\" has two colons"));
    if (parts.size() == 1 || parts[1] == kScalar) continue;
    for (const absl::string_view dimension : absl::StrSplit(parts[1], ',')) {
      uint64_t size = 0;
      if (!absl::SimpleAtoi(dimension, &size)) {
        return UsageError(
            absl::StrCat("\"", word, "\" is no tensor; expected NAME:ROWS,COLUMNS or NAME"));
      }
      tensor.add_shape(size);
    }
  }
  return layout;
}

absl::Status ParseInit(absl::string_view text, v1::SeededValues& values) {
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipWhitespace())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(word, absl::MaxSplits('=', 1));
    if (parts.size() != 2) {
      return UsageError(absl::StrCat("\"", word, "\" is no rule; expected TENSORS=DISTRIBUTION"));
    }
    v1::InitialValueRule& rule = *values.add_rules();
    rule.set_tensors(std::string(parts[0]));
    const auto set = SetCase(parts[1], "distribution", rule);
    if (!set.ok()) return set.status();
  }
  return absl::OkStatus();
}

absl::Status ParseGroups(absl::string_view text, v1::SessionConfig& config) {
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipWhitespace())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(word, absl::MaxSplits('=', 1));
    if (parts.size() != 2) {
      return UsageError(absl::StrCat("\"", word, "\" is no group; expected TENSORS=SETTINGS"));
    }
    v1::ParameterGroup& group = *config.add_groups();
    // Within a group a colon stands for the equals sign.
    std::vector<std::string> settings;
    for (const absl::string_view setting : absl::StrSplit(parts[1], ',', absl::SkipWhitespace())) {
      settings.push_back(absl::StrJoin(absl::StrSplit(setting, absl::MaxSplits(':', 1)), "="));
    }
    const auto set = SetFields(absl::StrJoin(settings, ","), group);
    if (!set.ok()) return set.status();
    group.set_tensors(std::string(parts[0]));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SetFields(absl::string_view text, Message& message) {
  std::vector<std::string> names;
  for (const absl::string_view field : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const absl::Status set = SetField(field, message);
    if (!set.ok()) return set;
    const absl::Status noted = Note(field, names);
    if (!noted.ok()) return noted;
  }
  return names;
}

std::string FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      names.push_back(absl::StrCat(field.name(), " (", KnownValues(*field.enum_type()), ")"));
    } else {
      names.emplace_back(field.name());
    }
  }
  return absl::StrJoin(names, ", ");
}

std::string GroupSettings() { return KnownFields(*v1::ParameterGroup::descriptor()); }

absl::Status SetField(absl::string_view text, Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  const bool bare = !absl::StrContains(text, '=');
  const FieldDescriptor* field = type.FindFieldByName(parts.first);
  if (field == nullptr || field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ||
      field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    return UsageError(absl::StrCat(type.name(), " has no field \"", parts.first,
                                   "\"; it has: ", KnownFields(type)));
  }
  if (bare && field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) parts.second = "true";
  if (bare && parts.second.empty()) {
    return UsageError(
        absl::StrCat(parts.first, " in ", type.name(), " needs a value: ", parts.first, "=VALUE"));
  }
  if (!SetValue(*field, parts.second, message)) {
    const bool choice = field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM;
    return UsageError(absl::StrCat(
        "\"", parts.second, "\" is no value of ", parts.first, " in ", type.name(),
        choice ? absl::StrCat("; there are: ", KnownValues(*field->enum_type())) : ""));
  }
  return absl::OkStatus();
}

absl::StatusOr<ChosenCase> SetCase(absl::string_view text, const std::string& oneof,
                                   Message& message) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  Message* chosen = MutableCase(parts[0], oneof, message);
  if (chosen == nullptr) {
    return UsageError(absl::StrCat("no ", oneof, " \"", parts[0],
                                   "\"; there are: ", CaseNames(*message.GetDescriptor(), oneof)));
  }
  ChosenCase choice = {parts[0], {}};
  if (parts.size() == 1) return choice;
  const Descriptor& type = *chosen->GetDescriptor();
  const std::vector<std::string> words = absl::StrSplit(parts[1], ',', absl::SkipWhitespace());
  bool named = false;  // whether a field with a name came already
  for (const std::string& word : words) {
    const absl::StatusOr<std::string> field =
        NamedField(word, type, named ? -1 : static_cast<int>(choice.fields.size()));
    if (!field.ok()) return field.status();
    named = named || *field == word;
    absl::Status set = SetField(*field, *chosen);
    if (set.ok()) set = Note(*field, choice.fields);
    if (!set.ok()) return set;
  }
  return choice;
}

std::string CaseNames(const Descriptor& type, const std::string& oneof) {
  const OneofDescriptor& cases = *type.FindOneofByName(oneof);
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(cases.field_count()));
  for (int i = 0; i < cases.field_count(); ++i) names.emplace_back(cases.field(i)->name());
  return absl::StrJoin(names, ", ");
}

std::string CaseName(const Message& message, const std::string& oneof) {
  const FieldDescriptor* field = message.GetReflection()->GetOneofFieldDescriptor(
      message, message.GetDescriptor()->FindOneofByName(oneof));
  return field == nullptr ? std::string() : std::string(field->name());
}

Message* MutableCase(absl::string_view name, const std::string& oneof, Message& message) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(std::string(name));
  if (field == nullptr || field->containing_oneof() == nullptr ||
      field->containing_oneof()->name() != oneof) {
    return nullptr;
  }
  return message.GetReflection()->MutableMessage(&message, field);
}

std::string LayoutText(const v1::Layout& layout, int max_tensors) {
  std::vector<std::string> words;
  for (const v1::Tensor& tensor : layout.tensors()) {
    if (static_cast<int>(words.size()) == max_tensors) {
      words.push_back(absl::StrCat("... ", layout.tensors_size(), " tensors"));
      break;
    }
    const std::string shape = absl::StrJoin(tensor.shape(), ",");
    words.push_back(absl::StrCat(tensor.name(), ":", shape.empty() ? kScalar : shape));
  }
  return absl::StrJoin(words, " ");
}

std::string GroupsText(const v1::SessionConfig& config, int max_groups) {
  std::vector<std::string> words;
  for (const v1::ParameterGroup& group : config.groups()) {
    if (static_cast<int>(words.size()) == max_groups) {
      words.push_back(absl::StrCat("... ", config.groups_size(), " groups"));
      break;
    }
    std::vector<std::string> settings;
    for (int i = 0; i < group.GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor& field = *group.GetDescriptor()->field(i);
      if (!field.has_presence() || !group.GetReflection()->HasField(group, &field)) continue;
      const std::string value = ValueText(field, group);
      // Factors are 1 by default, everything else is 0 or false.
      if (value == (absl::EndsWith(field.name(), "_factor") ? "1" : "0") || value == "false") {
        continue;
      }
      settings.push_back(value == "true" ? std::string(field.name())
                                         : absl::StrCat(field.name(), ":", value));
    }
    words.push_back(absl::StrCat(group.tensors(), "=", absl::StrJoin(settings, ",")));
  }
  return absl::StrJoin(words, " ");
}

std::string FieldsText(const Message& message) {
  const Descriptor& type = *message.GetDescriptor();
  std::vector<std::string> words;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.is_repeated() || field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (field.has_presence() && !message.GetReflection()->HasField(message, &field)) continue;
    words.push_back(absl::StrCat(field.name(), "=", ValueText(field, message)));
  }
  return absl::StrJoin(words, " ");
}

std::string PolicyText(const v1::AggregationPolicy& policy) {
  const Descriptor& type = *v1::AggregationPolicy::descriptor();
  const auto word = [&](const FieldDescriptor& field) {
    return absl::StrCat(field.name(), "=", ValueText(field, policy));
  };
  std::vector<std::string> words = {word(*type.FindFieldByName("mode"))};
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (HasMeaning(field, policy)) words.push_back(word(field));
  }
  return absl::StrJoin(words, " ");
}

std::string CaseText(const Message& message, const std::string& oneof) {
  const std::string name = CaseName(message, oneof);
  if (name.empty()) return "";
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  const std::string fields = FieldsText(message.GetReflection()->GetMessage(message, field));
  return absl::StrCat(name, fields.empty() ? "" : " ", fields);
}

std::string SectionText(const v1::SessionConfig& config, const FieldDescriptor& section) {
  const auto& reflection = *config.GetReflection();
  std::vector<std::string> parts;
  const auto add = [&parts](const Message& message) {
    if (SaysSomething(message)) parts.push_back(FieldsText(message));
    const Descriptor& type = *message.GetDescriptor();
    for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
      parts.push_back(CaseText(message, type.oneof_decl(i)->name()));
    }
  };
  if (!section.is_repeated()) {
    add(reflection.GetMessage(config, &section));
  } else {
    for (int i = 0; i < reflection.FieldSize(config, &section); ++i) {
      add(reflection.GetRepeatedMessage(config, &section, i));
    }
  }
  parts.erase(std::remove(parts.begin(), parts.end(), ""), parts.end());
  return absl::StrJoin(parts, "  ");
}

}  // namespace talweg
