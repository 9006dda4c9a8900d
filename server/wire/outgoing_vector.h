// SPDX-License-Identifier: Apache-2.0
//
// A vector on its way out, as sections of a reply in the dtype that was asked for.
#pragma once

#include <cstdint>
#include <memory>

#include "core/base/dtype.h"
#include "server/calls/reply_spec.h"
#include "server/calls/session_calls.h"
#include "talweg/v1/section.pb.h"

namespace talweg::server {

// Writes `overflow` to a StepResponse or a PullResponse, over what was there.
template <class Message>
void OverflowToProto(const core::Overflow& overflow, Message& message) {
  message.set_num_overflowed(overflow.count);
  message.clear_first_overflowed();
  if (overflow.count > 0) message.set_first_overflowed(overflow.first);
}

// A vector on its way out, or nothing. Holds the versions that the vector is made of.
class OutgoingVector {
 public:
  OutgoingVector() = default;
  // What `reply` asks of `outcome`.
  OutgoingVector(const StepOutcome& outcome, const ReplySpec& reply);
  // The point as it is. `kind_of_point` is its kind, unless the point is the parameters.
  OutgoingVector(const PointOutcome& point, v1::SectionKind kind_of_point, core::Dtype dtype);

  bool empty() const { return values_ == nullptr; }
  uint64_t num_elements() const { return values_->values.size(); }
  uint64_t version() const { return values_->version; }
  uint64_t element_bytes() const { return core::DtypeBytes(dtype_); }

  // A section of elements [begin, begin + count) except for its bytes, which are sized and not yet
  // written.
  void Open(uint64_t begin, uint64_t count, v1::Section& section) const;
  // Writes elements [begin, begin + count) to `bytes`, and tells which of them the dtype does not
  // reach, by their places in the vector. Thread-safe.
  core::Overflow Write(uint64_t begin, uint64_t count, char* bytes) const;

 private:
  std::shared_ptr<const core::Parameters> values_;
  std::shared_ptr<const core::Parameters>
      previous_;  // the version that an update starts from; or null
  v1::SectionKind kind_ = v1::SECTION_KIND_PARAMETERS;
  core::Dtype dtype_ = core::Dtype::kFloat32;
};

}  // namespace talweg::server
