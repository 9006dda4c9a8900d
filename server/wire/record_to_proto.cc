// SPDX-License-Identifier: Apache-2.0
#include "server/wire/record_to_proto.h"

#include "server/wire/report_to_proto.h"

namespace talweg::server {

google::protobuf::Timestamp TimeToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(time);  // rounded down
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

v1::LossChange LossChangeToProto(const core::LossChange& change) {
  v1::LossChange proto;
  proto.set_version(change.version);
  proto.set_before(change.before);
  proto.set_after(change.after);
  return proto;
}

void RecordToProto(const core::RunRecord& record, v1::StepRecord& proto) {
  proto.set_version(record.version);
  *proto.mutable_time() = TimeToProto(record.time);
  *proto.mutable_report() = ReportToProto(record.report);
  proto.set_step_seconds(record.step_seconds);
  proto.set_seconds_since_last(record.seconds_since_last);
  *proto.mutable_refusals() = RefusalsToProto(record.refusals);
}

void RecordToProto(const core::VersionRecord& record, v1::VersionRecord& proto) {
  proto.set_version(record.version);
  proto.set_config_version(record.config_version);
  proto.set_close_config_version(record.close_config_version);
  *proto.mutable_open_time() = TimeToProto(record.opened);
  *proto.mutable_close_time() = TimeToProto(record.closed);
  proto.mutable_members()->Reserve(static_cast<int>(record.members.size()));
  for (const core::RoundMember& member : record.members) {
    v1::VersionMember& told = *proto.add_members();
    told.set_worker(member.worker);
    told.set_incarnation(member.incarnation);
    told.set_sequence(member.sequence);
    told.set_base_version(member.base_version);
    told.set_weight(member.weight);
    *told.mutable_time() = TimeToProto(member.time);
  }
  proto.set_total_weight(record.total_weight);
  proto.set_num_late(record.num_late);
  *proto.mutable_late_workers() = {record.late_workers.begin(), record.late_workers.end()};
  proto.set_num_expired(record.num_expired);
  *proto.mutable_expired_workers() = {record.expired_workers.begin(), record.expired_workers.end()};
  proto.set_num_abstained(record.num_abstained);
  *proto.mutable_abstained_workers() = {record.abstained_workers.begin(),
                                        record.abstained_workers.end()};
  for (const core::StatisticsMember& member : record.statistics) {
    v1::StatisticsMember& told = *proto.add_statistics();
    told.set_worker(member.worker);
    told.set_incarnation(member.incarnation);
    told.set_sequence(member.sequence);
    told.set_base_version(member.base_version);
    told.set_num_samples(member.num_samples);
    *told.mutable_time() = TimeToProto(member.time);
  }
  if (record.loss_change.has_value()) {
    *proto.mutable_loss_change() = LossChangeToProto(*record.loss_change);
  }
  proto.set_installed_inverses(record.installed_inverses);
  proto.set_inverse_version(record.inverse_version);
}

void RecordsToProto(uint64_t history, absl::Span<const core::RunRecord> records,
                    v1::WatchSessionResponse& proto) {
  proto.set_history(history);
  proto.clear_records();
  for (const core::RunRecord& record : records) RecordToProto(record, *proto.add_records());
}

void RecordsToProto(uint64_t history, absl::Span<const core::VersionRecord> records, bool more,
                    v1::ListVersionRecordsResponse& proto) {
  proto.set_history(history);
  for (const core::VersionRecord& record : records) RecordToProto(record, *proto.add_records());
  proto.set_more(more);
}

}  // namespace talweg::server
