// SPDX-License-Identifier: Apache-2.0
#include "client/cli/config_text.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace talweg {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string ValueText(const FieldDescriptor& field, const Message& message) {
  const auto& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberText(reflection.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return NumberText(static_cast<double>(reflection.GetFloat(message, &field)));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(reflection.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return std::string(absl::StripPrefix(reflection.GetEnum(message, &field)->name(),
                                           EnumPrefix(*field.enum_type())));
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.GetString(message, &field);
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(reflection.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(reflection.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "";
  }
  return "";
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

std::string NumberText(double number) {
  return std::isnan(number) ? "nan" : absl::StrFormat("%.6g", number);
}

std::string EnumPrefix(const EnumDescriptor& type) {
  return std::string(absl::StripSuffix(type.value(0)->name(), "UNSPECIFIED"));
}

std::string CaseName(const Message& message, const std::string& oneof) {
  const FieldDescriptor* field = message.GetReflection()->GetOneofFieldDescriptor(
      message, message.GetDescriptor()->FindOneofByName(oneof));
  return field == nullptr ? std::string() : std::string(field->name());
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

std::string SearchText(const v1::SearchPolicy& policy) {
  const Descriptor& type = *v1::SearchPolicy::descriptor();
  const bool is_random = policy.method() == v1::SEARCH_METHOD_RANDOM_SEARCH;
  const bool has_baseline = is_random ? policy.acceptance() == v1::ACCEPTANCE_LOSS_WEIGHTED
                                      : policy.differences() == v1::DIFFERENCES_ONE_SIDED;
  std::vector<std::string> words;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    // A choice that the method does not use stands at its first value, and so do most others.
    const bool is_first = field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM &&
                          policy.GetReflection()->GetEnumValue(policy, &field) <= 1;
    const bool is_usual = is_first && field.name() != "scale" && field.name() != "shaping" &&
                          !(field.name() == "baseline" && has_baseline) &&
                          !(field.name() == "acceptance" && is_random);
    const std::string value = ValueText(field, policy);
    if (is_usual || value == "0" || (field.name() == "sigma_decay" && value == "1")) continue;
    words.push_back(absl::StrCat(field.name(), "=", value));
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
