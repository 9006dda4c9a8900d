// SPDX-License-Identifier: Apache-2.0
#include "server/ops/log.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/reasons.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace talweg::server {
namespace {

// Bytes of the UTF-8 character that `text` begins with; 0 if it begins with none.
size_t CharacterSize(absl::string_view text) {
  const auto byte = [text](size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned lead = byte(0);
  size_t size = 0;
  if (lead < 0x80) size = 1;
  if (lead >= 0xc2 && lead < 0xe0) size = 2;
  if (lead >= 0xe0 && lead < 0xf0) size = 3;
  if (lead >= 0xf0 && lead < 0xf5) size = 4;
  if (size > text.size()) return 0;
  for (size_t index = 1; index < size; ++index) {
    if ((byte(index) & 0xc0) != 0x80) return 0;
  }
  // The second byte tells whether the character is longer than it need be, a surrogate, or past
  // U+10FFFF.
  const bool wrong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) >= 0xa0) ||
                     (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) >= 0x90);
  return wrong ? 0 : size;
}

// Writes the message as the inside of a JSON string; bytes that are not UTF-8 become question
// marks.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    absl::string_view rest(message.payload.data(), message.payload.size());
    while (!rest.empty()) {
      const absl::string_view character = rest.substr(0, CharacterSize(rest));
      rest.remove_prefix(std::max<size_t>(1, character.size()));
      if (character.empty()) {
        out.push_back('?');
      } else if (character == "\"" || character == "\\") {
        out.push_back('\\');
        out.push_back(character[0]);
      } else if (static_cast<unsigned char>(character[0]) < 0x20) {
        char escaped[8];
        const int size = std::snprintf(escaped, sizeof(escaped), "\\u%04x", character[0]);
        out.append(escaped, escaped + size);
      } else {
        out.append(character.data(), character.data() + character.size());
      }
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return spdlog::details::make_unique<JsonMessage>();
  }
};

}  // namespace

absl::Status SetUpLog(const std::string& format, const std::string& level) {
  constexpr absl::string_view kLevels[] = {"debug", "info", "warning", "error"};
  if (!absl::c_linear_search(kLevels, level)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--log_level is ", level, ", allowed: debug, info, warning, error"));
  }
  if (format != "text" && format != "json") {
    return absl::InvalidArgumentError(
        absl::StrCat("--log_format is ", format, ", allowed: text, json"));
  }
  auto logger = spdlog::stderr_color_mt("talweg");
  if (format == "text") {
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  } else {
    auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    formatter->add_flag<JsonMessage>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":"%*"})");
    logger->set_formatter(std::move(formatter));
  }
  logger->set_level(spdlog::level::from_str(level));
  // gRPC's own lines tell in its words what ours already tell; they help only a person who looks
  // closer.
  if (level != "debug") setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

void LogSessionCreated(absl::string_view session_id, uint64_t num_elements) {
  spdlog::info("session {} created: {} parameters", std::string(session_id), num_elements);
}

void LogSessionDeleted(absl::string_view session_id) {
  spdlog::info("session {} deleted", std::string(session_id));
}

void LogNonFinite(absl::string_view session_id, uint64_t version, uint64_t num_elements,
                  uint64_t first) {
  spdlog::warn(
      "session {}: from version {} on, {} parameters are not finite, the first is element {}",
      std::string(session_id), version, num_elements, first);
}

void LogGivenUp(absl::string_view session_id, uint64_t version, uint64_t num_non_finite) {
  spdlog::warn(
      "session {}: a generation at version {} was given up, because it has no losses to step with; "
      "{} losses were not finite",
      std::string(session_id), version, num_non_finite);
}

void LogBackgroundPool(size_t num_threads, bool is_idle_priority, absl::string_view kernels) {
  spdlog::info("inverses are computed on {} threads {}, by OpenBLAS's kernels for {}", num_threads,
               is_idle_priority ? "of idle priority" : "of low priority", std::string(kernels));
}

void LogRefusal(const absl::Status& status) {
  if (!spdlog::should_log(spdlog::level::debug)) return;
  spdlog::debug("refused, {}: {}", core::ReasonName(status), std::string(status.message()));
}

void LogCallEnded(absl::string_view method, const absl::Status& status, absl::Duration elapsed,
                  uint64_t bytes_in, uint64_t bytes_out) {
  if (!spdlog::should_log(spdlog::level::debug)) return;
  const std::string reason = core::ReasonName(status);
  spdlog::debug("{} ended: {}{}{}, {:.6f} s, {} bytes in, {} bytes out", std::string(method),
                absl::StatusCodeToString(status.code()), reason.empty() ? "" : " ", reason,
                absl::ToDoubleSeconds(elapsed), bytes_in, bytes_out);
}

}  // namespace talweg::server
