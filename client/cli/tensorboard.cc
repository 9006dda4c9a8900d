// SPDX-License-Identifier: Apache-2.0
#include "client/cli/tensorboard.h"

#include <array>
#include <bit>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cli/record_columns.h"

namespace talweg {
namespace {

// Castagnoli's polynomial, reflected.
constexpr uint32_t kPolynomial = 0x82f63b78;

std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

uint32_t MaskedCrc(absl::string_view bytes) {
  static const std::array<uint32_t, 256> table = MakeTable();
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) {
    crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

template <class Number>
void AppendLittleEndian(Number number, std::string& to) {
  for (size_t byte = 0; byte < sizeof(Number); ++byte) {
    to.push_back(static_cast<char>(number >> (8 * byte)));
  }
}

// Protobuf's wire format: a field is its number and kind, then its value.
enum WireKind { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendVarint(uint64_t number, std::string& to) {
  for (; number >= 0x80; number >>= 7) to.push_back(static_cast<char>(number | 0x80));
  to.push_back(static_cast<char>(number));
}
void AppendKey(int field, WireKind kind, std::string& to) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | kind, to);
}
void AppendDouble(int field, double value, std::string& to) {
  AppendKey(field, kFixed64, to);
  AppendLittleEndian(std::bit_cast<uint64_t>(value), to);
}
void AppendFloat(int field, float value, std::string& to) {
  AppendKey(field, kFixed32, to);
  AppendLittleEndian(std::bit_cast<uint32_t>(value), to);
}
void AppendBytes(int field, absl::string_view value, std::string& to) {
  AppendKey(field, kBytes, to);
  AppendVarint(value.size(), to);
  absl::StrAppend(&to, value);
}

void AppendFrame(absl::string_view event, std::string& to) {
  std::string length;
  AppendLittleEndian(uint64_t{event.size()}, length);
  absl::StrAppend(&to, length);
  AppendLittleEndian(MaskedCrc(length), to);
  absl::StrAppend(&to, event);
  AppendLittleEndian(MaskedCrc(event), to);
}

std::string SummaryOf(const v1::StepRecord& record) {
  std::string summary;
  for (const RecordColumn& column : RecordColumns()) {
    const std::optional<double> number = column.value(record);
    if (!number.has_value()) continue;
    std::string value;
    AppendBytes(1, column.name, value);
    AppendFloat(2, static_cast<float>(*number), value);
    AppendBytes(1, value, summary);
  }
  return summary;
}

}  // namespace

std::string TensorBoardEvents(absl::Span<const v1::StepRecord> records) {
  std::string file;
  std::string event;
  AppendDouble(1, records.empty() ? 0 : RecordSeconds(records.front()), event);
  AppendBytes(3, "brain.Event:2", event);
  AppendFrame(event, file);
  for (const v1::StepRecord& record : records) {
    event.clear();
    AppendDouble(1, RecordSeconds(record), event);
    AppendKey(2, kVarint, event);
    AppendVarint(record.version(), event);
    AppendBytes(5, SummaryOf(record), event);
    AppendFrame(event, file);
  }
  return file;
}

std::string TensorBoardFileName(const std::string& session_id) {
  return absl::StrCat("events.out.tfevents.0000000000.", session_id);
}

}  // namespace talweg
