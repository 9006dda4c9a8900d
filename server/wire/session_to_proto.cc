// SPDX-License-Identifier: Apache-2.0
#include "server/wire/session_to_proto.h"

#include <string>

#include "core/base/sha256.h"
#include "core/session/state_digest.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/record_to_proto.h"
#include "server/wire/report_to_proto.h"
#include "server/wire/round_to_proto.h"
#include "server/wire/search_to_proto.h"

namespace talweg::server {
namespace {

v1::StateDigest DigestToProto(const core::StateDigest& digest) {
  v1::StateDigest proto;
  proto.set_scheme(std::string(core::kStateDigestScheme));
  proto.set_version(digest.version);
  proto.set_sha256(core::HexOf(digest.sha256));
  for (const core::VectorDigest& vector : digest.vectors) {
    v1::VectorDigest& told = *proto.add_vectors();
    told.set_name(vector.name);
    told.set_type(std::string(vector.type));
    told.set_num_elements(vector.num_elements);
    told.set_sha256(core::HexOf(vector.sha256));
  }
  return proto;
}

}  // namespace

void SessionToProto(const SessionDescription& description, v1::Session& proto) {
  proto.set_session_id(description.identity.session_id);
  proto.set_history(description.identity.history);
  proto.set_version(description.version);
  *proto.mutable_config() = ConfigToProto(*description.config);
  proto.set_config_version(description.config_version);
  proto.set_num_elements(description.config->layout->num_elements());
  proto.set_layout_digest(description.config->layout->digest());
  proto.set_memory_bytes(description.memory_bytes);
  proto.set_num_workers(description.num_workers);
  proto.set_num_live_workers(description.num_live_workers);
  *proto.mutable_create_time() = TimeToProto(description.identity.create_time);
  if (description.last_step != nullptr) {
    *proto.mutable_last_step() = ReportToProto(*description.last_step);
  }
  if (description.checksum.has_value()) proto.set_state_checksum(*description.checksum);
  if (description.digest != nullptr) {
    *proto.mutable_state_digest() = DigestToProto(*description.digest);
  }
  *proto.mutable_refusals() = RefusalsToProto(description.refusals);
  if (description.open_round.has_value()) {
    *proto.mutable_open_round() = RoundToProto(*description.open_round);
  }
  if (description.open_generation.has_value()) {
    *proto.mutable_open_generation() = GenerationToProto(*description.open_generation);
  }
}

void SummaryToProto(const SessionDescription& description, v1::SessionSummary& proto) {
  proto.set_session_id(description.identity.session_id);
  proto.set_history(description.identity.history);
  proto.set_version(description.version);
  proto.set_optimizer(std::string(description.config->method->name));
  proto.set_num_elements(description.config->layout->num_elements());
  proto.set_memory_bytes(description.memory_bytes);
  proto.set_num_live_workers(description.num_live_workers);
  *proto.mutable_create_time() = TimeToProto(description.identity.create_time);
}

}  // namespace talweg::server
