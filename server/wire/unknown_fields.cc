// SPDX-License-Identifier: Apache-2.0
#include "server/wire/unknown_fields.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"

namespace talweg::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

absl::Status Check(const Message& message, const std::string& path) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const google::protobuf::UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    const std::string field =
        absl::StrCat(path, path.empty() ? "" : ".", unknown.field(0).number());
    return core::MakeError(core::Reason::kFieldUnknown,
                           absl::StrCat("this server does not know field ", field), field);
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string inner = absl::StrCat(path, path.empty() ? "" : ".", field->name());
    if (!field->is_repeated()) {
      TALWEG_RETURN_IF_ERROR(Check(reflection.GetMessage(message, field), inner));
      continue;
    }
    const int size = reflection.FieldSize(message, field);
    for (int index = 0; index < size; ++index) {
      TALWEG_RETURN_IF_ERROR(Check(reflection.GetRepeatedMessage(message, field, index),
                                   absl::StrCat(inner, "[", index, "]")));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckNoUnknownFields(const Message& message) { return Check(message, ""); }

}  // namespace talweg::server
