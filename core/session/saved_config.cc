// SPDX-License-Identifier: Apache-2.0
#include "core/session/saved_config.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/name_pattern.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/session/config_sections.h"

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

void WriteSection(const SectionView& view, const Section& section, ByteWriter& writer) {
  if (view.fields != nullptr) WriteFields(*view.fields, writer);
  if (section.choose_kind != nullptr) {
    writer.Text(view.kind);
    WriteFields(*view.kind_fields, writer);
  }
  if (section.default_entry == nullptr) return;
  writer.Uint64(view.entries.size());
  for (const SectionView::Entry& entry : view.entries) {
    writer.Text(entry.tensors);
    WriteFields(*entry.fields, writer);
  }
}

absl::Status ReadSection(ByteReader& reader, const Section& section, SectionValue& value) {
  if (value.fields != nullptr) TALWEG_RETURN_IF_ERROR(ReadFields(reader, *value.fields));
  if (section.choose_kind != nullptr) {
    std::string kind;
    TALWEG_RETURN_IF_ERROR(reader.Text(kind));
    if (!section.choose_kind(kind, value)) {
      return Corrupt(absl::StrCat("state names an unknown ", section.kinds, ": ", kind));
    }
    TALWEG_RETURN_IF_ERROR(ReadFields(reader, *value.kind_fields));
  }
  if (section.default_entry == nullptr) return absl::OkStatus();
  uint64_t num_entries = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_entries));
  if (num_entries > kMaxPatterns) return Corrupt(absl::StrCat("state has too many ", section.name));
  for (uint64_t number = 0; number < num_entries; ++number) {
    SectionValue::Entry& entry = value.entries.emplace_back();
    entry.fields = section.default_entry();
    TALWEG_RETURN_IF_ERROR(reader.Text(entry.tensors));
    TALWEG_RETURN_IF_ERROR(ReadFields(reader, *entry.fields));
  }
  return absl::OkStatus();
}

void WriteLayout(const Layout& layout, ByteWriter& writer) {
  writer.Uint64(layout.tensors().size());
  for (const TensorSpec& tensor : layout.tensors()) {
    writer.Text(tensor.name);
    writer.Uint64(tensor.shape.size());
    for (const uint64_t dimension : tensor.shape) writer.Uint64(dimension);
  }
}

absl::StatusOr<Layout> ReadLayout(ByteReader& reader) {
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
  return layout;
}

}  // namespace

void WriteConfig(const SessionConfig& config, ByteWriter& writer) {
  WriteLayout(*config.layout, writer);
  for (const Section& section : Sections()) WriteSection(section.view(config), section, writer);
}

absl::StatusOr<SessionConfig> ReadConfig(ByteReader& reader) {
  TALWEG_ASSIGN_OR_RETURN(Layout layout, ReadLayout(reader));
  SessionConfig config = BlankConfig(std::make_shared<const Layout>(std::move(layout)));
  for (const Section& section : Sections()) {
    SectionValue value = DefaultsOf(section, config);
    TALWEG_RETURN_IF_ERROR(ReadSection(reader, section, value));
    section.set(std::move(value), config);
  }
  const absl::Status resolved = config.Resolve();
  if (!resolved.ok()) return Corrupt(resolved.message());
  return config;
}

}  // namespace talweg::core
