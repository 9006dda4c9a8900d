// SPDX-License-Identifier: Apache-2.0
//
// The configuration of a session as text for people, in the words in which it is typed
// (typed_config.h). The names are those of the proto and are found by reflection.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "talweg/v1/session.pb.h"

namespace talweg {

// The shape of a tensor without dimensions.
inline constexpr absl::string_view kScalar = "scalar";

// What all values of an enumeration start with: "DIALECT_".
std::string EnumPrefix(const google::protobuf::EnumDescriptor& type);

// The name of the case of `oneof` that is set; empty if none is.
std::string CaseName(const google::protobuf::Message& message, const std::string& oneof);
// A number with at most six digits. What is not a number is "nan", whatever its sign bit says.
std::string NumberText(double number);

// "w:784,512 scale:scalar", with at most `max_tensors` of the tensors.
std::string LayoutText(const v1::Layout& layout, int max_tensors);
// Groups as ParseGroups takes them, without what is at its default; at most `max_groups`.
std::string GroupsText(const v1::SessionConfig& config, int max_groups);
// "beta1=0.9 beta2=0.999": numbers, flags, enumerations and texts in their order, without unset
// ones.
std::string FieldsText(const google::protobuf::Message& message);
// The policy that a server resolved, its mode first, without what has no meaning in that mode.
std::string PolicyText(const v1::AggregationPolicy& policy);
// A resolved policy of a session that searches, without what it does not use.
std::string SearchText(const v1::SearchPolicy& policy);
// Any section of a configuration: its fields, unless all are 0 or false, and its kind, if it has
// one, "learning_rate=0.1 warmup_steps=0  cosine total_steps=10 ...". Empty if the section says
// nothing.
std::string SectionText(const v1::SessionConfig& config,
                        const google::protobuf::FieldDescriptor& section);
// "cosine total_steps=10 ..." for a case that is set.
std::string CaseText(const google::protobuf::Message& message, const std::string& oneof);

}  // namespace talweg
