// SPDX-License-Identifier: Apache-2.0
#include "core/session/session_config.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/name_pattern.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/session/run_series.h"

namespace talweg::core {
namespace {

absl::Status Corrupt(absl::string_view message) {
  return MakeError(Reason::kStateCorrupt, message);
}

// A field's value is its kind's index in FieldValue, then the value.
void WriteFields(const Config& config, ByteWriter& writer) {
  const std::vector<FieldInfo> fields = config.Fields();
  writer.Uint64(fields.size());
  for (const FieldInfo& field : fields) {
    const FieldValue value = config.Get(field.name);
    writer.Text(field.name);
    writer.Byte(static_cast<uint8_t>(value.index()));
    if (const bool* flag = std::get_if<bool>(&value)) writer.Byte(*flag ? 1 : 0);
    if (const uint64_t* number = std::get_if<uint64_t>(&value)) writer.Uint64(*number);
    if (const double* number = std::get_if<double>(&value)) writer.Double(*number);
    if (const Dialect* dialect = std::get_if<Dialect>(&value)) writer.Text(DialectName(*dialect));
    if (const Choice* choice = std::get_if<Choice>(&value)) writer.Text(choice->name);
  }
}

// `text` keeps what a choice is read from.
absl::Status ReadValue(ByteReader& reader, uint8_t kind, FieldValue& value, std::string& text) {
  switch (kind) {
    case 0: {
      uint8_t flag = 0;
      TALWEG_RETURN_IF_ERROR(reader.Byte(flag));
      value = flag != 0;
      return absl::OkStatus();
    }
    case 1: {
      uint64_t number = 0;
      TALWEG_RETURN_IF_ERROR(reader.Uint64(number));
      value = number;
      return absl::OkStatus();
    }
    case 2: {
      double number = 0;
      TALWEG_RETURN_IF_ERROR(reader.Double(number));
      value = number;
      return absl::OkStatus();
    }
    case 3: {
      std::string name;
      TALWEG_RETURN_IF_ERROR(reader.Text(name));
      const std::optional<Dialect> dialect = DialectFromName(name);
      if (!dialect.has_value()) return Corrupt("state names an unknown dialect");
      value = *dialect;
      return absl::OkStatus();
    }
    case 4: {
      TALWEG_RETURN_IF_ERROR(reader.Text(text));
      value = Choice{text};
      return absl::OkStatus();
    }
    default:
      return Corrupt("state has a field of an unknown kind");
  }
}

absl::Status ReadFields(ByteReader& reader, Config& config) {
  const std::vector<FieldInfo> fields = config.Fields();
  uint64_t count = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(count));
  if (count != fields.size()) return Corrupt("state has another number of fields");
  for (const FieldInfo& field : fields) {
    std::string name;
    uint8_t kind = 0;
    TALWEG_RETURN_IF_ERROR(reader.Text(name));
    TALWEG_RETURN_IF_ERROR(reader.Byte(kind));
    if (name != field.name || kind != field.default_value.index()) {
      return Corrupt(absl::StrCat("state has field ", name, ", expected ", field.name));
    }
    FieldValue value;
    std::string text;
    TALWEG_RETURN_IF_ERROR(ReadValue(reader, kind, value, text));
    if (!config.Set(name, value).ok()) {
      return Corrupt(absl::StrCat("state has a bad value of ", name));
    }
  }
  if (!config.Validate().ok()) return Corrupt("state has fields that contradict each other");
  return absl::OkStatus();
}

bool SameFields(const Config& a, const Config& b) {
  for (const FieldInfo& field : a.Fields()) {
    if (a.Get(field.name) != b.Get(field.name)) return false;
  }
  return true;
}

}  // namespace

absl::Status SessionConfig::Resolve() {
  TALWEG_ASSIGN_OR_RETURN(GroupMap map, GroupMap::Create(*layout, groups));
  for (size_t index = 0; index < groups.size(); ++index) {
    if (!groups[index].config.value().fallback || method->has_fallback) continue;
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("method ", method->name, " has no fallback rule"),
                     absl::StrCat("groups[", index, "].fallback"));
  }
  group_map = std::make_shared<const GroupMap>(std::move(map));
  return absl::OkStatus();
}

ParameterSpace SessionConfig::Space() const {
  ParameterSpace space{layout, {}};
  if (!method->has_fallback) return space;
  space.fallback.resize(layout->tensors().size());
  for (size_t tensor = 0; tensor < space.fallback.size(); ++tensor) {
    const size_t group = group_map->GroupOfTensor(tensor);
    space.fallback[tensor] = group > 0 && groups[group - 1].config.value().fallback;
  }
  return space;
}

uint64_t SessionConfig::MemoryBytes() const {
  const uint64_t elements = layout->num_elements();
  uint64_t bytes = method->state_bytes(*optimizer, Space()) + 3 * elements * sizeof(float);
  bytes += aggregation.value().RoundBytes(elements);
  if (average.value().decay > 0) bytes += elements * sizeof(float);
  if (!groups.empty()) bytes += group_map->memory_bytes();
  for (const ParameterGroup& group : groups) bytes += sizeof(group) + group.tensors.size();
  bytes += aggregation.value().RecordBytes();
  return bytes + layout->memory_bytes() + RunSeries::kBytes;
}

absl::Status CheckLiveChange(const SessionConfig& from, const SessionConfig& to) {
  if (from.layout->digest() != to.layout->digest()) {
    return MakeError(Reason::kFieldImmutable, "a session's layout is fixed", "config.layout");
  }
  if (from.method != to.method) {
    return MakeError(Reason::kFieldImmutable,
                     absl::StrCat("a session's method is fixed: this one is ", from.method->name),
                     "config.optimizer");
  }
  for (const FieldInfo& field : from.optimizer->Fields()) {
    if (field.change == Change::kLive) continue;
    if (from.optimizer->Get(field.name) == to.optimizer->Get(field.name)) continue;
    return MakeError(
        Reason::kFieldImmutable,
        absl::StrCat(field.name, " is fixed: ", FieldValueText(from.optimizer->Get(field.name))),
        absl::StrCat("config.optimizer.", from.method->name, ".", field.name));
  }
  for (const FieldInfo& field : from.aggregation.Fields()) {
    if (field.change == Change::kLive) continue;
    if (from.aggregation.Get(field.name) == to.aggregation.Get(field.name)) continue;
    return MakeError(
        Reason::kFieldImmutable,
        absl::StrCat(field.name, " is fixed: ", FieldValueText(from.aggregation.Get(field.name))),
        absl::StrCat("config.aggregation.", field.name));
  }
  // What would need another memory than the session was charged for.
  if (from.aggregation.value().stages_all() &&
      from.aggregation.value().max_workers != to.aggregation.value().max_workers) {
    return MakeError(Reason::kFieldImmutable, "max_workers is fixed where contributions are staged",
                     "config.aggregation.max_workers");
  }
  if ((from.average.value().decay > 0) != (to.average.value().decay > 0)) {
    return MakeError(Reason::kFieldImmutable, "whether an average is kept is fixed",
                     "config.average.decay");
  }
  if ((from.aggregation.value().gradient_accumulation_steps > 1) !=
      (to.aggregation.value().gradient_accumulation_steps > 1)) {
    return MakeError(Reason::kFieldImmutable, "whether gradients are accumulated is fixed",
                     "config.aggregation.gradient_accumulation_steps");
  }
  if (from.Space().fallback != to.Space().fallback) {
    return MakeError(Reason::kFieldImmutable, "which tensors take the fallback rule is fixed",
                     "config.groups");
  }
  return absl::OkStatus();
}

bool SameConfig(const SessionConfig& a, const SessionConfig& b) {
  return a.layout->digest() == b.layout->digest() && a.method == b.method &&
         &a.schedule.kind() == &b.schedule.kind() && SameFields(*a.optimizer, *b.optimizer) &&
         SameFields(a.schedule.rate(), b.schedule.rate()) &&
         SameFields(a.schedule.decay_config(), b.schedule.decay_config()) &&
         SameFields(a.aggregation, b.aggregation) && SameFields(a.clipping, b.clipping) &&
         SameFields(a.weight_decay, b.weight_decay) && SameFields(a.average, b.average) &&
         std::equal(a.groups.begin(), a.groups.end(), b.groups.begin(), b.groups.end(),
                    [](const ParameterGroup& x, const ParameterGroup& y) {
                      return x.tensors == y.tensors && SameFields(x.config, y.config);
                    });
}

void WriteConfig(const SessionConfig& config, ByteWriter& writer) {
  writer.Uint64(config.layout->tensors().size());
  for (const TensorSpec& tensor : config.layout->tensors()) {
    writer.Text(tensor.name);
    writer.Uint64(tensor.shape.size());
    for (const uint64_t dimension : tensor.shape) writer.Uint64(dimension);
  }
  writer.Text(config.method->name);
  WriteFields(*config.optimizer, writer);
  WriteFields(config.schedule.rate(), writer);
  writer.Text(config.schedule.kind().name);
  WriteFields(config.schedule.decay_config(), writer);
  WriteFields(config.aggregation, writer);
  WriteFields(config.clipping, writer);
  WriteFields(config.weight_decay, writer);
  WriteFields(config.average, writer);
  writer.Uint64(config.groups.size());
  for (const ParameterGroup& group : config.groups) {
    writer.Text(group.tensors);
    WriteFields(group.config, writer);
  }
}

absl::StatusOr<SessionConfig> ReadConfig(ByteReader& reader) {
  uint64_t num_tensors = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_tensors));
  if (num_tensors > Layout::kMaxTensors) return Corrupt("state has too many tensors");
  std::vector<TensorSpec> tensors(num_tensors);
  for (TensorSpec& tensor : tensors) {
    uint64_t num_dimensions = 0;
    TALWEG_RETURN_IF_ERROR(reader.Text(tensor.name));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(num_dimensions));
    if (num_dimensions > Layout::kMaxDimensions) return Corrupt("state has too many dimensions");
    tensor.shape.resize(num_dimensions);
    for (uint64_t& dimension : tensor.shape) TALWEG_RETURN_IF_ERROR(reader.Uint64(dimension));
  }
  absl::StatusOr<Layout> layout = Layout::Create(std::move(tensors));
  if (!layout.ok()) return Corrupt(layout.status().message());

  std::string name;
  TALWEG_RETURN_IF_ERROR(reader.Text(name));
  const Method* method = FindMethod(name);
  if (method == nullptr) return Corrupt(absl::StrCat("state names an unknown method: ", name));
  std::unique_ptr<Config> optimizer = method->default_config();
  TALWEG_RETURN_IF_ERROR(ReadFields(reader, *optimizer));

  ConfigOf<RateConfig> rate;
  TALWEG_RETURN_IF_ERROR(ReadFields(reader, rate));
  TALWEG_RETURN_IF_ERROR(reader.Text(name));
  const DecayKind* kind = FindDecayKind(name);
  if (kind == nullptr) return Corrupt(absl::StrCat("state names an unknown schedule: ", name));
  std::unique_ptr<Config> decay = kind->default_config();
  TALWEG_RETURN_IF_ERROR(ReadFields(reader, *decay));
  ConfigOf<AggregationConfig> aggregation;
  TALWEG_RETURN_IF_ERROR(ReadFields(reader, aggregation));

  SessionConfig config{std::make_shared<const Layout>(*std::move(layout)), method,
                       std::shared_ptr<const Config>(std::move(optimizer)),
                       Schedule(rate, *kind, std::shared_ptr<const Config>(std::move(decay))),
                       aggregation};
  TALWEG_RETURN_IF_ERROR(ReadFields(reader, config.clipping));
  TALWEG_RETURN_IF_ERROR(ReadFields(reader, config.weight_decay));
  TALWEG_RETURN_IF_ERROR(ReadFields(reader, config.average));
  uint64_t num_groups = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_groups));
  if (num_groups > kMaxPatterns) return Corrupt("state has too many groups");
  config.groups.resize(num_groups);
  for (ParameterGroup& group : config.groups) {
    TALWEG_RETURN_IF_ERROR(reader.Text(group.tensors));
    TALWEG_RETURN_IF_ERROR(ReadFields(reader, group.config));
  }
  const absl::Status resolved = config.Resolve();
  if (!resolved.ok()) return Corrupt(resolved.message());
  return config;
}

}  // namespace talweg::core
