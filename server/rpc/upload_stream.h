// SPDX-License-Identifier: Apache-2.0
//
// UploadSession: the initial values of one session over a stream.
#pragma once

#include "server/rpc/service_context.h"
#include "talweg/v1/session_service.grpc.pb.h"

namespace talweg::server {

// Starts to serve an UploadSession call. What this returns deletes itself when the call is over.
grpc::ServerBidiReactor<v1::UploadSessionRequest, v1::UploadSessionResponse>* StartUploadStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc);

}  // namespace talweg::server
