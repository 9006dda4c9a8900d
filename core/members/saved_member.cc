// SPDX-License-Identifier: Apache-2.0
#include "core/members/saved_member.h"

#include <utility>

namespace talweg::core {

namespace {

constexpr uint32_t kFormatWithExpired = 4;

void WriteNames(const std::vector<std::string>& names, ByteWriter& writer) {
  writer.Uint32(static_cast<uint32_t>(names.size()));
  for (const std::string& name : names) writer.Text(name);
}

absl::Status ReadNames(ByteReader& reader, std::vector<std::string>& names) {
  uint32_t num_names = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint32(num_names));
  if (num_names > kMaxLateNames) {
    return MakeError(Reason::kStateCorrupt, "state has too many names of late workers");
  }
  for (uint32_t index = 0; index < num_names; ++index) {
    TALWEG_RETURN_IF_ERROR(reader.Text(names.emplace_back()));
  }
  return absl::OkStatus();
}

absl::Status ReadDigest(ByteReader& reader, std::optional<Sha256>& digest) {
  uint8_t present = 0;
  TALWEG_RETURN_IF_ERROR(reader.Byte(present));
  if (present == 0) return absl::OkStatus();
  for (uint8_t& byte : digest.emplace()) TALWEG_RETURN_IF_ERROR(reader.Byte(byte));
  return absl::OkStatus();
}

}  // namespace

void WriteReport(const std::shared_ptr<const StepReport>& report, uint32_t format,
                 ByteWriter& writer) {
  writer.Byte(report != nullptr ? 1 : 0);
  if (report == nullptr) return;
  writer.Double(report->learning_rate);
  writer.Double(report->gradient_norm);
  writer.Double(report->clip_factor);
  writer.Double(report->update_norm);
  writer.Uint64(report->staleness);
  writer.Uint32(report->contributors);
  writer.Byte(report->loss.has_value() ? 1 : 0);
  writer.Double(report->loss.value_or(0));
  writer.Double(report->total_weight);
  writer.Uint32(report->num_late);
  WriteNames(report->late_workers, writer);
  if (format < kFormatWithExpired) return;
  writer.Uint32(report->num_losses_left_out);
  writer.Uint32(report->num_expired);
  WriteNames(report->expired_workers, writer);
  writer.Uint64(report->num_non_finite);
  writer.Uint64(report->first_non_finite);
  writer.Uint32(report->num_abstained);
  WriteNames(report->abstained_workers, writer);
  writer.Byte(report->state_digest.has_value() ? 1 : 0);
  if (!report->state_digest.has_value()) return;
  for (const uint8_t byte : *report->state_digest) writer.Byte(byte);
}

absl::Status ReadReport(ByteReader& reader, uint32_t format,
                        std::shared_ptr<const StepReport>& report) {
  uint8_t present = 0;
  TALWEG_RETURN_IF_ERROR(reader.Byte(present));
  report = nullptr;
  if (present == 0) return absl::OkStatus();
  StepReport read;
  uint8_t has_loss = 0;
  double loss = 0;
  TALWEG_RETURN_IF_ERROR(reader.Double(read.learning_rate));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.gradient_norm));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.clip_factor));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.update_norm));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(read.staleness));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(read.contributors));
  TALWEG_RETURN_IF_ERROR(reader.Byte(has_loss));
  TALWEG_RETURN_IF_ERROR(reader.Double(loss));
  TALWEG_RETURN_IF_ERROR(reader.Double(read.total_weight));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(read.num_late));
  TALWEG_RETURN_IF_ERROR(ReadNames(reader, read.late_workers));
  if (has_loss != 0) read.loss = loss;
  if (format >= kFormatWithExpired) {
    TALWEG_RETURN_IF_ERROR(reader.Uint32(read.num_losses_left_out));
    TALWEG_RETURN_IF_ERROR(reader.Uint32(read.num_expired));
    TALWEG_RETURN_IF_ERROR(ReadNames(reader, read.expired_workers));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(read.num_non_finite));
    TALWEG_RETURN_IF_ERROR(reader.Uint64(read.first_non_finite));
    TALWEG_RETURN_IF_ERROR(reader.Uint32(read.num_abstained));
    TALWEG_RETURN_IF_ERROR(ReadNames(reader, read.abstained_workers));
    TALWEG_RETURN_IF_ERROR(ReadDigest(reader, read.state_digest));
  }
  report = std::make_shared<const StepReport>(std::move(read));
  return absl::OkStatus();
}

void WriteIdentity(const Member& member, ByteWriter& writer) {
  writer.Text(member.name);
  writer.Uint64(member.incarnation);
}

void WriteRoles(Roles roles, ByteWriter& writer) { writer.Byte(roles.bits()); }

absl::Status ReadRoles(ByteReader& reader, Roles& roles) {
  uint8_t bits = 0;
  TALWEG_RETURN_IF_ERROR(reader.Byte(bits));
  if (!Roles::AreValidBits(bits)) return UnknownKindError();
  roles = Roles::FromBits(bits);
  return absl::OkStatus();
}

void WriteNonces(const Member& member, ByteWriter& writer) {
  writer.Uint64(member.nonce);
  writer.Uint64(member.replaced_nonce);
}

absl::Status ReadNonces(ByteReader& reader, Member& member) {
  TALWEG_RETURN_IF_ERROR(reader.Uint64(member.nonce));
  return reader.Uint64(member.replaced_nonce);
}

void WriteSettled(const Member::Settled& settled, const std::shared_ptr<const StepReport>& common,
                  uint32_t format, ByteWriter& writer) {
  writer.Uint64(settled.sequence);
  writer.Uint32(settled.digest);
  writer.Byte(static_cast<uint8_t>(settled.verdict));
  writer.Uint64(settled.version);
  const bool is_common = settled.report != nullptr && settled.report == common;
  writer.Byte(is_common ? 1 : 0);
  if (!is_common) WriteReport(settled.report, format, writer);
}

absl::Status ReadSettled(ByteReader& reader, const std::shared_ptr<const StepReport>& common,
                         uint32_t format, Member::Settled& settled) {
  uint8_t verdict = 0;
  uint8_t is_common = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(settled.sequence));
  TALWEG_RETURN_IF_ERROR(reader.Uint32(settled.digest));
  TALWEG_RETURN_IF_ERROR(reader.Byte(verdict));
  TALWEG_RETURN_IF_ERROR(reader.Uint64(settled.version));
  TALWEG_RETURN_IF_ERROR(reader.Byte(is_common));
  if (verdict >= static_cast<uint8_t>(Verdict::kPending)) return UnknownKindError();
  settled.verdict = static_cast<Verdict>(verdict);
  if (is_common == 0) return ReadReport(reader, format, settled.report);
  settled.report = common;
  return absl::OkStatus();
}

absl::Status UnknownKindError() {
  return MakeError(Reason::kStateCorrupt, "state has an unknown verdict or kind of worker");
}

}  // namespace talweg::core
