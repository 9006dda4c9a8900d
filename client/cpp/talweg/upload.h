// SPDX-License-Identifier: Apache-2.0
//
// Initial values to the server over UploadSession, also through streams that break.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "client/cpp/talweg/options.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/transport.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// Numbers that are uploaded.
struct UploadSource {
  v1::Dtype dtype = v1::DTYPE_FLOAT32;  // as which they travel
  uint64_t num_elements = 0;
  // Writes the elements [begin, begin + count) to `bytes` in that dtype. May be called again for
  // the same elements.
  absl::FunctionRef<void(uint64_t begin, uint64_t count, char* bytes)> fill;
};

// Makes the session of `create`, which has a request id and no initial values, with the values of
// `source`. After a broken stream the upload goes on from the element that the server is missing.
// It lasts as long as chunks go out: the overall timeout counts from when the upload last came
// farther than ever before. If another stream of the same request takes the upload over, this one
// waits for its turn, and gets the session too.
absl::StatusOr<v1::Session> UploadSession(Transport& transport, const RetryOptions& retry,
                                          const v1::CreateSessionRequest& create,
                                          const UploadSource& source,
                                          const ProgressCallback& progress = nullptr);

}  // namespace talweg
