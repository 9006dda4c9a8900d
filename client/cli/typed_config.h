// SPDX-License-Identifier: Apache-2.0
//
// Configurations as they are typed on a command line, into the messages of the wire; config_text.h
// is the other way. The names are those of the proto and are found by reflection: a new method or
// schedule needs no line here.
//
//   layout     "w:784,512 b:512 scale:scalar"     one tensor each; a bare "scale" is a scalar too
//   schedule   "cosine:total_steps=1000,final_fraction=0.1"
//   init       "w*=kaiming b*=normal:0,0.02"       one rule each
//   groups     "bias*=decay_factor:0 embed=learning_rate_factor:0.1,frozen"
//   fields     "beta1=0.9,dialect=KERAS", "mode=SYNCHRONOUS,close=COUNT,close_count=3"
//
// The bare name of a flag means true: "amsgrad", "kaiming:gaussian". Behind a colon, bare values
// fill the fields in the order of the proto, and come before fields with a name: "adam:0.8,0.9" is
// "adam:beta1=0.8,beta2=0.9". No field may be given twice, and none skipped by an empty place:
// write "adam:beta2=0.9" for "adam:,0.9".
//
// Every error is a UsageError that names what could have been typed instead.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "talweg/v1/session.pb.h"

namespace talweg {

absl::StatusOr<v1::Layout> ParseLayout(absl::string_view text);
absl::Status ParseInit(absl::string_view text, v1::SeededValues& values);

// Adds the groups of `text` to `config`.
absl::Status ParseGroups(absl::string_view text, v1::SessionConfig& config);
// The names of what a group may set: "learning_rate_factor, decay_factor, ...".
std::string GroupSettings();

// Sets one field, "beta1=0.9" or "amsgrad", of a message that holds numbers, flags and
// enumerations.
absl::Status SetField(absl::string_view text, google::protobuf::Message& message);

// Sets fields of a message, "mode=SYNCHRONOUS,close=ALL". Returns their names, in their order.
absl::StatusOr<std::vector<std::string>> SetFields(absl::string_view text,
                                                   google::protobuf::Message& message);
// What SetField may set in a message: "max_staleness, lease_seconds, mode (ASYNCHRONOUS, ...)".
std::string FieldNames(const google::protobuf::Descriptor& type);

// A case of a oneof as it was typed.
struct ChosenCase {
  std::string name;                 // "cosine"
  std::vector<std::string> fields;  // those that were given, in their order
};

// Chooses a case of `oneof` in `message`, "cosine:total_steps=10" or "constant:0", and sets its
// fields.
absl::StatusOr<ChosenCase> SetCase(absl::string_view text, const std::string& oneof,
                                   google::protobuf::Message& message);

// All cases of `oneof`, as a text: "gradient_descent, momentum, adam".
std::string CaseNames(const google::protobuf::Descriptor& type, const std::string& oneof);

// The message behind the case of that name, made if need be; null if there is no such case.
google::protobuf::Message* MutableCase(absl::string_view name, const std::string& oneof,
                                       google::protobuf::Message& message);

}  // namespace talweg
