// SPDX-License-Identifier: Apache-2.0
#include "core/session/saved_config.h"

#include <algorithm>
#include <map>
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

std::string MagicOf(uint32_t format) { return absl::StrCat("talweg state ", format, "\n"); }

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
    if (const std::string* text = std::get_if<std::string>(&value)) writer.Text(*text);
  }
}

absl::Status BadValue(absl::string_view name) {
  return Corrupt(absl::StrCat("state has a bad value of ", name));
}

// Reads a value for the field `name`. `kind` is valid. If the value is a choice, its name is kept
// in `text`.
absl::Status ReadValue(ByteReader& reader, absl::string_view name, size_t kind, FieldValue& value,
                       std::string& text) {
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
      TALWEG_RETURN_IF_ERROR(reader.Text(text));
      const std::optional<Dialect> dialect = DialectFromName(text);
      if (!dialect.has_value()) return BadValue(name);
      value = *dialect;
      return absl::OkStatus();
    }
    case 4:
      TALWEG_RETURN_IF_ERROR(reader.Text(text));
      value = Choice{text};
      return absl::OkStatus();
    default:
      TALWEG_RETURN_IF_ERROR(reader.Text(text));
      value = text;
      return absl::OkStatus();
  }
}

// Reads one field into `config`. `infos` are the fields of `config`, and `seen` says which of them
// were read before.
absl::Status ReadField(ByteReader& reader, absl::string_view path,
                       const std::vector<FieldInfo>& infos, std::vector<bool>& seen,
                       Config& config) {
  std::string name;
  uint8_t kind = 0;
  TALWEG_RETURN_IF_ERROR(reader.Text(name));
  TALWEG_RETURN_IF_ERROR(reader.Byte(kind));
  const auto info = std::find_if(infos.begin(), infos.end(),
                                 [&](const FieldInfo& known) { return known.name == name; });
  const std::string full_name = absl::StrCat(path, ".", name);
  if (info == infos.end()) {
    return Corrupt(absl::StrCat("state has field ", full_name, ", which is unknown here"));
  }
  const auto index = static_cast<size_t>(info - infos.begin());
  if (seen[index]) return Corrupt(absl::StrCat("state has field ", full_name, " twice"));
  seen[index] = true;
  if (kind != info->default_value.index()) {
    return Corrupt(absl::StrCat("state has field ", full_name, " of another kind"));
  }
  FieldValue value;
  std::string text;
  TALWEG_RETURN_IF_ERROR(ReadValue(reader, full_name, kind, value, text));
  return config.Set(name, value).ok() ? absl::OkStatus() : BadValue(full_name);
}

// Reads fields over the defaults that `config` has.
absl::Status ReadFields(ByteReader& reader, absl::string_view path, Config& config) {
  const std::vector<FieldInfo> infos = config.Fields();
  std::vector<bool> seen(infos.size());
  uint64_t count = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(count));
  for (uint64_t number = 0; number < count; ++number) {
    TALWEG_RETURN_IF_ERROR(ReadField(reader, path, infos, seen, config));
  }
  for (size_t index = 0; index < infos.size(); ++index) {
    if (seen[index] || infos[index].presence == Presence::kOptional) continue;
    return Corrupt(absl::StrCat("state lacks field ", path, ".", infos[index].name));
  }
  const absl::Status valid = config.Validate();
  if (valid.ok()) return absl::OkStatus();
  return Corrupt(
      absl::StrCat("state has fields of ", path, " that contradict each other: ", valid.message()));
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
    writer.Text(entry.key);
    WriteFields(*entry.fields, writer);
  }
}

// Reads what WriteSection wrote over the defaults that `value` has.
absl::Status ReadSection(ByteReader& reader, const Section& section, SectionValue& value) {
  if (value.fields != nullptr) {
    TALWEG_RETURN_IF_ERROR(ReadFields(reader, section.name, *value.fields));
  }
  if (section.choose_kind != nullptr) {
    std::string kind;
    TALWEG_RETURN_IF_ERROR(reader.Text(kind));
    const std::string path = absl::StrCat(section.name, ".", kind);
    if (!section.choose_kind(kind, value)) {
      return Corrupt(
          absl::StrCat("state has ", section.kinds, " ", path, ", which is unknown here"));
    }
    TALWEG_RETURN_IF_ERROR(ReadFields(reader, path, *value.kind_fields));
  }
  if (section.default_entry == nullptr) return absl::OkStatus();
  uint64_t num_entries = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(num_entries));
  if (num_entries > kMaxPatterns) return Corrupt(absl::StrCat("state has too many ", section.name));
  for (uint64_t index = 0; index < num_entries; ++index) {
    SectionValue::Entry& entry = value.entries.emplace_back();
    entry.fields = section.default_entry();
    TALWEG_RETURN_IF_ERROR(reader.Text(entry.key));
    TALWEG_RETURN_IF_ERROR(
        ReadFields(reader, absl::StrCat(section.name, "[", index, "]"), *entry.fields));
  }
  return absl::OkStatus();
}

// Every section of format 3, in the order of the table.
absl::Status ReadUnnamedSections(ByteReader& reader, SessionConfig& config) {
  constexpr size_t kNumUnnamed = 7;
  for (size_t index = 0; index < Sections().size(); ++index) {
    const Section& section = Sections()[index];
    SectionValue value = DefaultsOf(section, config);
    if (index < kNumUnnamed) TALWEG_RETURN_IF_ERROR(ReadSection(reader, section, value));
    section.set(std::move(value), config);
  }
  return absl::OkStatus();
}

// Reads every section of format 4. A default may depend on the sections before it, so the sections
// are read in the order of the table, whatever the order of the bytes is.
absl::Status ReadNamedSections(ByteReader& reader, SessionConfig& config) {
  uint64_t count = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(count));
  std::map<std::string, std::string> bodies;
  for (uint64_t number = 0; number < count; ++number) {
    std::string name;
    TALWEG_RETURN_IF_ERROR(reader.Text(name));
    if (FindSection(name) == nullptr) {
      return Corrupt(absl::StrCat("state has section ", name, ", which is unknown here"));
    }
    const auto [body, is_new] = bodies.try_emplace(name);
    if (!is_new) return Corrupt(absl::StrCat("state has section ", name, " twice"));
    TALWEG_RETURN_IF_ERROR(reader.Text(body->second));
  }
  for (const Section& section : Sections()) {
    SectionValue value = DefaultsOf(section, config);
    const auto body = bodies.find(std::string(section.name));
    if (body != bodies.end()) {
      ByteReader section_reader(body->second);
      TALWEG_RETURN_IF_ERROR(ReadSection(section_reader, section, value));
      TALWEG_RETURN_IF_ERROR(section_reader.End());
    } else if (!section.needed.empty()) {
      return Corrupt(absl::StrCat("state lacks section ", section.name));
    }
    section.set(std::move(value), config);
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

void WriteStateFormat(ByteWriter& writer) { writer.Text(MagicOf(kStateFormat)); }

absl::StatusOr<uint32_t> ReadStateFormat(ByteReader& reader) {
  std::string magic;
  TALWEG_RETURN_IF_ERROR(reader.Text(magic));
  for (uint32_t format = kOldestStateFormat; format <= kStateFormat; ++format) {
    if (magic == MagicOf(format)) return format;
  }
  return Corrupt("state has another format");
}

void WriteConfig(const SessionConfig& config, ByteWriter& writer) {
  WriteLayout(*config.layout, writer);
  const auto is_said = [&](const Section& section) { return section.IsSaid(config); };
  writer.Uint64(
      static_cast<uint64_t>(std::count_if(Sections().begin(), Sections().end(), is_said)));
  for (const Section& section : Sections()) {
    if (!is_said(section)) continue;
    ByteWriter body;
    WriteSection(section.view(config), section, body);
    writer.Text(section.name);
    writer.Text(body.bytes());
  }
}

absl::StatusOr<SessionConfig> ReadConfig(ByteReader& reader, uint32_t format) {
  TALWEG_ASSIGN_OR_RETURN(Layout layout, ReadLayout(reader));
  SessionConfig config = BlankConfig(std::make_shared<const Layout>(std::move(layout)));
  TALWEG_RETURN_IF_ERROR(format == 3 ? ReadUnnamedSections(reader, config)
                                     : ReadNamedSections(reader, config));
  const absl::Status resolved = config.Resolve();
  if (!resolved.ok()) return Corrupt(resolved.message());
  return config;
}

}  // namespace talweg::core
