// SPDX-License-Identifier: Apache-2.0
#include "server/wire/pull_from_proto.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;

constexpr uint64_t kMessageBytes = 1 << 20;

}  // namespace

absl::StatusOr<PullSpec> PullFromProto(const v1::PullRequest& request, uint64_t num_elements) {
  if (request.begin_element() > num_elements) {
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("begin_element is ", request.begin_element(), ", the layout has ",
                                  num_elements, " elements"),
                     "begin_element");
  }
  PullSpec spec;
  TALWEG_ASSIGN_OR_RETURN(spec.wanted, PointFromProto(request.point()));
  TALWEG_ASSIGN_OR_RETURN(spec.dtype, DtypeFromProto(request.dtype(), "dtype"));
  if (request.has_version() && request.min_version() != 0) {
    return MakeError(Reason::kFieldOutOfRange,
                     "min_version does not go with version, which names the one wanted",
                     "min_version");
  }
  spec.checksums = request.checksums();
  spec.begin_element = request.begin_element();
  spec.min_version = request.min_version();
  if (request.has_version()) spec.version = request.version();
  return spec;
}

PullMessages::PullMessages(const PointOutcome& point, uint64_t history, const PullSpec& spec)
    : vector_(point, spec.wanted.kind, spec.dtype),
      history_(history),
      next_learning_rate_(point.next_learning_rate),
      checksums_(spec.checksums),
      next_element_(spec.begin_element) {}

bool PullMessages::MakeNext(v1::PullResponse& message) {
  const uint64_t num_elements = vector_.num_elements();
  const uint64_t count =
      std::min(kMessageBytes / vector_.element_bytes(), num_elements - next_element_);
  message.set_history(history_);
  message.set_version(vector_.version());
  message.set_num_elements(num_elements);
  message.set_next_learning_rate(next_learning_rate_);
  v1::Section& section = *message.mutable_section();
  vector_.Open(next_element_, count, section);
  OverflowToProto(vector_.Write(next_element_, count, section.mutable_data()->data()), message);
  if (checksums_) message.set_crc32c(core::Crc32c(section.data()));
  next_element_ += count;
  return next_element_ == num_elements;
}

}  // namespace talweg::server
