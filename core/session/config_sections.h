// SPDX-License-Identifier: Apache-2.0
//
// A configuration as a list of sections. Saved states, live changes, the accounting of memory and
// the conversion from and to the wire walk this list, as they walk the fields of one section.
//
// A section has fields, or a kind that has fields of its own (the optimizer's method, the
// schedule's decay), or entries (groups). A new section is: a struct with `Fields()` and a member
// of SessionConfig for it; a row at the end of the table in config_sections.cc; its message, and
// the field of that name, in the proto. Everything in core/session and server/wire may walk the
// list.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/field.h"
#include "core/session/session_config.h"

namespace talweg::core {

// What a section says in a configuration. It borrows from that configuration.
struct SectionView {
  struct Entry {
    absl::string_view key;
    const Config* fields;
  };
  const Config* fields = nullptr;       // Null if the section has none beside those of its kind.
  absl::string_view kind;               // "adam"; empty if the section has no kinds.
  const Config* kind_fields = nullptr;  // Null if the section has no kinds.
  std::vector<Entry> entries;
};

// What a section is to say in a configuration that is being made.
struct SectionValue {
  struct Entry {
    std::string key;
    std::unique_ptr<Config> fields;
  };
  std::unique_ptr<Config> fields;
  absl::string_view kind;  // the name in the row of that kind
  std::unique_ptr<Config> kind_fields;
  std::vector<Entry> entries;
};

// One row of the table. A function may be null if the comment says so.
struct Section {
  // The name of the section's field in v1.SessionConfig.
  absl::string_view name;
  // The text of the error if the section or its kind is missing; empty if the section may be left
  // out.
  absl::string_view needed = "";

  // The fields with their defaults. In `config` the sections before this one are set. Null: the
  // section has no fields beside those of its kind.
  std::unique_ptr<Config> (*default_fields)(const SessionConfig& config) = nullptr;

  // The name of the oneof in the section's message that lists the kinds; empty: the section has no
  // kinds.
  absl::string_view kinds = "";
  // The kind of a section that names no kind; empty: a kind must be named.
  absl::string_view default_kind = "";
  // Sets `value.kind` and, with their defaults, `value.kind_fields`. False if no kind has this
  // name. Null: the section has no kinds.
  bool (*choose_kind)(absl::string_view name, SectionValue& value) = nullptr;

  // The fields of an entry with their defaults. Null: the section is no list.
  std::unique_ptr<Config> (*default_entry)() = nullptr;
  // The name of the field of an entry that says which tensors it is for; it is in no field table.
  absl::string_view entry_key = "";

  // Whether the section says anything. If not, its defaults stand, and neither replies nor saved
  // states have it. Null: it always does.
  bool (*is_said)(const SessionConfig& config) = nullptr;
  bool IsSaid(const SessionConfig& config) const { return is_said == nullptr || is_said(config); }

  SectionView (*view)(const SessionConfig& config);
  // `value` is whole and its fields are valid.
  void (*set)(SectionValue value, SessionConfig& config);

  // The beginning of the error for a live change of the kind; empty: a live change is allowed.
  absl::string_view fixed_kind = "";
  // Checks what the fields cannot say alone, and derives what follows from them, once all sections
  // are set. Fails with FIELD_OUT_OF_RANGE, naming the field within the configuration. Null:
  // nothing is checked or derived.
  absl::Status (*resolve)(SessionConfig& config) = nullptr;
  // Checks what a client may not ask for, although a saved state may say it, because earlier
  // versions allowed it. Fails with HYPERPARAMETER_OUT_OF_RANGE or FIELD_OUT_OF_RANGE, naming the
  // field within the configuration. Null: there is nothing of that kind.
  absl::Status (*check_asked)(const SessionConfig& config) = nullptr;
  // Fails with FIELD_IMMUTABLE if a live session may not make this change, although no fixed kind
  // and no fixed field differs. Null: every such change is allowed.
  absl::Status (*check_change)(const SessionConfig& from, const SessionConfig& to) = nullptr;
  // Bytes that a session needs because of this section. Null: none.
  uint64_t (*memory_bytes)(const SessionConfig& config) = nullptr;
};

// Every section, in the order of the fields of v1.SessionConfig. Saved states rely on the first
// seven and their order (saved_config.h).
absl::Span<const Section> Sections();

// Null if no section has this name.
const Section* FindSection(absl::string_view name);

// The section with every default: fields, kind (if there is a default kind), no entries. In
// `config` the sections before it are set.
SectionValue DefaultsOf(const Section& section, const SessionConfig& config);

// A configuration in which every section is still to be set, in the order of the table.
SessionConfig BlankConfig(std::shared_ptr<const Layout> layout);

}  // namespace talweg::core
