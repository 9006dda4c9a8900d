// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/client.h"

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/talweg/dtype.h"
#include "client/cpp/talweg/grpc_transport.h"
#include "client/cpp/talweg/random_id.h"
#include "client/cpp/talweg/upload.h"
#include "core/base/layout.h"

namespace talweg {
namespace {

constexpr uint32_t kPageSize = 1000;
// Initial values that are larger go over a stream.
constexpr size_t kMaxInlineBytes = size_t{1} << 20;

size_t NumbersBytes(const v1::Section& section) {
  return section.data().size() + static_cast<size_t>(section.values_size()) * sizeof(float);
}

// Whether a stream can carry the section: whole elements, from the first one on.
bool IsWholeVector(const v1::Section& section) {
  const bool is_list = !section.values().empty();
  return section.kind() == v1::SECTION_KIND_PARAMETERS && v1::Dtype_IsValid(section.dtype()) &&
         section.begin_element() == 0 && section.data().size() % DtypeBytes(section.dtype()) == 0 &&
         (!is_list || (section.data().empty() && DtypeBytes(section.dtype()) == sizeof(float)));
}

// The name of the method that is set, as in Optimizer; empty if none is set.
std::string MethodName(const v1::Optimizer& optimizer) {
  const auto* oneof = v1::Optimizer::descriptor()->FindOneofByName("method");
  const auto* field = optimizer.GetReflection()->GetOneofFieldDescriptor(optimizer, oneof);
  return field == nullptr ? std::string() : std::string(field->name());
}

std::string LayoutText(const v1::Layout& layout) {
  return absl::StrJoin(layout.tensors(), " ", [](std::string* out, const v1::Tensor& tensor) {
    absl::StrAppend(out, tensor.name(), ":", absl::StrJoin(tensor.shape(), ","));
  });
}

// What keeps `there` from serving a client that asked for `wanted`; empty if nothing does.
std::string Difference(const v1::SessionConfig& wanted, const v1::Session& there) {
  const std::string method = MethodName(wanted.optimizer());
  const std::string method_there = MethodName(there.config().optimizer());
  if (method != method_there) {
    return absl::StrCat("its optimizer is ", method_there, ", asked for ", method);
  }
  if (LayoutDigest(wanted.layout()) != there.layout_digest()) {
    return absl::StrCat("its layout is \"", LayoutText(there.config().layout()), "\", asked for \"",
                        LayoutText(wanted.layout()), "\"");
  }
  return "";
}

}  // namespace

absl::StatusOr<Client> Client::Connect(absl::string_view address, const ClientOptions& options) {
  const absl::Time begin = absl::Now();
  auto transport = ConnectGrpc(address, options.max_message_bytes, options.connect_timeout,
                               [&]() -> absl::Status {
                                 if (options.retry.stop && options.retry.stop())
                                   return absl::CancelledError("stopped");
                                 if (options.connecting) options.connecting(absl::Now() - begin);
                                 return absl::OkStatus();
                               });
  if (!transport.ok()) return transport.status();
  return Client(*std::move(transport), options);
}

Client::Client(std::shared_ptr<Transport> transport, const ClientOptions& options)
    : transport_(std::move(transport)), options_(options) {}

template <class Request, class Response>
absl::Status Client::CallWithRetry(const Request& request, Response& response,
                                   int* num_attempts) const {
  return Retry(
      options_.retry, *transport_,
      [&](absl::Duration timeout) { return transport_->Call(request, response, timeout); },
      num_attempts);
}

absl::StatusOr<v1::Session> Client::CreateSession(v1::CreateSessionRequest request) const {
  if (request.request_id().empty()) request.set_request_id(RandomId());
  if (NumbersBytes(request.initial_values().uploaded()) > kMaxInlineBytes) {
    const v1::Section section = std::move(*request.mutable_initial_values()->mutable_uploaded());
    if (IsWholeVector(section)) return Upload(std::move(request), section);
    *request.mutable_initial_values()->mutable_uploaded() = section;  // to be refused
  }
  v1::CreateSessionResponse response;
  const absl::Status status = CallWithRetry(request, response);
  if (!status.ok()) return status;
  return std::move(*response.mutable_session());
}

absl::StatusOr<v1::Session> Client::Upload(v1::CreateSessionRequest request,
                                           const v1::Section& section) const {
  request.clear_initial_values();
  const size_t element_bytes = DtypeBytes(section.dtype());
  // Numbers that stand in a list have float32's bytes.
  const char* const from = section.values().empty()
                               ? section.data().data()
                               : reinterpret_cast<const char*>(section.values().data());
  const uint64_t num_elements =
      section.values().empty() ? section.data().size() / element_bytes : section.values().size();
  return UploadSession(
      *transport_, options_.retry, request,
      {section.dtype(), num_elements, [&](uint64_t begin, uint64_t count, char* bytes) {
         std::memcpy(bytes, from + begin * element_bytes, count * element_bytes);
       }});
}

absl::StatusOr<v1::Session> Client::CreateSession(v1::CreateSessionRequest request,
                                                  absl::Span<const float> initial_values,
                                                  const UploadOptions& options) const {
  request.clear_initial_values();
  const auto fill = [&](uint64_t begin, uint64_t count, char* bytes) {
    EncodeFloats(options.dtype, initial_values.subspan(begin, count), bytes);
  };
  const size_t num_bytes = initial_values.size() * DtypeBytes(options.dtype);
  if (num_bytes > kMaxInlineBytes) {
    if (request.request_id().empty()) request.set_request_id(RandomId());
    return UploadSession(*transport_, options_.retry, request,
                         {options.dtype, initial_values.size(), fill}, options.progress);
  }
  v1::Section& section = *request.mutable_initial_values()->mutable_uploaded();
  section.set_kind(v1::SECTION_KIND_PARAMETERS);
  section.set_dtype(options.dtype);
  section.mutable_data()->resize(num_bytes);
  fill(0, initial_values.size(), section.mutable_data()->data());
  return CreateSession(std::move(request));
}

absl::StatusOr<AttachedSession> Client::CreateOrAttach(
    const v1::CreateSessionRequest& request) const {
  absl::StatusOr<v1::Session> created = CreateSession(request);
  if (created.ok()) return AttachedSession{*std::move(created), true};
  if (ReasonOf(created.status()) != "SESSION_EXISTS") return created.status();
  absl::StatusOr<v1::Session> found = GetSession(request.session_id());
  if (!found.ok()) return found.status();
  const std::string difference = Difference(request.config(), *found);
  if (!difference.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("session \"", request.session_id(), "\" is another: ", difference));
  }
  return AttachedSession{*std::move(found), false};
}

absl::StatusOr<v1::Session> Client::GetSession(absl::string_view session_id,
                                               const GetSessionOptions& options) const {
  v1::GetSessionRequest request;
  request.set_session_id(std::string(session_id));
  request.set_include_checksum(options.checksum);
  request.set_include_digest(options.digest);
  v1::GetSessionResponse response;
  const absl::Status status = CallWithRetry(request, response);
  if (!status.ok()) return status;
  return std::move(*response.mutable_session());
}

absl::StatusOr<std::vector<v1::SessionSummary>> Client::ListSessions() const {
  std::vector<v1::SessionSummary> sessions;
  v1::ListSessionsRequest request;
  request.set_page_size(kPageSize);
  do {
    v1::ListSessionsResponse page;
    const absl::Status status = CallWithRetry(request, page);
    if (!status.ok()) return status;
    for (v1::SessionSummary& session : *page.mutable_sessions()) {
      sessions.push_back(std::move(session));
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return sessions;
}

absl::StatusOr<v1::Session> Client::UpdateSession(const v1::UpdateSessionRequest& request) const {
  v1::UpdateSessionResponse response;
  const absl::Status status = CallWithRetry(request, response);
  if (!status.ok()) return status;
  return std::move(*response.mutable_session());
}

absl::StatusOr<std::vector<v1::VersionRecord>> Client::VersionRecords(
    absl::string_view session_id, const VersionRecordsOptions& options) const {
  std::vector<v1::VersionRecord> records;
  v1::ListVersionRecordsRequest request;
  request.set_session_id(std::string(session_id));
  request.set_history(options.history);
  request.set_after_version(options.after_version);
  request.set_page_size(kPageSize);
  for (bool more = true; more;) {
    v1::ListVersionRecordsResponse page;
    const absl::Status status = CallWithRetry(request, page);
    if (!status.ok()) return status;
    for (v1::VersionRecord& record : *page.mutable_records()) {
      if (record.version() <= request.after_version()) {
        return absl::InternalError("the server told a version twice");
      }
      request.set_after_version(record.version());
      records.push_back(std::move(record));
    }
    more = page.more() && page.records_size() > 0;
    // All pages are of one history.
    request.set_history(page.history());
  }
  return records;
}

absl::Status Client::DeleteSession(absl::string_view session_id, uint64_t history) const {
  if (history == 0) {
    const absl::StatusOr<v1::Session> found = GetSession(session_id);
    if (!found.ok()) return found.status();
    history = found->history();
  }
  v1::DeleteSessionRequest request;
  request.set_session_id(std::string(session_id));
  request.set_history(history);
  v1::DeleteSessionResponse response;
  int num_attempts = 0;
  absl::Status status = CallWithRetry(request, response, &num_attempts);
  const std::string reason = ReasonOf(status);
  // An attempt whose reply was lost had worked: that session is gone.
  const bool gone = reason == "SESSION_NOT_FOUND" || reason == "HISTORY_CHANGED";
  return num_attempts > 1 && gone ? absl::OkStatus() : status;
}

absl::StatusOr<PulledVersion> Client::Pull(absl::string_view session_id,
                                           absl::Span<float> parameters,
                                           const PullOptions& options) const {
  return PullParameters(*transport_, options_.retry, session_id, 0, parameters, options);
}

absl::StatusOr<Session> Client::Join(absl::string_view session_id, absl::string_view worker,
                                     const JoinOptions& options) const {
  return Session::Join(transport_, options_, session_id, worker, options);
}

absl::StatusOr<v1::JoinResponse> Client::CallJoin(v1::JoinRequest request) const {
  if (request.nonce().empty()) request.set_nonce(RandomId());
  v1::JoinResponse response;
  const absl::Status status = CallWithRetry(request, response);
  if (!status.ok()) return status;
  return response;
}

absl::StatusOr<v1::HeartbeatResponse> Client::CallHeartbeat(
    const v1::HeartbeatRequest& request) const {
  v1::HeartbeatResponse response;
  const absl::Status status = CallWithRetry(request, response);
  if (!status.ok()) return status;
  return response;
}

absl::Status Client::CallLeave(const v1::LeaveRequest& request) const {
  v1::LeaveResponse response;
  int num_attempts = 0;
  const absl::Status status = CallWithRetry(request, response, &num_attempts);
  // An attempt whose reply was lost had worked.
  const bool left = num_attempts > 1 && ReasonOf(status) == "WORKER_NOT_JOINED";
  return left ? absl::OkStatus() : status;
}

uint64_t LayoutDigest(const v1::Layout& layout) {
  uint64_t digest = core::kEmptyLayoutDigest;
  for (const v1::Tensor& tensor : layout.tensors()) {
    digest = core::AddToLayoutDigest(
        digest, tensor.name(),
        absl::MakeConstSpan(tensor.shape().data(), static_cast<size_t>(tensor.shape_size())));
  }
  return digest;
}

}  // namespace talweg
