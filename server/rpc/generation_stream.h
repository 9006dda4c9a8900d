// SPDX-License-Identifier: Apache-2.0
//
// The stream of generations that have closed. It writes one message at a time: a slow reader costs
// one message, and is told VERSION_GONE once the generation that it comes to is not kept any more.
#pragma once

#include "grpcpp/support/server_callback.h"
#include "server/rpc/service_context.h"
#include "talweg/v1/search_service.pb.h"

namespace talweg::server {

// `request` lives as long as the call. The reactor deletes itself.
grpc::ServerWriteReactor<v1::WatchGenerationsResponse>* StartGenerationStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc,
    const v1::WatchGenerationsRequest& request);

}  // namespace talweg::server
