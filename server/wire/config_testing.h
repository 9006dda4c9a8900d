// SPDX-License-Identifier: Apache-2.0
//
// For tests only: configurations on the wire, and what a refusal of one looks like.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/wire/config_from_proto.h"

namespace talweg::server {

// The smallest configuration that is accepted.
inline v1::SessionConfig Minimal() {
  v1::SessionConfig config;
  v1::Tensor& weights = *config.mutable_layout()->add_tensors();
  weights.set_name("w");
  weights.add_shape(2);
  weights.add_shape(3);
  config.mutable_layout()->add_tensors()->set_name("scale");
  config.mutable_optimizer()->mutable_adam();
  config.mutable_schedule()->set_learning_rate(0.1);
  return config;
}

inline void ExpectRefused(const absl::Status& status, const std::string& reason,
                          const std::string& field) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(core::ReasonName(status), reason) << status;
  EXPECT_EQ(core::FieldName(status), field) << status;
}

inline void AddGroup(v1::SessionConfig& config, const std::string& tensors) {
  config.add_groups()->set_tensors(tensors);
}

}  // namespace talweg::server
