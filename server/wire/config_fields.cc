// SPDX-License-Identifier: Apache-2.0
#include "server/wire/config_fields.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/check.h"
#include "core/base/choice.h"
#include "core/base/dialect.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::server {
namespace {

using core::FieldInfo;
using core::FieldValue;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// What the names of an enumeration's values begin with: "DIALECT_".
absl::string_view PrefixOf(const google::protobuf::EnumDescriptor& type) {
  const absl::string_view zero = type.FindValueByNumber(0)->name();
  return absl::StripSuffix(zero, "UNSPECIFIED");
}

const FieldDescriptor& FindField(const Message& message, absl::string_view name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(std::string(name));
  TALWEG_CHECK(field != nullptr);  // a test holds every message against its table
  return *field;
}

bool IsSet(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM && !field.has_presence()) {
    return reflection.GetEnumValue(message, &field) != 0;
  }
  return reflection.HasField(message, &field);
}

// A value of the same kind as `value`, which it replaces.
absl::Status ReadValue(const Message& message, const FieldDescriptor& field, FieldValue& value) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      value = reflection.GetBool(message, &field);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_UINT32:
      value = uint64_t{reflection.GetUInt32(message, &field)};
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_UINT64:
      value = static_cast<uint64_t>(reflection.GetUInt64(message, &field));
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_DOUBLE:
      value = reflection.GetDouble(message, &field);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_STRING:
      value = reflection.GetString(message, &field);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = reflection.GetEnumValue(message, &field);
      const auto* known = field.enum_type()->FindValueByNumber(number);
      const absl::string_view name =
          known == nullptr ? "" : absl::StripPrefix(known->name(), PrefixOf(*field.enum_type()));
      const std::optional<core::Dialect> dialect = core::DialectFromName(name);
      const bool is_dialect = std::holds_alternative<core::Dialect>(value);
      if (known == nullptr || (is_dialect && !dialect.has_value())) {
        return core::MakeError(core::Reason::kFieldOutOfRange,
                               absl::StrCat(field.name(), " has the unknown value ", number),
                               field.name());
      }
      if (is_dialect) {
        value = *dialect;
      } else {
        value = core::Choice{name};
      }
      return absl::OkStatus();
    }
    default:
      core::CheckFailed(__FILE__, __LINE__,
                        "a hyper-parameter is a bool, count, double, enum or text");
  }
}

}  // namespace

absl::Status ReadFields(const Message& message, core::Config& config) {
  for (const FieldInfo& info : config.Fields()) {
    const FieldDescriptor& field = FindField(message, info.name);
    if (!IsSet(message, field)) {
      if (info.presence == core::Presence::kOptional) continue;
      return core::MakeError(core::Reason::kFieldRequired,
                             absl::StrCat(info.name, " is required, allowed: ", info.range),
                             info.name);
    }
    FieldValue value = info.default_value;
    TALWEG_RETURN_IF_ERROR(ReadValue(message, field, value));
    TALWEG_RETURN_IF_ERROR(config.Set(info.name, value));
  }
  // All fields are read by now, and they say which of the others are needed.
  for (const FieldInfo& info : config.Fields()) {
    const absl::string_view by = config.NeededBy(info.name);
    if (by.empty() || IsSet(message, FindField(message, info.name))) continue;
    return core::MakeError(core::Reason::kFieldRequired,
                           absl::StrCat(info.name, " is required with ", by), info.name);
  }
  return config.Validate();
}

absl::Status CheckFixed(const Message& message, const core::Config& current) {
  for (const FieldInfo& info : current.Fields()) {
    const FieldDescriptor& field = FindField(message, info.name);
    if (info.change == core::Change::kLive || !IsSet(message, field)) continue;
    FieldValue value = info.default_value;
    // A value that cannot be read has an error of its own.
    if (!ReadValue(message, field, value).ok() || value == current.Get(info.name)) continue;
    return core::MakeError(
        core::Reason::kFieldImmutable,
        absl::StrCat(info.name, " is fixed: ", core::FieldValueText(current.Get(info.name))),
        info.name);
  }
  return absl::OkStatus();
}

void WriteFields(const core::Config& config, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  for (const FieldInfo& info : config.Fields()) {
    const FieldDescriptor& field = FindField(message, info.name);
    const FieldValue value = config.Get(info.name);
    if (const bool* flag = std::get_if<bool>(&value)) {
      reflection.SetBool(&message, &field, *flag);
    } else if (const uint64_t* number = std::get_if<uint64_t>(&value)) {
      // The range of such a field ends below 2^32: a test holds every message against its table.
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
        reflection.SetUInt32(&message, &field, static_cast<uint32_t>(*number));
      } else {
        reflection.SetUInt64(&message, &field, *number);
      }
    } else if (const double* real = std::get_if<double>(&value)) {
      reflection.SetDouble(&message, &field, *real);
    } else if (const std::string* text = std::get_if<std::string>(&value)) {
      reflection.SetString(&message, &field, *text);
    } else {
      const core::Choice* choice = std::get_if<core::Choice>(&value);
      const absl::string_view short_name =
          choice != nullptr ? choice->name : core::DialectName(std::get<core::Dialect>(value));
      const std::string name = absl::StrCat(PrefixOf(*field.enum_type()), short_name);
      reflection.SetEnum(&message, &field, field.enum_type()->FindValueByName(name));
    }
  }
}

const FieldDescriptor* OneofCase(const Message& message, const std::string& name) {
  const auto* oneof = message.GetDescriptor()->FindOneofByName(name);
  TALWEG_CHECK(oneof != nullptr);
  return message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
}

}  // namespace talweg::server
