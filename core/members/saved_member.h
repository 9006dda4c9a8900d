// SPDX-License-Identifier: Apache-2.0
//
// A member in a saved state: who it is, its roles, its nonces, and the remembered answer. A policy
// writes these parts in this order, with its own bytes between and after them, and reads them
// likewise. Calls that wait, pending sequences and leases are not saved. `format` is that of the
// whole state: up to format 3, a report says nothing of losses that were left out, of expired
// and abstaining workers, and of parameters that are not finite. Every reader fails with
// STATE_CORRUPT.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/byte_io.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/members/member.h"
#include "core/members/member_table.h"

namespace talweg::core {

// A report, which may be null.
void WriteReport(const std::shared_ptr<const StepReport>& report, uint32_t format,
                 ByteWriter& writer);
absl::Status ReadReport(ByteReader& reader, uint32_t format,
                        std::shared_ptr<const StepReport>& report);

// Name and incarnation.
void WriteIdentity(const Member& member, ByteWriter& writer);
// Inserts the member into `members`, where its name must be new, and returns its index.
template <class M>
absl::StatusOr<uint32_t> ReadIdentity(ByteReader& reader, MemberTable<M>& members) {
  std::string name;
  TALWEG_RETURN_IF_ERROR(reader.Text(name));
  if (members.Find(name) != MemberTable<M>::kNone) {
    return MakeError(Reason::kStateCorrupt, "state has a worker twice");
  }
  const uint32_t index = members.Insert(name);
  TALWEG_RETURN_IF_ERROR(reader.Uint64(members[index].incarnation));
  return index;
}

void WriteRoles(Roles roles, ByteWriter& writer);
absl::Status ReadRoles(ByteReader& reader, Roles& roles);

// The nonces of its joins.
void WriteNonces(const Member& member, ByteWriter& writer);
absl::Status ReadNonces(ByteReader& reader, Member& member);

// The last sequence that has a final verdict, with its answer. A report that is `common` takes one
// byte, because most members share the report of the last step.
void WriteSettled(const Member::Settled& settled, const std::shared_ptr<const StepReport>& common,
                  uint32_t format, ByteWriter& writer);
absl::Status ReadSettled(ByteReader& reader, const std::shared_ptr<const StepReport>& common,
                         uint32_t format, Member::Settled& settled);

// The error STATE_CORRUPT, for a byte that no version of the server writes for a member.
absl::Status UnknownKindError();

}  // namespace talweg::core
