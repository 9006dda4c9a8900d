// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/session_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "server/rpc/upload_stream.h"
#include "server/rpc/watch_reactor.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/membership.h"
#include "server/wire/names.h"
#include "server/wire/page.h"
#include "server/wire/record_to_proto.h"
#include "server/wire/session_to_proto.h"
#include "server/wire/source_from_proto.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;
using Reactor = grpc::ServerUnaryReactor;

constexpr size_t kMaxMembersOfAPage = 8192;

// Ends a call with what a session tells of itself.
template <class Response>
SessionHost::Done<SessionDescription> Described(UnaryCall* call, Response* response) {
  return [call, response](absl::StatusOr<SessionDescription> description) {
    if (description.ok()) SessionToProto(*description, *response->mutable_session());
    call->End(description.status());
  };
}

}  // namespace

UnaryCall* SessionService::Begin(absl::string_view method, grpc::CallbackServerContext* context,
                                 const google::protobuf::Message* response) const {
  return new UnaryCall(context_.door, method, *context, *response);
}

Reactor* SessionService::CreateSession(grpc::CallbackServerContext* context,
                                       const v1::CreateSessionRequest* request,
                                       v1::CreateSessionResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/CreateSession", context, response);
  // Not on gRPC's thread: a layout may be long.
  context_.pool.Post([=, this] { Create(*request, *response, call); });
  return call;
}

// Checks and converts the request. It may have made its session before (a retry), or ask for a dry
// run; otherwise the factory makes the session.
void SessionService::Create(const v1::CreateSessionRequest& request,
                            v1::CreateSessionResponse& response, UnaryCall* call) {
  absl::Status status = call->call().Admit(request);
  if (status.ok()) status = CheckName(request.session_id(), "session_id");
  if (status.ok()) status = CheckRequestId(request.request_id(), "request_id");
  if (!status.ok()) return (void)call->End(status);
  call->call().Names(request.session_id());

  const SessionIdentity identity = context_.factory.NewIdentity(
      request.session_id(), request.request_id(), core::Crc32c(request.SerializeAsString()));
  const absl::StatusOr<std::shared_ptr<SessionHost>> made = call->call().FindSameRequest(identity);
  if (!made.ok()) return (void)call->End(made.status());
  if (*made != nullptr) return (*made)->Describe({}, Described(call, &response));

  absl::StatusOr<core::SessionConfig> config = ConfigFromProto(request.config());
  if (!config.ok()) return (void)call->End(core::PrefixField(config.status(), "config"));
  absl::StatusOr<InitialSource> source = SourceFromProto(request.initial_values(), *config->layout);
  if (!source.ok()) return (void)call->End(source.status());
  if (request.validate_only()) {
    return Described(call, &response)(context_.factory.DryRun(identity, *config));
  }
  context_.factory.Create(identity, *config, *std::move(source),
                          [call, &response](const absl::StatusOr<SessionFactory::Made>& created) {
                            if (!created.ok()) return (void)call->End(created.status());
                            if (created->is_new) call->call().SessionCreated(*created->host);
                            created->host->Describe({}, Described(call, &response));
                          });
}

grpc::ServerBidiReactor<v1::UploadSessionRequest, v1::UploadSessionResponse>*
SessionService::UploadSession(grpc::CallbackServerContext* context) {
  return StartUploadStream(context_, *context);
}

Reactor* SessionService::GetSession(grpc::CallbackServerContext* context,
                                    const v1::GetSessionRequest* request,
                                    v1::GetSessionResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/GetSession", context, response);
  const auto host = call->call().Enter(*request, request->session_id());
  if (!host.ok()) return call->End(host.status());
  (*host)->Describe({.checksum = request->include_checksum(),
                     .digest = request->include_digest(),
                     .open_round = true},
                    Described(call, response));
  return call;
}

Reactor* SessionService::ListSessions(grpc::CallbackServerContext* context,
                                      const v1::ListSessionsRequest* request,
                                      v1::ListSessionsResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/ListSessions", context, response);
  absl::Status status = call->call().Admit(*request);
  if (status.ok()) status = CheckPageSize(request->page_size());
  if (status.ok()) status = CheckPageToken(request->page_token());
  if (!status.ok()) return call->End(status);
  const size_t page_size = PageSize(request->page_size());
  std::vector<std::shared_ptr<SessionHost>> hosts =
      call->call().List(request->page_token(), page_size + 1);
  if (hosts.size() > page_size) {
    hosts.pop_back();
    response->set_next_page_token(hosts.back()->identity().session_id);
  }
  SummarizeFrom(std::make_shared<const std::vector<std::shared_ptr<SessionHost>>>(std::move(hosts)),
                0, response, call);
  return call;
}

void SessionService::SummarizeFrom(
    std::shared_ptr<const std::vector<std::shared_ptr<SessionHost>>> hosts, size_t index,
    v1::ListSessionsResponse* response, UnaryCall* call) {
  if (index == hosts->size()) return (void)call->End(absl::OkStatus());
  (*hosts)[index]->Describe(
      {}, [this, hosts, index, response, call](absl::StatusOr<SessionDescription> found) {
        // A session that was deleted meanwhile is not in the list.
        if (found.ok()) SummaryToProto(*found, *response->add_sessions());
        SummarizeFrom(hosts, index + 1, response, call);
      });
}

Reactor* SessionService::UpdateSession(grpc::CallbackServerContext* context,
                                       const v1::UpdateSessionRequest* request,
                                       v1::UpdateSessionResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/UpdateSession", context, response);
  const auto host = call->call().Enter(*request, request->session_id());
  if (!host.ok()) return call->End(host.status());
  (*host)->Reconfigure(
      request->history(),
      [request](const core::SessionConfig& current) {
        return MergeConfig(current, request->config(), request->update_mask());
      },
      Described(call, response),
      request->has_expected_config_version() ? std::optional(request->expected_config_version())
                                             : std::nullopt);
  return call;
}

grpc::ServerWriteReactor<v1::WatchSessionResponse>* SessionService::WatchSession(
    grpc::CallbackServerContext* context, const v1::WatchSessionRequest* request) {
  auto* reactor = new WatchReactor(context_.door, *context, watches_);
  const auto host = reactor->call().Enter(*request, request->session_id());
  absl::Status status = host.status();
  if (status.ok() && request->history() != 0) status = (*host)->CheckHistory(request->history());
  if (status.ok()) {
    reactor->Start(**host, *request, context_);
  } else {
    reactor->Fail(status);
  }
  return reactor;
}

Reactor* SessionService::ListVersionRecords(grpc::CallbackServerContext* context,
                                            const v1::ListVersionRecordsRequest* request,
                                            v1::ListVersionRecordsResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/ListVersionRecords", context, response);
  const auto host = call->call().Enter(*request, request->session_id());
  absl::Status status = host.status();
  if (status.ok() && request->history() != 0) status = (*host)->CheckHistory(request->history());
  if (status.ok()) status = CheckPageSize(request->page_size());
  if (!status.ok()) return call->End(status);
  // Not on gRPC's thread: there may be thousands of members.
  context_.pool.Post([host = *host, request, response, call] {
    const VersionRecords::Page page = host->records().After(
        request->after_version(), PageSize(request->page_size()), kMaxMembersOfAPage);
    if (host->deleted()) {
      return (void)call->End(MakeError(Reason::kSessionDeleted, "the session was deleted"));
    }
    RecordsToProto(host->identity().history, page.records, page.more, *response);
    call->End(absl::OkStatus());
  });
  return call;
}

Reactor* SessionService::DeleteSession(grpc::CallbackServerContext* context,
                                       const v1::DeleteSessionRequest* request,
                                       v1::DeleteSessionResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/DeleteSession", context, response);
  const auto host = call->call().Enter(*request, request->session_id());
  if (!host.ok()) return call->End(host.status());
  const absl::Status deleted = context_.sessions.Delete(*host, request->history());
  if (deleted.ok()) call->call().SessionDeleted(**host);
  return call->End(deleted);
}

Reactor* SessionService::Join(grpc::CallbackServerContext* context, const v1::JoinRequest* request,
                              v1::JoinResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/Join", context, response);
  const auto host = call->call().Enter(*request, request->session_id());
  if (!host.ok()) return call->End(host.status());
  absl::StatusOr<core::Join> join = JoinFromProto(*request);
  if (!join.ok()) return call->End(join.status());
  (*host)->Join(
      *std::move(join), [this] { return context_.sessions.incarnations().Issue(); },
      [response, call](absl::StatusOr<JoinOutcome> outcome) {
        if (outcome.ok()) JoinToProto(*outcome, *response);
        call->End(outcome.status());
      });
  return call;
}

Reactor* SessionService::Heartbeat(grpc::CallbackServerContext* context,
                                   const v1::HeartbeatRequest* request,
                                   v1::HeartbeatResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/Heartbeat", context, response);
  const auto host = call->call().Enter(*request, request->session_id());
  if (!host.ok()) return call->End(host.status());
  absl::StatusOr<core::Heartbeat> heartbeat = HeartbeatFromProto(*request);
  if (!heartbeat.ok()) return call->End(heartbeat.status());
  (*host)->Heartbeat(*std::move(heartbeat), [response, call](absl::StatusOr<JoinOutcome> outcome) {
    if (outcome.ok()) HeartbeatToProto(*outcome, *response);
    call->End(outcome.status());
  });
  return call;
}

Reactor* SessionService::Leave(grpc::CallbackServerContext* context,
                               const v1::LeaveRequest* request, v1::LeaveResponse* response) {
  UnaryCall* call = Begin("talweg.v1.SessionService/Leave", context, response);
  const auto host = call->call().Enter(*request, request->session_id());
  if (!host.ok()) return call->End(host.status());
  absl::StatusOr<core::Leave> leave = LeaveFromProto(*request);
  if (!leave.ok()) return call->End(leave.status());
  (*host)->Leave(*std::move(leave), [call](const absl::Status& left) { call->End(left); });
  return call;
}

}  // namespace talweg::server
