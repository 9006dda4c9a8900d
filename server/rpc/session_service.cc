// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/session_service.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/kernels/squared_norm.h"
#include "server/rpc/watch_reactor.h"
#include "server/runtime/clock.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/names.h"
#include "server/wire/record_to_proto.h"
#include "server/wire/report_to_proto.h"
#include "server/wire/round_to_proto.h"
#include "server/wire/section_codec.h"

namespace talweg::server {
namespace {

using core::MakeError;
using core::Reason;
using Reactor = grpc::ServerUnaryReactor;

constexpr size_t kMaxRequestIdBytes = 128;
constexpr uint32_t kDefaultPageSize = 50;
constexpr uint32_t kMaxPageSize = 1000;
constexpr size_t kMaxMembersOfAPage = 8192;

void ToProto(const SessionDescription& description, v1::Session& proto) {
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
  if (description.open_round.has_value()) {
    *proto.mutable_open_round() = RoundToProto(*description.open_round);
  }
}

void ToSummary(const SessionDescription& description, v1::SessionSummary& proto) {
  proto.set_session_id(description.identity.session_id);
  proto.set_history(description.identity.history);
  proto.set_version(description.version);
  proto.set_optimizer(std::string(description.config->method->name));
  proto.set_num_elements(description.config->layout->num_elements());
  proto.set_memory_bytes(description.memory_bytes);
  proto.set_num_live_workers(description.num_live_workers);
  *proto.mutable_create_time() = TimeToProto(description.identity.create_time);
}

// Random, and not 0.
uint64_t NewHistory() {
  std::random_device device;
  uint64_t history = 0;
  while (history == 0) history = (uint64_t{device()} << 32) | device();
  return history;
}

bool AllFinite(const core::EncodedVector& vector) {
  float block[core::kBlock];
  const size_t element_bytes = core::DtypeBytes(vector.dtype);
  absl::string_view bytes = vector.bytes;
  while (!bytes.empty()) {
    const absl::string_view piece = bytes.substr(0, core::kBlock * element_bytes);
    const absl::Span<float> values(block, piece.size() / element_bytes);
    core::ToFloat32(vector.dtype, piece.data(), values);
    if (!std::isfinite(core::SquaredNorm(values))) return false;
    bytes.remove_prefix(piece.size());
  }
  return true;
}

// Where version 0 comes from; uploaded bytes are borrowed from the request.
absl::StatusOr<InitialSource> SourceFromProto(const v1::InitialValues& values,
                                              const core::Layout& layout) {
  switch (values.source_case()) {
    case v1::InitialValues::kUploaded: {
      absl::StatusOr<core::EncodedVector> vector =
          ParametersOf(values.uploaded(), layout.num_elements());
      if (!vector.ok()) return core::PrefixField(vector.status(), "initial_values.uploaded");
      if (!AllFinite(*vector)) {
        return MakeError(Reason::kInitialValuesInvalid, "initial values hold a NaN or an infinity",
                         values.uploaded().values().empty() ? "initial_values.uploaded.data"
                                                            : "initial_values.uploaded.values");
      }
      return InitialSource(*vector);
    }
    case v1::InitialValues::kSeeded: {
      absl::StatusOr<core::InitialValues> plan = InitialValuesFromProto(layout, values.seeded());
      if (!plan.ok()) return core::PrefixField(plan.status(), "initial_values.seeded");
      return InitialSource(*std::move(plan));
    }
    case v1::InitialValues::SOURCE_NOT_SET:
      break;
  }
  return MakeError(Reason::kFieldRequired, "a session needs initial values", "initial_values");
}

absl::Status CheckMember(const std::string& worker, uint64_t history, uint64_t incarnation) {
  TALWEG_RETURN_IF_ERROR(CheckName(worker, "worker"));
  if (history == 0) return MakeError(Reason::kFieldRequired, "history is required", "history");
  if (incarnation == 0) {
    return MakeError(Reason::kFieldRequired, "incarnation is required", "incarnation");
  }
  return absl::OkStatus();
}

absl::Status CheckPageSize(uint32_t page_size) {
  if (page_size <= kMaxPageSize) return absl::OkStatus();
  return MakeError(Reason::kFieldOutOfRange,
                   absl::StrCat("page_size is ", page_size, ", allowed: 1 to ", kMaxPageSize),
                   "page_size");
}

size_t PageSize(uint32_t page_size) { return page_size == 0 ? kDefaultPageSize : page_size; }

// What a worker that joins does. FIELD_OUT_OF_RANGE, WRONG_METHOD.
absl::StatusOr<core::Roles> RolesFromProto(const v1::JoinRequest& request) {
  std::set<int> seen;
  for (const int role : request.roles()) {
    if (role == v1::ROLE_UNSPECIFIED || !v1::Role_IsValid(role)) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("roles has the value ", role, ", which is no role"), "roles");
    }
    if (!seen.insert(role).second) {
      return MakeError(Reason::kFieldOutOfRange,
                       absl::StrCat("roles has ", v1::Role_Name(role), " twice"), "roles");
    }
  }
  if (seen.count(v1::ROLE_SEARCH) > 0) {
    return MakeError(Reason::kWrongMethod, "the session is trained by gradients, not by search",
                     "roles");
  }
  const bool gradient = seen.empty() || seen.count(v1::ROLE_GRADIENT) > 0;
  const bool statistics = seen.count(v1::ROLE_STATISTICS) > 0;
  if (gradient && statistics) return core::Roles{core::Role::kGradient, core::Role::kStatistics};
  return gradient ? core::Roles{core::Role::kGradient} : core::Roles{core::Role::kStatistics};
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
      if (description.ok()) ToProto(*description, *response.mutable_session());
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
    const absl::Status fits = context_.factory.Check(*config);
    if (!fits.ok()) return Finish(reactor, fits);
    identity.history = 0;
    SessionDescription description;
    description.identity = identity;
    description.config = *config;
    description.config_version = 1;
    description.memory_bytes = config->MemoryBytes();
    ToProto(description, *response.mutable_session());
    return Finish(reactor, absl::OkStatus());
  }
  context_.factory.Create(identity, *config, *std::move(source),
                          [describe, reactor](const absl::StatusOr<SessionFactory::Made>& created) {
                            if (!created.ok()) return Finish(reactor, created.status());
                            if (created->is_new) {
                              LogSessionCreated(created->host->identity().session_id,
                                                created->host->num_elements());
                            }
                            describe(created->host);
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
                      if (description.ok()) ToProto(*description, *response->mutable_session());
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
  // A token is the last id of the page before, so any other string cannot be one.
  if (status.ok() && !request->page_token().empty() &&
      !CheckName(request->page_token(), "page_token").ok()) {
    status = MakeError(Reason::kPageTokenInvalid, "page_token is not one that this server gave",
                       "page_token");
  }
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
        if (found.ok()) ToSummary(*found, *response->add_sessions());
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
        if (description.ok()) ToProto(*description, *response->mutable_session());
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
      request->worker(), *roles, [this] { return context_.sessions.incarnations().Next(); },
      [response, reactor](absl::StatusOr<JoinOutcome> outcome) {
        if (outcome.ok()) {
          response->set_history(outcome->history);
          response->set_version(outcome->version);
          response->set_incarnation(outcome->incarnation);
          response->set_lease_seconds(outcome->lease_seconds);
          response->set_replies_wait(outcome->replies_wait);
        }
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
                       if (outcome.ok()) {
                         response->set_history(outcome->history);
                         response->set_version(outcome->version);
                         response->set_lease_seconds(outcome->lease_seconds);
                       }
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
