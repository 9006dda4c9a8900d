// SPDX-License-Identifier: Apache-2.0
//
// For tests only: every method of the registry in every variant that its field table allows. A test
// that walks these variants cannot forget a method, a dialect or a flag.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/optimizers/registry.h"

namespace talweg::core {

struct Variant {
  std::string name;  // "momentum dialect=TORCH dampening=0.5"
  const Method* method;
  std::unique_ptr<Config> config;
};

namespace internal {

// Every value of a dialect or a flag. Nothing for a number.
inline std::vector<FieldValue> ValuesOf(const FieldInfo& field) {
  if (std::holds_alternative<bool>(field.default_value)) return {false, true};
  if (!std::holds_alternative<Dialect>(field.default_value)) return {};
  std::vector<FieldValue> values;
  const std::string names = absl::StrReplaceAll(field.range, {{" or ", ", "}});
  for (absl::string_view name : absl::StrSplit(names, ", ")) {
    const auto dialect = DialectFromName(name);
    TALWEG_CHECK(dialect.has_value());
    values.push_back(*dialect);
  }
  return values;
}

// Numbers to try instead of the default.
inline std::vector<FieldValue> ProbesOf(const FieldInfo& field) {
  if (std::holds_alternative<double>(field.default_value)) return {0.5, 2.0, -0.5, 0.0};
  if (std::holds_alternative<uint64_t>(field.default_value)) {
    return {uint64_t{3}, uint64_t{1}, uint64_t{16}, uint64_t{0}};
  }
  return {};
}

inline void Append(const Method& method, const std::string& name, std::unique_ptr<Config> config,
                   std::vector<Variant>& variants) {
  if (config->Validate().ok()) variants.push_back({name, &method, std::move(config)});
}

}  // namespace internal

// Each combination of dialects and flags, with all numbers at their defaults, and with one number
// at a time at another value. Combinations that Validate refuses are left out.
inline std::vector<Variant> AllVariants() {
  std::vector<Variant> variants;
  for (const Method& method : Methods()) {
    std::vector<std::pair<std::string, std::unique_ptr<Config>>> combinations;
    combinations.emplace_back(std::string(method.name), method.default_config());
    const std::vector<FieldInfo> fields = method.default_config()->Fields();
    for (const FieldInfo& field : fields) {
      const std::vector<FieldValue> values = internal::ValuesOf(field);
      if (values.empty()) continue;
      decltype(combinations) extended;
      for (const auto& [name, config] : combinations) {
        for (const FieldValue& value : values) {
          auto changed = config->Clone();
          TALWEG_CHECK(changed->Set(field.name, value).ok());
          extended.emplace_back(absl::StrCat(name, " ", field.name, "=", FieldValueText(value)),
                                std::move(changed));
        }
      }
      combinations = std::move(extended);
    }
    for (auto& [name, config] : combinations) {
      for (const FieldInfo& field : fields) {
        for (const FieldValue& probe : internal::ProbesOf(field)) {
          auto changed = config->Clone();
          if (probe == field.default_value || !changed->Set(field.name, probe).ok()) continue;
          internal::Append(method, absl::StrCat(name, " ", field.name, "=", FieldValueText(probe)),
                           std::move(changed), variants);
          break;
        }
      }
      internal::Append(method, name, std::move(config), variants);
    }
  }
  return variants;
}

}  // namespace talweg::core
