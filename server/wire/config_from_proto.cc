// SPDX-License-Identifier: Apache-2.0
#include "server/wire/config_from_proto.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/name_pattern.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "google/protobuf/util/field_mask_util.h"
#include "server/wire/config_fields.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::PrefixField;
using core::Reason;
using google::protobuf::FieldDescriptor;

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

absl::StatusOr<core::Schedule> ScheduleFromProto(const v1::Schedule& schedule) {
  core::ConfigOf<core::RateConfig> rate;
  TALWEG_RETURN_IF_ERROR(ReadFields(schedule, rate));
  const core::DecayKind* kind = &core::DecayKinds().front();
  const FieldDescriptor* chosen = OneofCase(schedule, "decay");
  if (chosen != nullptr) kind = core::FindDecayKind(chosen->name());
  TALWEG_CHECK(kind != nullptr);  // a test holds the oneof against the table
  std::unique_ptr<core::Config> config = kind->default_config();
  if (chosen != nullptr) {
    const auto& message = schedule.GetReflection()->GetMessage(schedule, chosen);
    TALWEG_RETURN_IF_ERROR(PrefixField(ReadFields(message, *config), chosen->name()));
  }
  return core::Schedule(std::move(rate), *kind, std::move(config));
}

}  // namespace

absl::StatusOr<core::SessionConfig> ConfigFromProto(const v1::SessionConfig& config) {
  if (!config.has_layout()) {
    return MakeError(Reason::kFieldRequired, "a session needs a layout", "layout");
  }
  absl::StatusOr<core::Layout> layout = LayoutFromProto(config.layout());
  if (!layout.ok()) return PrefixField(layout.status(), "layout");

  const FieldDescriptor* chosen = OneofCase(config.optimizer(), "method");
  if (chosen == nullptr) {
    return MakeError(Reason::kFieldRequired, "a session needs an optimizer", "optimizer");
  }
  const core::Method* method = core::FindMethod(chosen->name());
  TALWEG_CHECK(method != nullptr);  // a test holds the oneof against the registry
  std::unique_ptr<core::Config> optimizer = method->default_config();
  const auto& message = config.optimizer().GetReflection()->GetMessage(config.optimizer(), chosen);
  TALWEG_RETURN_IF_ERROR(
      PrefixField(ReadFields(message, *optimizer), absl::StrCat("optimizer.", chosen->name())));

  if (!config.has_schedule()) {
    return MakeError(Reason::kFieldRequired, "a session needs a schedule", "schedule");
  }
  absl::StatusOr<core::Schedule> schedule = ScheduleFromProto(config.schedule());
  if (!schedule.ok()) return PrefixField(schedule.status(), "schedule");

  core::ConfigOf<core::AggregationConfig> aggregation;
  TALWEG_RETURN_IF_ERROR(PrefixField(ReadFields(config.aggregation(), aggregation), "aggregation"));
  core::SessionConfig resolved{std::make_shared<const core::Layout>(*std::move(layout)), method,
                               std::shared_ptr<const core::Config>(std::move(optimizer)),
                               *std::move(schedule), std::move(aggregation)};
  TALWEG_RETURN_IF_ERROR(PrefixField(ReadFields(config.clipping(), resolved.clipping), "clipping"));
  resolved.weight_decay =
      core::ConfigOf<core::WeightDecayConfig>({.coupled = 0, .decoupled = method->default_decay});
  TALWEG_RETURN_IF_ERROR(
      PrefixField(ReadFields(config.weight_decay(), resolved.weight_decay), "weight_decay"));
  TALWEG_RETURN_IF_ERROR(PrefixField(ReadFields(config.average(), resolved.average), "average"));
  if (static_cast<size_t>(config.groups_size()) > core::kMaxPatterns) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("there are ", config.groups_size(), " groups, allowed: 0 to ",
                                  core::kMaxPatterns),
                     "groups");
  }
  for (int index = 0; index < config.groups_size(); ++index) {
    core::ParameterGroup& group = resolved.groups.emplace_back();
    group.tensors = config.groups(index).tensors();
    TALWEG_RETURN_IF_ERROR(PrefixField(ReadFields(config.groups(index), group.config),
                                       absl::StrCat("groups[", index, "]")));
  }
  TALWEG_RETURN_IF_ERROR(resolved.Resolve());
  return resolved;
}

v1::SessionConfig ConfigToProto(const core::SessionConfig& config) {
  v1::SessionConfig proto;
  for (const core::TensorSpec& tensor : config.layout->tensors()) {
    v1::Tensor& added = *proto.mutable_layout()->add_tensors();
    added.set_name(tensor.name);
    added.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  }
  const auto set_case = [](google::protobuf::Message& message, absl::string_view name,
                           const core::Config& fields) {
    const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(std::string(name));
    TALWEG_CHECK(field != nullptr);
    WriteFields(fields, *message.GetReflection()->MutableMessage(&message, field));
  };
  set_case(*proto.mutable_optimizer(), config.method->name, *config.optimizer);
  WriteFields(config.schedule.rate(), *proto.mutable_schedule());
  set_case(*proto.mutable_schedule(), config.schedule.kind().name, config.schedule.decay_config());
  WriteFields(config.aggregation, *proto.mutable_aggregation());
  WriteFields(config.clipping, *proto.mutable_clipping());
  WriteFields(config.weight_decay, *proto.mutable_weight_decay());
  WriteFields(config.average, *proto.mutable_average());
  for (const core::ParameterGroup& group : config.groups) {
    v1::ParameterGroup& added = *proto.add_groups();
    added.set_tensors(group.tensors);
    WriteFields(group.config, added);
  }
  return proto;
}

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
  absl::StatusOr<core::SessionConfig> resolved = ConfigFromProto(merged);
  if (!resolved.ok()) return PrefixField(resolved.status(), "config");
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
