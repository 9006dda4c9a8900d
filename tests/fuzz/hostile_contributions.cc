// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/hostile_contributions.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <vector>

#include "google/protobuf/stubs/common.h"
#include "google/protobuf/unknown_field_set.h"

namespace talweg::testing {
namespace {

// One of the `likely` values, or any value.
uint64_t Number(ByteSource& source, std::initializer_list<uint64_t> likely) {
  const uint64_t index = source.Below(likely.size() + 1);
  return index < likely.size() ? *(likely.begin() + index) : source.Take<uint64_t>();
}

std::string Name(ByteSource& source, const std::string& right) {
  switch (source.Below(9)) {
    case 0:
      return "";
    case 1:
      return right + " ";
    case 2:
      return "." + right;
    case 3:
      return std::string(128, 'n');
    case 4:
      return std::string(129, 'n');
    case 5:
      return right + std::string(1, '\0');
    case 6:
      return "\xc3\xa9";  // a letter, but none of ours
    case 7:
      return std::string(1, static_cast<char>(source.Below(128)));
    default:
      return right + "2";
  }
}

// Any number except those so large that a few of them would add up to an infinity.
float Element(ByteSource& source) {
  const float value = source.Take<float>();
  return std::fabs(value) < 1e30f ? value : static_cast<float>(source.Below(100)) / 8;
}

std::vector<float> Gradient(ByteSource& source, uint64_t num_elements) {
  std::vector<float> gradient(num_elements, Element(source));
  for (size_t index = 0; index < std::min<size_t>(num_elements, 4); ++index) {
    gradient[index] = Element(source);
  }
  gradient.back() = Element(source);
  return gradient;
}

void BendSections(ByteSource& source, v1::StepRequest& request) {
  if (request.sections().empty()) return;  // an abstention
  v1::Section& section = *request.mutable_sections(0);
  std::string& data = *section.mutable_data();
  switch (source.Below(15)) {
    case 0:
      return request.clear_sections();
    case 1: {
      const v1::Section again = section;
      *request.add_sections() = again;
      return;
    }
    case 2:
      return request.add_sections()->set_kind(static_cast<v1::SectionKind>(source.Below(8)));
    case 3:
      return section.set_kind(static_cast<v1::SectionKind>(Number(source, {0, 2, 3, 4, 5, 7})));
    case 4:
      return section.set_dtype(static_cast<v1::Dtype>(Number(source, {2, 3, 4})));
    case 5:
      return section.set_begin_element(Number(source, {1, 2, uint64_t{1} << 62}));
    case 6:
      return data.resize(data.size() - std::min<size_t>(data.size(), source.Below(9)));
    case 7:
      data.append(source.Below(9), 'x');
      return;
    case 8:
      return section.add_values(source.Take<float>());
    case 9:
      data.clear();
      for (uint64_t count = source.Below(8); count > 0; --count) {
        section.add_values(Element(source));
      }
      return;
    case 10:
      for (uint64_t count = 14 + source.Below(4); count > 0; --count) request.add_sections();
      return;
    case 11:
      return data.clear();
    case 12: {
      const uint32_t bits = source.Once(2) ? 0x7f80'0000 : 0xffc0'0000 + source.Take<uint16_t>();
      if (data.size() < sizeof(bits)) return;
      std::memcpy(data.data() + source.Below(data.size() - sizeof(bits) + 1), &bits, sizeof(bits));
      return;
    }
    case 13:
      return AddUnknownField(source, section);
    default:
      return section.clear_kind();
  }
}

// Makes of the request what a line does that loses or changes bytes.
void BendBytes(ByteSource& source, v1::StepRequest& request) {
  std::string bytes = request.SerializeAsString();
  for (uint64_t count = 1 + source.Below(4); count > 0 && !bytes.empty(); --count) {
    // Mostly near the front, because the fields are there.
    const size_t limit = source.Once(4) ? bytes.size() : std::min<size_t>(bytes.size(), 80);
    bytes[source.Below(limit)] = static_cast<char>(source.Take<uint8_t>());
  }
  if (source.Once(8)) bytes.resize(source.Below(bytes.size() + 1));
  v1::StepRequest bent;
  if (ParseQuietly(bytes, bent)) request.Swap(&bent);
}

}  // namespace

void AddUnknownField(ByteSource& source, google::protobuf::Message& message) {
  auto& fields = *message.GetReflection()->MutableUnknownFields(&message);
  const int number = static_cast<int>(100 + source.Below(1000));
  switch (source.Below(4)) {
    case 0:
      return fields.AddVarint(number, source.Take<uint64_t>());
    case 1:
      return fields.AddFixed32(number, source.Take<uint32_t>());
    case 2:
      fields.AddLengthDelimited(number, std::string(source.Bytes(source.Below(9))));
      return;
    default:
      fields.AddGroup(number)->AddFixed64(1, source.Take<uint64_t>());
  }
}

bool ParseQuietly(absl::string_view bytes, google::protobuf::Message& message) {
#if GOOGLE_PROTOBUF_VERSION < 4022000  // later ones say nothing
  const google::protobuf::LogSilencer silence;
#endif
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

void BendHeader(ByteSource& source, const SessionModel& model, v1::ContributionHeader& header,
                v1::ReplyOptions& reply) {
  if (source.Once(2)) {
    reply.set_data(static_cast<v1::ReplyData>(source.Below(5)));
    reply.set_dtype(static_cast<v1::Dtype>(source.Below(4)));
    for (uint64_t count = source.Below(4); count > 0; --count) {
      header.add_losses(source.Take<double>());
    }
  }
  const uint64_t sequence = header.sequence();
  for (uint64_t count = source.Below(4); count > 0; --count) {
    switch (source.Below(17)) {
      case 0:
        header.set_session_id(Name(source, model.session_id()));
        break;
      case 1:
        header.set_history(Number(source, {0, header.history() + 1}));
        break;
      case 2:
        header.set_worker(Name(source, "a"));
        break;
      case 3:
        header.set_incarnation(
            Number(source, {0, header.incarnation() - 1, header.incarnation() - 1,
                            header.incarnation() + 1, UINT64_MAX}));
        break;
      case 4:
        header.set_sequence(Number(source, {0, sequence - 1, sequence - 2, sequence + 1}));
        break;
      case 5:
        header.set_base_version(
            Number(source, {model.version() + 1, model.version() - 1, 0, UINT64_MAX}));
        break;
      case 6:
        header.clear_losses();
        for (uint64_t losses = Number(source, {1, 16, 17, 1000}) % 1001; losses > 0; --losses) {
          header.add_losses(source.Once(2) ? std::numeric_limits<double>::quiet_NaN()
                                           : source.Take<double>());
        }
        break;
      case 7:
        reply.set_data(static_cast<v1::ReplyData>(Number(source, {0, 1, 2, 3, 4, 5})));
        break;
      case 8:
        reply.set_dtype(static_cast<v1::Dtype>(Number(source, {0, 1, 2, 3, 4})));
        break;
      case 9:
        reply.set_max_reply_bytes(
            Number(source, {1, 1023, model.num_elements() * 4,
                            model.num_elements() * 4 + SessionModel::kOverheadBytes, UINT64_MAX}));
        break;
      case 10:
        reply.set_checksums(true);
        break;
      case 11:
        AddUnknownField(source, header);
        break;
      case 12:
        AddUnknownField(source, reply);
        break;
      case 13: {
        const float weights[] = {1,
                                 0.5f,
                                 64,
                                 0,
                                 -1,
                                 std::numeric_limits<float>::infinity(),
                                 std::numeric_limits<float>::denorm_min(),
                                 source.Take<float>()};
        header.set_weight(weights[source.Below(8)]);
        break;
      }
      case 14:
        reply.set_return_pending(true);  // nothing waits in such a session
        break;
      case 15:
        header.set_abstain(true);
        if (source.Once(2)) header.clear_losses();
        break;
      default:
        header.set_sequence(sequence + source.Below(uint64_t{1} << 40));  // gaps are allowed
    }
  }
}

v1::StepRequest HostileStep(ByteSource& source, const SessionModel& model) {
  v1::StepRequest request;
  *request.mutable_header() = model.NextHeader();
  v1::Section& section = *request.add_sections();
  section.set_kind(source.Once(8) ? v1::SECTION_KIND_DIFFERENCE : v1::SECTION_KIND_GRADIENT);
  if (model.last().has_value() && source.Once(8)) {
    *request.mutable_header() = model.last()->header;
    section.set_kind(model.last()->sent.is_difference ? v1::SECTION_KIND_DIFFERENCE
                                                      : v1::SECTION_KIND_GRADIENT);
    SetNumbers(model.last()->sent.numbers, v1::DTYPE_FLOAT32, section);
    if (model.last()->sent.abstains) request.clear_sections();
    if (source.Once(2)) return request;
  } else {
    SetNumbers(Gradient(source, model.num_elements()), static_cast<v1::Dtype>(source.Below(4)),
               section);
  }
  switch (source.Below(8)) {
    case 0:
      break;
    case 1:
    case 2:
      BendSections(source, request);
      break;
    case 3:
      BendSections(source, request);
      BendHeader(source, model, *request.mutable_header(), *request.mutable_reply());
      break;
    case 4:
      BendBytes(source, request);
      break;
    default:
      BendHeader(source, model, *request.mutable_header(), *request.mutable_reply());
  }
  if (request.header().abstain() && !source.Once(8)) request.clear_sections();
  if (source.Once(64)) request.clear_header();
  if (source.Once(64)) AddUnknownField(source, request);
  return request;
}

}  // namespace talweg::testing
