// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/session_service.h"

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "server/rpc/watch_reactor.h"
#include "server/runtime/clock.h"
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

constexpr size_t kMaxRequestIdBytes = 128;
constexpr size_t kMaxMembersOfAPage = 8192;

// Random, and not 0.
uint64_t NewHistory() {
  std::random_device device;
  uint64_t history = 0;
  while (history == 0) history = (uint64_t{device()} << 32) | device();
  return history;
}

void Finish(Reactor* reactor, const absl::Status& status) { reactor->Finish(Refusal(status)); }

Reactor* Fail(Reactor* reactor, const absl::Status& status) {
  Finish(reactor, status);
  return reactor;
}

}  // namespace

Reactor* SessionService::CreateSession(grpc::CallbackServerContext* call,
                                       const v1::CreateSessionRequest* request,
                                       v1::CreateSessionResponse* response) {
  Reactor* reactor = call->DefaultReactor();
  // A layout may be long: not in gRPC's thread.
  context_.pool.Post([=, this] { Create(*request, *response, reactor); });
  return reactor;
}

void SessionService::Create(const v1::CreateSessionRequest& request,
                            v1::CreateSessionResponse& response, Reactor* reactor) {
  const auto describe = [&response, reactor](const std::shared_ptr<SessionHost>& host) {
    host->Describe(false, [&response, reactor](absl::StatusOr<SessionDescription> description) {
      if (description.ok()) SessionToProto(*description, *response.mutable_session());
      Finish(reactor, description.status());
    });
  };
  absl::Status status = context_.Admit(request);
  if (status.ok()) status = CheckName(request.session_id(), "session_id");
  if (status.ok() && request.request_id().size() > kMaxRequestIdBytes) {
    status = MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("request_id has more than ", kMaxRequestIdBytes, " bytes"),
                       "request_id");
  }
  if (!status.ok()) return Finish(reactor, status);

  SessionIdentity identity{request.session_id(), request.request_id(),
                           core::Crc32c(request.SerializeAsString()), NewHistory(), WallNow()};
  absl::StatusOr<std::shared_ptr<SessionHost>> made = context_.sessions.FindSameRequest(identity);
  if (!made.ok()) return Finish(reactor, made.status());
  if (*made != nullptr) return describe(*made);

  absl::StatusOr<core::SessionConfig> config = ConfigFromProto(request.config());
  if (!config.ok()) return Finish(reactor, core::PrefixField(config.status(), "config"));
  absl::StatusOr<InitialSource> source = SourceFromProto(request.initial_values(), *config->layout);
  if (!source.ok()) return Finish(reactor, source.status());
  if (request.validate_only()) {
    const absl::Status fits = context_.memory.Check(config->MemoryBytes());
    if (!fits.ok()) return Finish(reactor, fits);
    identity.history = 0;
    SessionDescription description;
    description.identity = identity;
    description.config = *config;
    description.config_version = 1;
    description.memory_bytes = config->MemoryBytes();
    SessionToProto(description, *response.mutable_session());
    return Finish(reactor, absl::OkStatus());
  }
  absl::StatusOr<MemoryBudget::Reservation> memory = context_.memory.Reserve(config->MemoryBytes());
  if (!memory.ok()) return Finish(reactor, memory.status());

  auto host = std::make_shared<SessionHost>(identity, *std::move(config), *std::move(memory),
                                            context_.pool);
  const absl::Status inserted = context_.sessions.Insert(host);
  if (!inserted.ok()) {
    // Perhaps this very request came twice, and the other one was faster.
    made = context_.sessions.FindSameRequest(identity);
    if (made.ok() && *made != nullptr) return describe(*made);
    return Finish(reactor, inserted);
  }
  host->Create(*std::move(source), [this, host, reactor, describe](const absl::Status& created) {
    if (created.ok()) {
      LogSessionCreated(host->identity().session_id, host->num_elements());
      return describe(host);
    }
    (void)context_.sessions.Delete(host->identity().session_id, host->identity().history);
    Finish(reactor, created);
  });
}

// What the calls on one session begin with: the host, or the error that the call ends with.
absl::StatusOr<std::shared_ptr<SessionHost>> SessionService::FindHost(
    const google::protobuf::Message& request, const std::string& session_id) const {
  TALWEG_RETURN_IF_ERROR(context_.Admit(request));
  TALWEG_RETURN_IF_ERROR(CheckName(session_id, "session_id"));
  return context_.sessions.Find(session_id);
}

Reactor* SessionService::GetSession(grpc::CallbackServerContext* call,
                                    const v1::GetSessionRequest* request,
                                    v1::GetSessionResponse* response) {
  Reactor* reactor = call->DefaultReactor();
  const auto host = FindHost(*request, request->session_id());
  if (!host.ok()) return Fail(reactor, host.status());
  (*host)->Describe(request->include_checksum(),
                    [response, reactor](absl::StatusOr<SessionDescription> description) {
                      if (description.ok())
                        SessionToProto(*description, *response->mutable_session());
                      Finish(reactor, description.status());
                    });
  return reactor;
}

Reactor* SessionService::ListSessions(grpc::CallbackServerContext* call,
                                      const v1::ListSessionsRequest* request,
                                      v1::ListSessionsResponse* response) {
  Reactor* reactor = call->DefaultReactor();
  absl::Status status = context_.Admit(*request);
  if (status.ok()) status = CheckPageSize(request->page_size());
  if (status.ok()) status = CheckPageToken(request->page_token());
  if (!status.ok()) return Fail(reactor, status);
  const size_t page_size = PageSize(request->page_size());
  std::vector<std::shared_ptr<SessionHost>> hosts =
      context_.sessions.List(request->page_token(), page_size + 1);
  if (hosts.size() > page_size) {
    hosts.pop_back();
    response->set_next_page_token(hosts.back()->identity().session_id);
  }
  SummarizeFrom(std::make_shared<const std::vector<std::shared_ptr<SessionHost>>>(std::move(hosts)),
                0, response, reactor);
  return reactor;
}

void SessionService::SummarizeFrom(
    std::shared_ptr<const std::vector<std::shared_ptr<SessionHost>>> hosts, size_t index,
    v1::ListSessionsResponse* response, Reactor* reactor) {
  if (index == hosts->size()) return Finish(reactor, absl::OkStatus());
  (*hosts)[index]->Describe(
      false, [this, hosts, index, response, reactor](absl::StatusOr<SessionDescription> found) {
        // One that was deleted meanwhile is not in the list.
        if (found.ok()) SummaryToProto(*found, *response->add_sessions());
        SummarizeFrom(hosts, index + 1, response, reactor);
      });
}

Reactor* SessionService::UpdateSession(grpc::CallbackServerContext* call,
                                       const v1::UpdateSessionRequest* request,
                                       v1::UpdateSessionResponse* response) {
  Reactor* reactor = call->DefaultReactor();
  const auto host = FindHost(*request, request->session_id());
  if (!host.ok()) return Fail(reactor, host.status());
  (*host)->Reconfigure(
      request->history(),
      [request](const core::SessionConfig& current) {
        return MergeConfig(current, request->config(), request->update_mask());
      },
      [response, reactor](absl::StatusOr<SessionDescription> description) {
        if (description.ok()) SessionToProto(*description, *response->mutable_session());
        Finish(reactor, description.status());
      });
  return reactor;
}

grpc::ServerWriteReactor<v1::WatchSessionResponse>* SessionService::WatchSession(
    grpc::CallbackServerContext* call, const v1::WatchSessionRequest* request) {
  auto* reactor = new WatchReactor(*call, watches_);
  const auto host = FindHost(*request, request->session_id());
  absl::Status status = host.status();
  if (status.ok() && request->history() != 0) status = (*host)->CheckHistory(request->history());
  if (status.ok()) {
    reactor->Start(**host, *request, context_);
  } else {
    reactor->Fail(status);
  }
  return reactor;
}

Reactor* SessionService::ListVersionRecords(grpc::CallbackServerContext* call,
                                            const v1::ListVersionRecordsRequest* request,
                                            v1::ListVersionRecordsResponse* response) {
  Reactor* reactor = call->DefaultReactor();
  const auto host = FindHost(*request, request->session_id());
  absl::Status status = host.status();
  if (status.ok() && request->history() != 0) status = (*host)->CheckHistory(request->history());
  if (status.ok()) status = CheckPageSize(request->page_size());
  if (!status.ok()) return Fail(reactor, status);
  // There may be thousands: not in gRPC's thread.
  context_.pool.Post([host = *host, request, response, reactor] {
    const VersionRecords::Page page = host->records().After(
        request->after_version(), PageSize(request->page_size()), kMaxMembersOfAPage);
    if (host->deleted()) {
      return Finish(reactor, MakeError(Reason::kSessionDeleted, "the session was deleted"));
    }
    response->set_history(host->identity().history);
    for (const core::VersionRecord& record : page.records) {
      RecordToProto(record, *response->add_records());
    }
    response->set_more(page.more);
    Finish(reactor, absl::OkStatus());
  });
  return reactor;
}

Reactor* SessionService::DeleteSession(grpc::CallbackServerContext* call,
                                       const v1::DeleteSessionRequest* request,
                                       v1::DeleteSessionResponse* /*response*/) {
  Reactor* reactor = call->DefaultReactor();
  absl::Status status = context_.Admit(*request);
  if (status.ok()) status = CheckName(request->session_id(), "session_id");
  if (status.ok()) status = context_.sessions.Delete(request->session_id(), request->history());
  if (status.ok()) LogSessionDeleted(request->session_id());
  Finish(reactor, status);
  return reactor;
}

Reactor* SessionService::Join(grpc::CallbackServerContext* call, const v1::JoinRequest* request,
                              v1::JoinResponse* response) {
  Reactor* reactor = call->DefaultReactor();
  const auto host = FindHost(*request, request->session_id());
  if (!host.ok()) return Fail(reactor, host.status());
  const absl::Status named = CheckName(request->worker(), "worker");
  if (!named.ok()) return Fail(reactor, named);
  const absl::StatusOr<core::Roles> roles = RolesFromProto(*request);
  if (!roles.ok()) return Fail(reactor, roles.status());
  (*host)->Join(
      request->worker(), *roles, [this] { return context_.sessions.NextIncarnation(); },
      [response, reactor](absl::StatusOr<JoinOutcome> outcome) {
        if (outcome.ok()) JoinToProto(*outcome, *response);
        Finish(reactor, outcome.status());
      });
  return reactor;
}

Reactor* SessionService::Heartbeat(grpc::CallbackServerContext* call,
                                   const v1::HeartbeatRequest* request,
                                   v1::HeartbeatResponse* response) {
  Reactor* reactor = call->DefaultReactor();
  const auto host = FindHost(*request, request->session_id());
  if (!host.ok()) return Fail(reactor, host.status());
  const absl::Status member =
      CheckMember(request->worker(), request->history(), request->incarnation());
  if (!member.ok()) return Fail(reactor, member);
  (*host)->Heartbeat({request->history(), request->worker(), request->incarnation()},
                     [response, reactor](absl::StatusOr<JoinOutcome> outcome) {
                       if (outcome.ok()) HeartbeatToProto(*outcome, *response);
                       Finish(reactor, outcome.status());
                     });
  return reactor;
}

Reactor* SessionService::Leave(grpc::CallbackServerContext* call, const v1::LeaveRequest* request,
                               v1::LeaveResponse* /*response*/) {
  Reactor* reactor = call->DefaultReactor();
  const auto host = FindHost(*request, request->session_id());
  if (!host.ok()) return Fail(reactor, host.status());
  const absl::Status member =
      CheckMember(request->worker(), request->history(), request->incarnation());
  if (!member.ok()) return Fail(reactor, member);
  (*host)->Leave({request->history(), request->worker(), request->incarnation()},
                 [reactor](const absl::Status& left) { Finish(reactor, left); });
  return reactor;
}

}  // namespace talweg::server
