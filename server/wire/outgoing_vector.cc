// SPDX-License-Identifier: Apache-2.0
#include "server/wire/outgoing_vector.h"

#include <algorithm>

#include "core/base/shard.h"
#include "core/kernels/subtract.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
OutgoingVector::OutgoingVector(const StepOutcome& outcome, const ReplySpec& reply)
    : dtype_(reply.dtype) {
  if (reply.data == ReplySpec::Data::kNone) return;
  values_ = outcome.parameters;
  if (reply.data == ReplySpec::Data::kUpdate && outcome.previous != nullptr) {
    previous_ = outcome.previous;
    kind_ = v1::SECTION_KIND_UPDATE;
  } else if (reply.data == ReplySpec::Data::kLookahead && outcome.lookahead != nullptr) {
    values_ = outcome.lookahead;
    kind_ = v1::SECTION_KIND_LOOKAHEAD;
  }
}

OutgoingVector::OutgoingVector(const PointOutcome& point, v1::SectionKind kind_of_point,
                               core::Dtype dtype)
    : values_(point.values),
      kind_(point.is_parameters ? v1::SECTION_KIND_PARAMETERS : kind_of_point),
      dtype_(dtype) {}

void OutgoingVector::Open(uint64_t begin, uint64_t count, v1::Section& section) const {
  section.set_kind(kind_);
  section.set_dtype(DtypeToProto(dtype_));
  section.set_begin_element(begin);
  section.mutable_data()->resize(count * element_bytes());
}

core::Overflow OutgoingVector::Write(uint64_t begin, uint64_t count, char* bytes) const {
  const absl::Span<const float> values = values_->values.span().subspan(begin, count);
  core::Overflow overflow;
  if (previous_ == nullptr) {
    overflow.Add(core::FromFloat32(dtype_, values, bytes), begin);
    return overflow;
  }
  const absl::Span<const float> previous = previous_->values.span().subspan(begin, count);
  alignas(core::AlignedBuffer::kAlignment) float update[core::kBlock];
  for (size_t done = 0; done < count; done += core::kBlock) {
    const absl::Span<float> block(update, std::min<size_t>(core::kBlock, count - done));
    core::Subtract(core::Stores::kCached, values.subspan(done, block.size()),
                   previous.subspan(done, block.size()), block);
    overflow.Add(core::FromFloat32(dtype_, block, bytes + done * element_bytes()), begin + done);
  }
  return overflow;
}

}  // namespace talweg::server
