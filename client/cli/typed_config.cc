// SPDX-License-Identifier: Apache-2.0
#include "client/cli/typed_config.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/arguments.h"
#include "client/cli/config_text.h"

namespace talweg {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

const EnumValueDescriptor* FindValue(const EnumDescriptor& type, absl::string_view text) {
  return type.FindValueByName(EnumPrefix(type) + absl::AsciiStrToUpper(text));
}

// What may be typed for an enumeration: "KERAS", without the value that says nothing.
std::string KnownValues(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() == 0) continue;
    names.emplace_back(absl::StripPrefix(type.value(i)->name(), EnumPrefix(type)));
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

// The words of "0.8,beta2=0.9"; none in an empty text. UsageError if a place between or behind the
// commas is empty: a person who skips a field in that way expects the next value to keep its place.
absl::StatusOr<std::vector<std::string>> WordsOf(absl::string_view text) {
  if (absl::StripAsciiWhitespace(text).empty()) return std::vector<std::string>();
  std::vector<std::string> words = absl::StrSplit(text, ',');
  for (size_t index = 0; index < words.size(); ++index) {
    if (!absl::StripAsciiWhitespace(words[index]).empty()) continue;
    return UsageError(absl::StrCat("the value at place ", index + 1, " of \"", text,
                                   "\" is empty: to leave a field out, name those that follow, "
                                   "as in FIELD=VALUE"));
  }
  return words;
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
    for (const absl::string_view setting : absl::StrSplit(parts[1], ',')) {
      settings.push_back(absl::StrJoin(absl::StrSplit(setting, absl::MaxSplits(':', 1)), "="));
    }
    const auto set = SetFields(absl::StrJoin(settings, ","), group);
    if (!set.ok()) return set.status();
    group.set_tensors(std::string(parts[0]));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SetFields(absl::string_view text, Message& message) {
  const absl::StatusOr<std::vector<std::string>> words = WordsOf(text);
  if (!words.ok()) return words.status();
  std::vector<std::string> names;
  for (const std::string& field : *words) {
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
  const absl::StatusOr<std::vector<std::string>> words = WordsOf(parts[1]);
  if (!words.ok()) return words.status();
  bool named = false;  // whether a field with a name came already
  for (const std::string& word : *words) {
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

Message* MutableCase(absl::string_view name, const std::string& oneof, Message& message) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(std::string(name));
  if (field == nullptr || field->containing_oneof() == nullptr ||
      field->containing_oneof()->name() != oneof) {
    return nullptr;
  }
  return message.GetReflection()->MutableMessage(&message, field);
}

}  // namespace talweg
