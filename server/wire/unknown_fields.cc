// SPDX-License-Identifier: Apache-2.0
#include "server/wire/unknown_fields.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"

namespace talweg::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Place and number of the first unknown field; "" if there is none. The place is put together on
// the way back, so that a message without unknown fields costs no text, however many parts it has.
std::string FindUnknown(const Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const google::protobuf::UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) return absl::StrCat(unknown.field(0).number());
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      const std::string inner = FindUnknown(reflection.GetMessage(message, field));
      if (!inner.empty()) return absl::StrCat(field->name(), ".", inner);
      continue;
    }
    const int size = reflection.FieldSize(message, field);
    for (int index = 0; index < size; ++index) {
      const std::string inner = FindUnknown(reflection.GetRepeatedMessage(message, field, index));
      if (!inner.empty()) return absl::StrCat(field->name(), "[", index, "].", inner);
    }
  }
  return "";
}

}  // namespace

absl::Status CheckNoUnknownFields(const Message& message) {
  const std::string field = FindUnknown(message);
  if (field.empty()) return absl::OkStatus();
  return core::MakeError(core::Reason::kFieldUnknown,
                         absl::StrCat("this server does not know field ", field), field);
}

}  // namespace talweg::server
