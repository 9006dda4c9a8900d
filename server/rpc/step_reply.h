// SPDX-License-Identifier: Apache-2.0
//
// What both shapes of a step, unary and streamed, have in common: what a header must be, and what
// goes back.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/kernels/dtype.h"
#include "server/runtime/session_host.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// FIELD_REQUIRED, FIELD_OUT_OF_RANGE.
absl::Status CheckHeader(const v1::ContributionHeader& header);

// Whether `reply` can be given. FIELD_OUT_OF_RANGE, naming the field ("reply.dtype").
absl::Status CheckReply(const v1::ReplyOptions& reply);

// A contribution but for its gradient.
StepInput InputOf(const v1::ContributionHeader& header, const v1::ReplyOptions& reply);

// Everything of an answer but its numbers.
void FillResponse(const StepOutcome& outcome, uint64_t history, v1::StepResponse& response);

// A vector on its way out, or none. Holds the versions it is made of.
class OutgoingVector {
 public:
  OutgoingVector() = default;
  // What `reply`, which is checked, asks of `outcome`.
  OutgoingVector(const StepOutcome& outcome, const v1::ReplyOptions& reply);
  // A point as it is.
  OutgoingVector(const PointOutcome& point, v1::SectionKind kind_of_point, core::Dtype dtype);

  bool empty() const { return values_ == nullptr; }
  uint64_t num_elements() const { return values_->values.size(); }
  uint64_t version() const { return values_->version; }
  uint64_t element_bytes() const { return core::DtypeBytes(dtype_); }

  // A section of elements [begin, begin + count) but for its bytes, which are sized and not yet
  // written.
  void Open(uint64_t begin, uint64_t count, v1::Section& section) const;
  // Writes elements [begin, begin + count) to `bytes`. Thread-safe.
  void Write(uint64_t begin, uint64_t count, char* bytes) const;

 private:
  std::shared_ptr<const core::Parameters> values_;
  std::shared_ptr<const core::Parameters> previous_;  // for an update: what is taken off
  v1::SectionKind kind_ = v1::SECTION_KIND_PARAMETERS;
  core::Dtype dtype_ = core::Dtype::kFloat32;
};

}  // namespace talweg::server
