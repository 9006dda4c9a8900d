// SPDX-License-Identifier: Apache-2.0
//
// SessionService over gRPC: each call is checked, converted, handed to the session's host and
// answered.
#pragma once

#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "server/rpc/grpc_call.h"
#include "server/rpc/service_context.h"
#include "server/rpc/watch_session.h"
#include "talweg/v1/session_service.grpc.pb.h"

namespace talweg::server {

// Thread-safe.
class SessionService final : public v1::SessionService::CallbackService {
 public:
  explicit SessionService(ServiceContext context) : context_(context) {}

  grpc::ServerUnaryReactor* CreateSession(grpc::CallbackServerContext* context,
                                          const v1::CreateSessionRequest* request,
                                          v1::CreateSessionResponse* response) override;
  grpc::ServerBidiReactor<v1::UploadSessionRequest, v1::UploadSessionResponse>* UploadSession(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetSession(grpc::CallbackServerContext* context,
                                       const v1::GetSessionRequest* request,
                                       v1::GetSessionResponse* response) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* context,
                                         const v1::ListSessionsRequest* request,
                                         v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateSession(grpc::CallbackServerContext* context,
                                          const v1::UpdateSessionRequest* request,
                                          v1::UpdateSessionResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchSessionResponse>* WatchSession(
      grpc::CallbackServerContext* context, const v1::WatchSessionRequest* request) override;
  grpc::ServerUnaryReactor* ListVersionRecords(grpc::CallbackServerContext* context,
                                               const v1::ListVersionRecordsRequest* request,
                                               v1::ListVersionRecordsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteSession(grpc::CallbackServerContext* context,
                                          const v1::DeleteSessionRequest* request,
                                          v1::DeleteSessionResponse* response) override;
  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context,
                                 const v1::JoinRequest* request,
                                 v1::JoinResponse* response) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatResponse* response) override;
  grpc::ServerUnaryReactor* Leave(grpc::CallbackServerContext* context,
                                  const v1::LeaveRequest* request,
                                  v1::LeaveResponse* response) override;

  // For a server that stops, after its gate has closed: EndWatches tells all watchers, CutWatches
  // cuts off those that do not read.
  void EndWatches() { watches_.StirAll(); }
  void CutWatches() { watches_.CutAll(); }

 private:
  UnaryCall* Begin(absl::string_view method, grpc::CallbackServerContext* context,
                   const google::protobuf::Message* response) const;
  void Create(const v1::CreateSessionRequest& request, v1::CreateSessionResponse& response,
              UnaryCall* call);
  // Adds a summary of each host from `index` on, one after the other, then answers.
  void SummarizeFrom(std::shared_ptr<const std::vector<std::shared_ptr<SessionHost>>> hosts,
                     size_t index, v1::ListSessionsResponse* response, UnaryCall* call);

  ServiceContext context_;
  WatchList watches_;
};

}  // namespace talweg::server
