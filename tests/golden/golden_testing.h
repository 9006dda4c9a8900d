// SPDX-License-Identifier: Apache-2.0
//
// What the golden tests share: the generator of make_golden.py, once more in C++, and how they read
// golden files. For the golden tests only.
#pragma once

#include <cmath>
#include <cstdint>
#include <fstream>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field.h"
#include "nlohmann/json.hpp"

namespace talweg::core {

using Json = nlohmann::json;

// Makes the same numbers as the generator of make_golden.py.
class Generator {
 public:
  explicit Generator(uint64_t seed) : state_(seed) {}

  double Next() {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<double>(state_ >> 40) / 8388608 - 1;
  }
  std::vector<float> Start(size_t size) {
    std::vector<float> start(size);
    for (float& value : start) value = static_cast<float>(Next());
    return start;
  }
  std::vector<float> Gradient(size_t size, size_t step) {
    std::vector<float> gradient(size);
    for (size_t i = 0; i < size; ++i) {
      const double noise = Next();
      if ((i + step) % 11 == 0) continue;
      gradient[i] = static_cast<float>(
          std::ldexp(noise + 0.25 * static_cast<double>(i % 3), -4 * static_cast<int>(i % 8)));
    }
    return gradient;
  }

 private:
  uint64_t state_;
};

// The file `name`.json. The result is no JSON object if the file cannot be read.
inline Json GoldenFile(const std::string& name) {
  std::ifstream file(absl::StrCat(TALWEG_GOLDEN_DIR "/", name, ".json"));
  return Json::parse(file, nullptr, /*allow_exceptions=*/false);
}

inline FieldValue ValueOf(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string()) return DialectFromName(value.get<std::string>()).value();
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  return value.get<double>();
}

// Sets the fields that `values` names, and CHECKs that all of them are known and allowed.
inline void SetFields(const Json& values, Config& config) {
  for (const auto& [name, value] : values.items()) {
    // Text is a name of the field's own kind.
    const FieldValue old = config.Get(name);
    FieldValue changed;
    if (std::holds_alternative<Choice>(old)) {
      changed = Choice{value.get_ref<const std::string&>()};
    } else if (std::holds_alternative<std::string>(old)) {
      changed = value.get<std::string>();
    } else {
      changed = ValueOf(value);
    }
    TALWEG_CHECK(config.Set(name, changed).ok());
  }
  TALWEG_CHECK(config.Validate().ok());
}

// The distance between float32 numbers at the magnitude of `value`, which is not 0.
inline double UlpOf(double value) { return std::ldexp(1.0, std::ilogb(value) - 23); }

}  // namespace talweg::core
