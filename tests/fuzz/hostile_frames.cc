// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/hostile_frames.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/layout.h"
#include "core/base/reasons.h"
#include "core/session/staged_gradient.h"
#include "server/wire/contribution_assembler.h"
#include "server/wire/contribution_from_proto.h"
#include "server/wire/reply_from_proto.h"
#include "server/wire/section_codec.h"
#include "server/wire/unknown_fields.h"
#include "tests/fuzz/hostile_contributions.h"

namespace talweg::testing {
namespace {

using server::ContributionAssembler;

// Layouts that a case may be about: most fit in one chunk, some need several. The memory is made
// once.
constexpr uint64_t kSizes[] = {1, 2, 5, 4095, 4096, 4097, 10000, 65536 + 3, 3 * 65536 + 4099};

struct Work {
  explicit Work(uint64_t num_elements)
      : model("s", 4711, num_elements, v1::AGGREGATION_MODE_ASYNCHRONOUS),
        streamed(num_elements),
        whole(num_elements) {
    model.Join(2);
    std::vector<core::TensorSpec> tensors;
    if (num_elements > 2) tensors.push_back({"a", {num_elements / 3}});
    tensors.push_back({"b", {num_elements - (num_elements > 2 ? num_elements / 3 : 0)}});
    map = std::make_shared<core::GroupMap>(*core::Layout::Create(std::move(tensors)));
  }
  std::shared_ptr<const core::GroupMap> map;
  SessionModel model;
  core::StagedGradient streamed;
  core::StagedGradient whole;
};

Work& WorkFor(uint64_t num_elements) {
  static auto& works = *new std::map<uint64_t, std::unique_ptr<Work>>();
  std::unique_ptr<Work>& work = works[num_elements];
  if (work == nullptr) work = std::make_unique<Work>(num_elements);
  return *work;
}

void FillChunk(ByteSource& source, const SessionModel& model, const SentVector& sent,
               v1::Chunk& chunk) {
  const uint64_t num_elements = model.num_elements();
  uint64_t begin = sent.numbers.size();
  const bool is_difference = begin == 0 ? source.Once(8) : sent.is_difference != source.Once(64);
  v1::Section& section = *chunk.mutable_section();
  section.set_kind(source.Once(64) ? static_cast<v1::SectionKind>(source.Take<int32_t>())
                   : is_difference ? v1::SECTION_KIND_DIFFERENCE
                                   : v1::SECTION_KIND_GRADIENT);
  section.set_dtype(source.Once(64) ? static_cast<v1::Dtype>(source.Take<int32_t>())
                                    : static_cast<v1::Dtype>(source.Below(4)));
  const uint64_t element_bytes = section.dtype() >= v1::DTYPE_BFLOAT16 ? 2 : 4;
  const uint64_t due = num_elements - std::min(begin, num_elements);
  uint64_t count = std::min(due, (uint64_t{256} << 10) / element_bytes);
  if (source.Once(4)) count = due;
  if (source.Once(8)) count += source.Below(3) - 1;
  if (source.Once(16)) count = source.Below(due + 2);
  if (source.Once(8192)) count = source.Below(uint64_t{5} << 20) / element_bytes;
  count = std::min(count, uint64_t{5} << 20);
  if (source.Once(16))
    begin = source.Once(2) ? source.Take<uint64_t>() : begin + source.Below(3) - 1;
  section.set_begin_element(begin);
  if (section.dtype() <= v1::DTYPE_FLOAT32 && source.Once(8)) {
    for (uint64_t index = 0; index < std::min<uint64_t>(count, 10000); ++index) {
      section.add_values(source.Take<float>());
    }
    if (source.Once(16)) section.set_data("x");
    if (source.Once(4)) chunk.set_crc32c(source.Take<uint32_t>());
    return;
  }
  std::string& data = *section.mutable_data();
  data.assign(count * element_bytes, static_cast<char>(source.Take<uint8_t>()));
  const absl::string_view head = source.Bytes(std::min<size_t>(data.size(), 64));
  std::copy(head.begin(), head.end(), data.begin());
  if (model.last().has_value() && element_bytes == sizeof(float) && begin < num_elements &&
      !model.last()->sent.abstains && source.Once(3)) {
    // Send again what was sent before, as a client does that did not hear the answer.
    const std::vector<float>& gradient = model.last()->sent.numbers;
    std::memcpy(data.data(), gradient.data() + begin,
                std::min(data.size(), (num_elements - begin) * sizeof(float)));
  }
  if (source.Once(32)) data.resize(data.size() + source.Below(4));
  if (source.Once(2)) chunk.set_crc32c(core::Crc32c(data));
  if (source.Once(16)) chunk.set_crc32c(source.Take<uint32_t>());
}

// Compares the numbers that came in frames with the same numbers, staged in one piece. Returns what
// differs.
std::string CompareWithWhole(Work& work, const std::vector<float>& numbers) {
  work.whole.Begin(work.map);
  work.whole.Stage({0, numbers.size()}, core::Dtype::kFloat32,
                   reinterpret_cast<const char*>(numbers.data()));
  if (std::memcmp(numbers.data(), work.streamed.values().data(), numbers.size() * sizeof(float)) !=
      0) {
    return "staged values are not those sent";
  }
  if (work.whole.Digest() != work.streamed.Digest()) return "digest differs";
  if (work.whole.finite() != work.streamed.finite()) return "finite differs";
  const std::vector<double> sums = work.whole.SquaredNorms();
  const std::vector<double> streamed_sums = work.streamed.SquaredNorms();
  if (std::memcmp(sums.data(), streamed_sums.data(), sums.size() * sizeof(double)) != 0 &&
      work.whole.finite()) {
    return "sums of squares differ";
  }
  return "";
}

}  // namespace

v1::StreamStepRequest HostileFrame(ByteSource& source, const SessionModel& model, bool open,
                                   const SentVector& sent) {
  v1::StreamStepRequest frame;
  if (source.Once(32)) {
    const absl::string_view raw = source.Bytes(source.Below(200));
    if (ParseQuietly(raw, frame)) return frame;
    frame.Clear();
  }
  enum { kHeader, kChunk, kCommit, kEmpty };
  const bool whole = sent.abstains || sent.numbers.size() == model.num_elements();
  uint64_t kind = !open ? kHeader : whole ? kCommit : kChunk;
  if (source.Once(24)) kind = source.Below(4);
  if (kind == kHeader) {
    v1::StreamHeader& header = *frame.mutable_header();
    *header.mutable_header() =
        model.last().has_value() && source.Once(4) ? model.last()->header : model.NextHeader();
    if (source.Once(2))
      BendHeader(source, model, *header.mutable_header(), *header.mutable_reply());
    if (source.Once(64)) header.clear_header();
  } else if (kind == kChunk) {
    FillChunk(source, model, sent, *frame.mutable_chunk());
  } else if (kind == kCommit) {
    frame.mutable_commit();
  }
  if (source.Once(128)) {
    if (frame.has_chunk()) {
      AddUnknownField(source, *frame.mutable_chunk());
    } else {
      AddUnknownField(source, frame);
    }
  }
  return frame;
}

std::string RunFrames(absl::string_view bytes, Seen* seen) {
  ByteSource source(bytes);
  const uint64_t num_elements = kSizes[source.Once(16) ? 7 + source.Below(2) : source.Below(7)];
  Work& work = WorkFor(num_elements);
  ContributionAssembler assembler;
  SentVector sent;
  while (!source.empty()) {
    const bool was_open = assembler.open();
    const uint64_t begin = assembler.next_element();
    const v1::StreamStepRequest frame = HostileFrame(source, work.model, was_open, sent);
    const Complaints wrong = frame.has_header() && !was_open
                                 ? work.model.AboutHeaderFrame(frame, true, Taker::kChecks)
                                 : AboutFrame(frame, was_open, sent, num_elements);
    absl::Status status = server::CheckNoUnknownFields(frame);
    if (status.ok()) status = assembler.CheckOrder(frame.frame_case());
    if (status.ok() && frame.has_header()) {
      status = server::CheckHeader(frame.header().header());
      if (status.ok()) status = server::ReplyFromProto(frame.header().reply()).status();
      status = core::PrefixField(status, "header");
      const bool abstains = frame.header().header().abstain();
      if (status.ok()) {
        status = core::PrefixField(
            server::StatisticsShapeOf(frame.header().header(), core::LayerTable()).status(),
            "header");
      }
      if (status.ok()) status = assembler.Open(abstains ? 0 : num_elements);
      sent = {{}, false, abstains};
      work.streamed.Begin(work.map);
    } else if (status.ok() && frame.has_commit()) {
      status = assembler.Commit();
      if (status.ok() && !sent.abstains) {
        const std::string differs = CompareWithWhole(work, sent.numbers);
        if (!differs.empty()) return differs;
      }
    } else if (status.ok()) {
      const absl::StatusOr<server::ContributionAssembler::Numbers> added =
          assembler.Add(frame.chunk());
      status = added.status();
      if (added.ok()) {
        const SentVector part = SentIn(frame.chunk().section());
        sent.numbers.insert(sent.numbers.end(), part.numbers.begin(), part.numbers.end());
        sent.is_difference = part.is_difference;
        if (assembler.next_element() != sent.numbers.size()) return "elements are counted wrongly";
        if (assembler.is_difference() != sent.is_difference) return "the kind is another";
        work.streamed.Append(added->numbers);
      }
    }
    const std::string judged = JudgeAnswer(wrong, !status.ok(), ComplaintOf(status));
    if (!judged.empty()) return absl::StrCat(judged, ": ", status.ToString());
    if (seen != nullptr) {
      ++(*seen)[!status.ok() ? core::ReasonName(status) : frame.has_commit() ? "whole" : "part"];
    }
    if (status.ok()) continue;
    if (assembler.open() != was_open || assembler.next_element() != begin) {
      return "an error changed something";
    }
    if (source.Once(4)) return "";  // a stream would be over; others see that nothing changed
  }
  return "";
}

namespace {

uint16_t HalfAt(const std::string& bytes, size_t index) {
  uint16_t half = 0;
  std::memcpy(&half, bytes.data() + 1 + index * 2, sizeof(half));
  return half;
}

float FloatOf(core::Dtype dtype, uint16_t half) {
  float value = 0;
  core::ToFloat32(dtype, reinterpret_cast<const char*>(&half), {&value, 1});
  return value;
}

// The magnitude of a number; an infinity stands for the value just beyond the largest finite one.
double Magnitude(core::Dtype dtype, uint16_t half) {
  const double value = std::fabs(static_cast<double>(FloatOf(dtype, half)));
  if (!std::isinf(value)) return value;
  return std::ldexp(1.0, dtype == core::Dtype::kFloat16 ? 16 : 128);
}

// The value by definition, from the bits; NaN for any NaN.
double ExactValue(core::Dtype dtype, uint16_t half) {
  const int fraction_bits = dtype == core::Dtype::kFloat16 ? 10 : 7;
  const int bias = dtype == core::Dtype::kFloat16 ? 15 : 127;
  const int exponent = (half & 0x7fff) >> fraction_bits;
  const int fraction = half & ((1 << fraction_bits) - 1);
  const double sign = (half & 0x8000) != 0 ? -1 : 1;
  if (exponent == 2 * bias + 1) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

std::string CheckNearest(core::Dtype dtype, float value, uint16_t half) {
  if (std::isnan(value)) return std::isnan(FloatOf(dtype, half)) ? "" : "a NaN is lost";
  if (std::signbit(value) != ((half & 0x8000) != 0)) return "a sign is lost";
  const uint16_t magnitude = half & 0x7fff;
  const double exact = std::fabs(static_cast<double>(value));
  if (std::isinf(value)) return std::isinf(FloatOf(dtype, half)) ? "" : "an infinity is lost";
  const double error = std::fabs(Magnitude(dtype, magnitude) - exact);
  if (std::isinf(FloatOf(dtype, half)) && exact >= Magnitude(dtype, magnitude)) return "";
  for (const int step : {-1, 1}) {
    if (magnitude == 0 && step < 0) continue;
    if (std::isinf(FloatOf(dtype, magnitude)) && step > 0) continue;
    const double other =
        std::fabs(Magnitude(dtype, static_cast<uint16_t>(magnitude + step)) - exact);
    if (other < error || (other == error && (half & 1) != 0)) {
      return absl::StrCat("not the nearest: ", value, " became ", half);
    }
  }
  return "";
}

}  // namespace

std::string RunDtypes(absl::string_view bytes) {
  ByteSource source(bytes);
  const core::Dtype half_dtype = source.Once(2) ? core::Dtype::kFloat16 : core::Dtype::kBfloat16;
  {
    v1::Section section;
    const absl::string_view raw = source.Bytes(source.Below(64));
    if (section.ParseFromArray(raw.data(), static_cast<int>(raw.size()))) {
      const auto numbers = server::NumbersOf(section, v1::SECTION_KIND_GRADIENT);
      if (numbers.ok() && numbers->bytes.size() % core::DtypeBytes(numbers->dtype) != 0) {
        return "a section is no whole number of elements";
      }
    }
  }
  // From half the size: every element exact, and back the same.
  constexpr uint32_t kCanary = 0x5ca1ab1e;
  const std::string halves(source.Bytes(source.Below(120)));
  const size_t num_halves = halves.size() / 2;
  const std::string unaligned = "x" + halves;
  std::vector<float> wide(num_halves + 1);
  std::memcpy(&wide[num_halves], &kCanary, sizeof(kCanary));
  core::ToFloat32(half_dtype, unaligned.data() + 1, absl::MakeSpan(wide).subspan(0, num_halves));
  std::string back(1 + 2 * num_halves + 2, 'y');
  core::FromFloat32(half_dtype, absl::MakeConstSpan(wide).subspan(0, num_halves), back.data() + 1);
  for (size_t index = 0; index < num_halves; ++index) {
    const uint16_t half = HalfAt(unaligned, index);
    const double exact = ExactValue(half_dtype, half);
    if (std::isnan(exact)) {
      if (!std::isnan(wide[index]) || !std::isnan(FloatOf(half_dtype, HalfAt(back, index)))) {
        return "a NaN is lost";
      }
    } else if (static_cast<double>(wide[index]) != exact || HalfAt(back, index) != half) {
      return absl::StrCat("not exact: ", half);
    }
  }
  if (std::memcmp(&wide[num_halves], &kCanary, sizeof(kCanary)) != 0 || back[0] != 'y' ||
      back.substr(1 + 2 * num_halves) != "yy") {
    return "something beside the elements was written";
  }
  // From float32: the nearest; a vector gives what single numbers give.
  const std::string floats(source.Bytes(source.Below(120)));
  const size_t num_floats = floats.size() / sizeof(float);
  std::vector<float> values(num_floats);
  const std::string unaligned_floats = "x" + floats;
  core::ToFloat32(core::Dtype::kFloat32, unaligned_floats.data() + 1, absl::MakeSpan(values));
  if (num_floats > 0 &&
      std::memcmp(values.data(), floats.data(), num_floats * sizeof(float)) != 0) {
    return "float32 is not copied as it is";
  }
  std::string narrow(1 + 2 * num_floats, 'y');
  core::FromFloat32(half_dtype, values, narrow.data() + 1);
  for (size_t index = 0; index < num_floats; ++index) {
    const std::string wrong = CheckNearest(half_dtype, values[index], HalfAt(narrow, index));
    if (!wrong.empty()) return wrong;
    uint16_t alone = 0;
    core::FromFloat32(half_dtype, {&values[index], 1}, reinterpret_cast<char*>(&alone));
    if (alone != HalfAt(narrow, index)) return "a vector gives other bits than its numbers";
  }
  return "";
}

}  // namespace talweg::testing
