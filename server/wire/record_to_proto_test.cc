// SPDX-License-Identifier: Apache-2.0
#include "server/wire/record_to_proto.h"

#include <string>
#include <vector>

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace talweg::server {
namespace {

// The whole message: a field that is added and not filled in shows here.
template <class Proto, class Record>
std::string JsonOf(const Record& record) {
  Proto proto;
  RecordToProto(record, proto);
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(proto, &json, options).ok());
  return json;
}

TEST(RecordToProtoTest, CarriesEveryNumber) {
  core::RunRecord record;
  record.version = uint64_t{1} << 40;
  record.time = absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(123'456'789);
  record.report = {0.25, 3, 0.5, 0.75, 7, 2, -1.5, 4, 2.5, 1, 5, 8, 6, 17, core::Sha256{}};
  record.refusals = {1, 2, 3};
  record.step_seconds = 0.125;
  record.seconds_since_last = 2.5;
  EXPECT_EQ(JsonOf<v1::StepRecord>(record),
            R"({"version":"1099511627776","time":"2023-11-14T22:13:20.123456789Z",)"
            R"("report":{"learning_rate":0.25,"gradient_norm":3,"update_norm":0.75,)"
            R"("staleness":"7","contributors":2,"loss":-1.5,"clip_factor":0.5,)"
            R"("total_weight":2.5,"num_late":1,"num_losses_left_out":4,"num_expired":5,)"
            R"("num_non_finite":"6","first_non_finite":"17","num_abstained":8,)"
            R"("state_digest":")" +
                std::string(64, '0') +
                R"("},)"
                R"("step_seconds":0.125,"seconds_since_last":2.5,)"
                R"("refusals":{"too_stale":"1","rejected_non_finite":"2","round_closed":"3"}})");
}

TEST(RecordToProtoTest, TellsWhoMadeAVersion) {
  core::VersionRecord record;
  record.version = 5;
  record.config_version = 2;
  record.close_config_version = 4;
  record.opened = absl::FromUnixSeconds(1'700'000'000);
  record.closed = record.opened + absl::Seconds(2);
  record.members = {{"a", 7, 3, 4, 0.5, record.opened + absl::Seconds(1)}};
  record.total_weight = 0.5;
  record.num_late = 2;
  record.late_workers = {"b", "c"};
  record.num_expired = 1;
  record.expired_workers = {"d"};
  record.num_abstained = 3;
  record.abstained_workers = {"e", "f"};
  EXPECT_EQ(JsonOf<v1::VersionRecord>(record),
            R"({"version":"5","config_version":"2","open_time":"2023-11-14T22:13:20Z",)"
            R"("close_time":"2023-11-14T22:13:22Z","members":[{"worker":"a","incarnation":"7",)"
            R"("sequence":"3","base_version":"4","weight":0.5,"time":"2023-11-14T22:13:21Z"}],)"
            R"("total_weight":0.5,"num_late":2,"late_workers":["b","c"],)"
            R"("close_config_version":"4","num_expired":1,"expired_workers":["d"],)"
            R"("num_abstained":3,"abstained_workers":["e","f"]})");
}

TEST(RecordToProtoTest, AWatchersMessageIsWrittenAnew) {
  core::RunRecord record;
  v1::WatchSessionResponse message;
  for (const uint64_t version : {3, 4}) {
    record.version = version;
    RecordsToProto(7, {&record, 1}, message);
    EXPECT_EQ(message.history(), 7u);
    ASSERT_EQ(message.records_size(), 1);
    EXPECT_EQ(message.records(0).version(), version);
  }
  RecordsToProto(7, absl::Span<const core::RunRecord>(), message);
  EXPECT_EQ(message.records_size(), 0);
}

TEST(RecordToProtoTest, APageSaysWhetherThereIsMore) {
  for (const bool more : {false, true}) {
    std::vector<core::VersionRecord> records(2);
    records[0].version = 5;
    records[1].version = 6;
    v1::ListVersionRecordsResponse page;
    RecordsToProto(7, records, more, page);
    EXPECT_EQ(page.history(), 7u);
    ASSERT_EQ(page.records_size(), 2);
    EXPECT_EQ(page.records(0).version(), 5u);
    EXPECT_EQ(page.records(1).version(), 6u);
    EXPECT_EQ(page.more(), more);
  }
}

TEST(TimeToProtoTest, TimesBeforeTheEpochAreWellFormed) {
  const google::protobuf::Timestamp proto = TimeToProto(absl::UnixEpoch() - absl::Nanoseconds(1));
  EXPECT_EQ(proto.seconds(), -1);
  EXPECT_EQ(proto.nanos(), 999'999'999);
}

}  // namespace
}  // namespace talweg::server
