// SPDX-License-Identifier: Apache-2.0
//
// Field tables: what a hyper-parameter is called, where it lives, and which values it may take.
//
// A method's config is a plain struct with `static auto Fields()`, a tuple of `Field`. From that
// table alone the server converts the method's proto message, echoes resolved defaults, refuses
// values out of range and applies live changes; snapshots write the same fields. `Config` is the
// struct seen through its table, without its type.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/check.h"
#include "core/base/choice.h"
#include "core/base/dialect.h"

namespace talweg::core {

// Allowed values of a number. NaN and infinities are never allowed.
struct Range {
  double low = -std::numeric_limits<double>::max();
  double high = std::numeric_limits<double>::max();
  bool low_open = false;
  bool high_open = false;

  bool Contains(double value) const;
  // "[0, 1)"; "> 0" and ">= 1" if only one side is bounded; "finite" if no side is.
  std::string Text() const;
};

constexpr Range Closed(double low, double high) { return {low, high, false, false}; }
constexpr Range HalfOpen(double low, double high) { return {low, high, false, true}; }
constexpr Range OpenClosed(double low, double high) { return {low, high, true, false}; }
constexpr Range Finite() { return {}; }
constexpr Range Positive() { return {0, std::numeric_limits<double>::max(), true, false}; }
constexpr Range AtLeast(double low) {
  return {low, std::numeric_limits<double>::max(), false, false};
}

// Whether a field may change in a live session.
enum class Change { kLive, kFixed };
// Whether a client must set a field.
enum class Presence { kOptional, kRequired };

// A number or flag: bool, uint64_t or double.
template <class C, class T>
struct Field {
  absl::string_view name;  // on the wire
  T C::*member;
  Range range = Finite();
  Change change = Change::kLive;
  Presence presence = Presence::kOptional;
};
// Older Clangs deduce nothing for an aggregate by themselves.
template <class C, class T>
Field(absl::string_view, T C::*, Range = {}, Change = {}, Presence = {}) -> Field<C, T>;

// A dialect, one of `allowed`. It is always fixed, because it gives the state its meaning.
template <class C>
struct DialectField {
  absl::string_view name;
  Dialect C::*member;
  DialectSet allowed;
};
template <class C>
DialectField(absl::string_view, Dialect C::*, DialectSet) -> DialectField<C>;

// A value of an enumeration whose values are 0, 1, … in the order of `names`.
template <class C, class E>
struct ChoiceField {
  absl::string_view name;
  E C::*member;
  absl::Span<const absl::string_view> names;
  Change change = Change::kLive;
};
template <class C, class E>
ChoiceField(absl::string_view, E C::*, absl::Span<const absl::string_view>, Change = {})
    -> ChoiceField<C, E>;

// A text of at most `max_bytes`, such as the name of a tensor. It is always fixed.
template <class C>
struct TextField {
  absl::string_view name;
  std::string C::*member;
  size_t max_bytes;
};
template <class C>
TextField(absl::string_view, std::string C::*, size_t) -> TextField<C>;

using FieldValue = std::variant<bool, uint64_t, double, Dialect, Choice, std::string>;

// A value as text, as error messages and tables show it.
std::string FieldValueText(const FieldValue& value);

// One row of a table, without its types.
struct FieldInfo {
  absl::string_view name;
  FieldValue default_value;  // its alternative is the field's kind
  std::string range;         // "[0, 1)", "TORCH, KERAS or PAPER", "at most 256 bytes"
  Change change;
  Presence presence;
};

// A config seen through its field table.
class Config {
 public:
  virtual ~Config() = default;
  virtual std::unique_ptr<Config> Clone() const = 0;
  // Every field in the table's order.
  virtual std::vector<FieldInfo> Fields() const = 0;
  // `name` must be in the table.
  virtual FieldValue Get(absl::string_view name) const = 0;
  // Sets one field. Fails with HYPERPARAMETER_OUT_OF_RANGE, naming the field, if the value is
  // outside its range; then nothing changes. `name` must be in the table, and the kind must fit.
  virtual absl::Status Set(absl::string_view name, const FieldValue& value) = 0;
  // Checks what single ranges cannot say, such as that two fields do not contradict each other.
  virtual absl::Status Validate() const = 0;
  // What makes a client say the optional field `name` ("reduction TRIMMED_MEAN"), whatever its
  // value; empty if the field may be left out. The other fields decide that.
  virtual absl::string_view NeededBy(absl::string_view name) const = 0;
};

namespace internal {

absl::Status OutOfRange(absl::string_view name, absl::string_view got, absl::string_view range);
// "at most 256 bytes"
std::string TextRange(size_t max_bytes);

// The value of a field, in the form in which tables carry it.
template <class F, class C>
FieldValue ValueIn(const F& field, const C& config) {
  return FieldValue(config.*field.member);
}
template <class C, class E>
FieldValue ValueIn(const ChoiceField<C, E>& field, const C& config) {
  const auto index = static_cast<size_t>(config.*field.member);
  TALWEG_CHECK(index < field.names.size());
  return Choice{field.names[index]};
}

template <class C, class T>
FieldInfo InfoOf(const Field<C, T>& field) {
  std::string range = std::is_same_v<T, bool> ? "true or false" : field.range.Text();
  return {field.name, ValueIn(field, C{}), std::move(range), field.change, field.presence};
}
template <class C>
FieldInfo InfoOf(const DialectField<C>& field) {
  return {field.name, ValueIn(field, C{}), field.allowed.Text(), Change::kFixed,
          Presence::kOptional};
}

template <class C, class E>
FieldInfo InfoOf(const ChoiceField<C, E>& field) {
  return {field.name, ValueIn(field, C{}), ChoicesText(field.names), field.change,
          Presence::kOptional};
}

template <class C>
FieldInfo InfoOf(const TextField<C>& field) {
  return {field.name, ValueIn(field, C{}), TextRange(field.max_bytes), Change::kFixed,
          Presence::kOptional};
}

template <class C, class T>
absl::Status SetField(const Field<C, T>& field, C& config, const FieldValue& value) {
  const T* typed = std::get_if<T>(&value);
  TALWEG_CHECK(typed != nullptr);
  if constexpr (!std::is_same_v<T, bool>) {
    if (!field.range.Contains(static_cast<double>(*typed))) {
      return OutOfRange(field.name, FieldValueText(value), field.range.Text());
    }
  }
  config.*field.member = *typed;
  return absl::OkStatus();
}
template <class C>
absl::Status SetField(const DialectField<C>& field, C& config, const FieldValue& value) {
  const Dialect* typed = std::get_if<Dialect>(&value);
  TALWEG_CHECK(typed != nullptr);
  if (!field.allowed.Contains(*typed)) {
    return OutOfRange(field.name, DialectName(*typed), field.allowed.Text());
  }
  config.*field.member = *typed;
  return absl::OkStatus();
}

template <class C, class E>
absl::Status SetField(const ChoiceField<C, E>& field, C& config, const FieldValue& value) {
  const Choice* typed = std::get_if<Choice>(&value);
  TALWEG_CHECK(typed != nullptr);
  for (size_t index = 0; index < field.names.size(); ++index) {
    if (field.names[index] != typed->name) continue;
    config.*field.member = static_cast<E>(index);
    return absl::OkStatus();
  }
  return OutOfRange(field.name, typed->name, ChoicesText(field.names));
}

template <class C>
absl::Status SetField(const TextField<C>& field, C& config, const FieldValue& value) {
  const std::string* typed = std::get_if<std::string>(&value);
  TALWEG_CHECK(typed != nullptr);
  if (typed->size() > field.max_bytes) {
    return OutOfRange(field.name, std::to_string(typed->size()) + " bytes long",
                      TextRange(field.max_bytes));
  }
  config.*field.member = *typed;
  return absl::OkStatus();
}

}  // namespace internal

// The typed side of `Config`. C needs `static auto Fields()`, a tuple of Field, DialectField,
// ChoiceField and TextField. It may have `absl::Status Validate() const` and
// `absl::string_view NeededBy(absl::string_view name) const`.
template <class C>
class ConfigOf final : public Config {
 public:
  ConfigOf() = default;
  explicit ConfigOf(const C& value) : value_(value) {}

  const C& value() const { return value_; }

  std::unique_ptr<Config> Clone() const override { return std::make_unique<ConfigOf>(value_); }

  std::vector<FieldInfo> Fields() const override {
    std::vector<FieldInfo> rows;
    std::apply([&](const auto&... field) { (rows.push_back(internal::InfoOf<C>(field)), ...); },
               C::Fields());
    return rows;
  }

  FieldValue Get(absl::string_view name) const override {
    FieldValue found;
    bool known = false;
    std::apply(
        [&](const auto&... field) {
          ((field.name == name ? (found = internal::ValueIn(field, value_), known = true) : false),
           ...);
        },
        C::Fields());
    TALWEG_CHECK(known);
    return found;
  }

  absl::Status Set(absl::string_view name, const FieldValue& value) override {
    absl::Status status;
    bool known = false;
    std::apply(
        [&](const auto&... field) {
          ((field.name == name
                ? (status = internal::SetField<C>(field, value_, value), known = true)
                : false),
           ...);
        },
        C::Fields());
    TALWEG_CHECK(known);
    return status;
  }

  absl::Status Validate() const override {
    if constexpr (requires(const C& c) { c.Validate(); }) return value_.Validate();
    return absl::OkStatus();
  }

  absl::string_view NeededBy(absl::string_view name) const override {
    if constexpr (requires(const C& c) { c.NeededBy(name); }) return value_.NeededBy(name);
    return "";
  }

 private:
  C value_;
};

// The struct behind a `Config` that is known to hold a C.
template <class C>
const C& ValueOf(const Config& config) {
  const auto* typed = dynamic_cast<const ConfigOf<C>*>(&config);
  TALWEG_CHECK(typed != nullptr);
  return typed->value();
}

}  // namespace talweg::core
