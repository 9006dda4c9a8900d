// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/stream_frames.h"

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/wire_format_lite.h"

namespace talweg {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr uint32_t TagOf(int field, WireFormatLite::WireType type) {
  return WireFormatLite::MakeTag(field, type);
}

constexpr auto kVarint = WireFormatLite::WIRETYPE_VARINT;
constexpr auto kBytes = WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
constexpr auto kFixed32 = WireFormatLite::WIRETYPE_FIXED32;

constexpr uint32_t kCrcTag = TagOf(v1::Chunk::kCrc32CFieldNumber, kFixed32);
constexpr uint64_t kCrcBytes = 5;  // with its tag

// Runs `read` on the message that comes next.
template <class Read>
bool InMessage(CodedInputStream& in, const Read& read) {
  uint32_t size = 0;
  if (!in.ReadVarint32(&size)) return false;
  const auto limit = in.PushLimit(static_cast<int>(size));
  while (in.BytesUntilLimit() > 0) {
    const uint32_t tag = in.ReadTag();
    if (tag == 0 || !read(tag)) return false;
  }
  in.PopLimit(limit);
  return true;
}

bool ReadSectionField(CodedInputStream& in, uint32_t tag, v1::Section& section,
                      DataPosition& data) {
  uint64_t number = 0;
  switch (tag) {
    case TagOf(v1::Section::kKindFieldNumber, kVarint):
      if (!in.ReadVarint64(&number)) return false;
      section.set_kind(static_cast<v1::SectionKind>(number));
      return true;
    case TagOf(v1::Section::kDtypeFieldNumber, kVarint):
      if (!in.ReadVarint64(&number)) return false;
      section.set_dtype(static_cast<v1::Dtype>(number));
      return true;
    case TagOf(v1::Section::kBeginElementFieldNumber, kVarint):
      if (!in.ReadVarint64(&number)) return false;
      section.set_begin_element(number);
      return true;
    case TagOf(v1::Section::kDataFieldNumber, kBytes): {
      uint32_t size = 0;
      if (!in.ReadVarint32(&size)) return false;
      data = {static_cast<size_t>(in.CurrentPosition()), size};
      return in.Skip(static_cast<int>(size));
    }
    default:
      return WireFormatLite::SkipField(&in, tag);
  }
}

bool ReadChunkField(CodedInputStream& in, uint32_t tag, v1::Chunk& chunk, DataPosition& data) {
  if (tag == TagOf(v1::Chunk::kSectionFieldNumber, kBytes)) {
    v1::Section& section = *chunk.mutable_section();
    return InMessage(in, [&](uint32_t t) { return ReadSectionField(in, t, section, data); });
  }
  if (tag == kCrcTag) {
    uint32_t crc32c = 0;
    if (!in.ReadLittleEndian32(&crc32c)) return false;
    chunk.set_crc32c(crc32c);
    return true;
  }
  return WireFormatLite::SkipField(&in, tag);
}

}  // namespace

std::string BytesBeforeData(const ChunkHead& head) {
  v1::Section section;
  section.set_kind(head.kind);
  section.set_dtype(head.dtype);
  section.set_begin_element(head.begin_element);
  const uint64_t data_field_bytes =
      1 + CodedOutputStream::VarintSize64(head.num_bytes) + head.num_bytes;
  const uint64_t section_bytes = section.ByteSizeLong() + data_field_bytes;
  const uint64_t chunk_bytes = 1 + CodedOutputStream::VarintSize64(section_bytes) + section_bytes +
                               (head.checksum ? kCrcBytes : 0);
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    CodedOutputStream out(&stream);
    out.WriteTag(TagOf(v1::StreamStepRequest::kChunkFieldNumber, kBytes));
    out.WriteVarint64(chunk_bytes);
    out.WriteTag(TagOf(v1::Chunk::kSectionFieldNumber, kBytes));
    out.WriteVarint64(section_bytes);
    section.SerializeToCodedStream(&out);
    out.WriteTag(TagOf(v1::Section::kDataFieldNumber, kBytes));
    out.WriteVarint64(head.num_bytes);
  }
  return bytes;
}

std::string BytesAfterData(uint32_t crc32c) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    CodedOutputStream out(&stream);
    out.WriteTag(kCrcTag);
    out.WriteLittleEndian32(crc32c);
  }
  return bytes;
}

bool ReadFrame(google::protobuf::io::ZeroCopyInputStream& bytes, v1::StreamStepResponse& frame,
               DataPosition& data) {
  frame.Clear();
  data = {};
  CodedInputStream in(&bytes);
  const uint32_t tag = in.ReadTag();
  if (tag == TagOf(v1::StreamStepResponse::kChunkFieldNumber, kBytes)) {
    v1::Chunk& chunk = *frame.mutable_chunk();
    return InMessage(in, [&](uint32_t t) { return ReadChunkField(in, t, chunk, data); });
  }
  uint32_t size = 0;
  if (tag == TagOf(v1::StreamStepResponse::kGrantFieldNumber, kBytes)) {
    return in.ReadVarint32(&size) && frame.mutable_grant()->MergePartialFromCodedStream(&in) &&
           in.ConsumedEntireMessage();
  }
  if (tag == TagOf(v1::StreamStepResponse::kTrailerFieldNumber, kBytes)) {
    return in.ReadVarint32(&size) && frame.mutable_trailer()->MergePartialFromCodedStream(&in) &&
           in.ConsumedEntireMessage();
  }
  return tag == 0;  // a frame of a later server, with nothing that is known here
}

}  // namespace talweg
