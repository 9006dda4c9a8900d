// SPDX-License-Identifier: Apache-2.0
#include "server/ops/repeated_flag.h"

#include <algorithm>
#include <iterator>

#include "absl/container/flat_hash_set.h"
#include "absl/flags/reflection.h"
#include "absl/strings/strip.h"

namespace talweg::server {
namespace {

constexpr absl::string_view kMayRepeat[] = {"flagfile", "fromenv", "tryfromenv", "undefok"};

bool IsBool(absl::string_view name) {
  const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  return flag != nullptr && flag->IsOfType<bool>();
}

}  // namespace

std::string RepeatedFlag(absl::Span<const char* const> arguments) {
  absl::flat_hash_set<std::string> names;
  for (size_t index = 0; index < arguments.size(); ++index) {
    absl::string_view argument = arguments[index];
    if (argument == "--") break;
    if (!absl::ConsumePrefix(&argument, "-") || argument.empty()) continue;
    absl::ConsumePrefix(&argument, "-");
    const size_t equals = argument.find('=');
    absl::string_view name = argument.substr(0, equals);
    const bool known = absl::FindCommandLineFlag(name) != nullptr;
    if (!known && IsBool(absl::StripPrefix(name, "no"))) name = absl::StripPrefix(name, "no");
    const bool has_value = equals != absl::string_view::npos;
    // The next argument is the value, whatever it looks like.
    if (known && !has_value && !IsBool(name)) ++index;
    const bool may_repeat =
        std::find(std::begin(kMayRepeat), std::end(kMayRepeat), name) != std::end(kMayRepeat);
    if (!names.emplace(name).second && !may_repeat) return std::string(name);
  }
  return "";
}

}  // namespace talweg::server
