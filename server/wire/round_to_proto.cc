// SPDX-License-Identifier: Apache-2.0
#include "server/wire/round_to_proto.h"

namespace talweg::server {
namespace {

void ListToProto(const core::WorkerList& list, v1::WorkerList& proto) {
  proto.set_count(list.count);
  *proto.mutable_names() = {list.names.begin(), list.names.end()};
}

v1::CloseRule CloseToProto(core::CloseRule close) {
  switch (close) {
    case core::CloseRule::kAll:
      return v1::CLOSE_RULE_ALL;
    case core::CloseRule::kCount:
      return v1::CLOSE_RULE_COUNT;
    case core::CloseRule::kWeight:
      return v1::CLOSE_RULE_WEIGHT;
    case core::CloseRule::kDeadline:
      return v1::CLOSE_RULE_DEADLINE;
  }
  return v1::CLOSE_RULE_UNSPECIFIED;
}

}  // namespace

v1::OpenRound RoundToProto(const core::RoundDescription& round) {
  v1::OpenRound proto;
  proto.set_version(round.version);
  if (round.open_for.has_value()) {
    proto.set_open_seconds(absl::ToDoubleSeconds(*round.open_for));
  }
  if (round.frozen_for.has_value()) {
    proto.set_frozen_seconds(absl::ToDoubleSeconds(*round.frozen_for));
  }
  ListToProto(round.contributed, *proto.mutable_contributed());
  ListToProto(round.expected, *proto.mutable_expected());
  ListToProto(round.late, *proto.mutable_late());
  ListToProto(round.will_not_count, *proto.mutable_will_not_count());
  ListToProto(round.abstained, *proto.mutable_abstained());
  if (round.mode == core::AggregationMode::kSynchronous) {
    proto.set_close(CloseToProto(round.close));
    if (round.close == core::CloseRule::kCount || round.close == core::CloseRule::kWeight) {
      const bool waits = round.too_few == core::TooFew::kWait;
      proto.set_too_few(waits ? v1::TOO_FEW_WAIT : v1::TOO_FEW_CLOSE);
    }
  }
  proto.set_close_config_version(round.config_version);
  proto.set_num_contributions(round.num_contributions);
  proto.set_needed_contributions(round.needed_contributions);
  proto.set_weight(round.weight);
  proto.set_needed_weight(round.needed_weight);
  if (round.closes_in.has_value()) {
    proto.set_closes_in_seconds(absl::ToDoubleSeconds(*round.closes_in));
  }
  proto.set_num_live_workers(round.num_live_workers);
  proto.set_needed_live_workers(round.needed_live_workers);
  return proto;
}

}  // namespace talweg::server
