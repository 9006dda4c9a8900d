// SPDX-License-Identifier: Apache-2.0
//
// A connection to a Talweg server, and the life of its sessions.
//
//   talweg::Client client = talweg::Client::Connect("127.0.0.1:50551").value();
//   client.CreateOrAttach(request).value();
//   talweg::Session session = client.Join("mlp", "worker-0").value();
//
// Errors keep the server's reason (status.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/pull.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/session.h"
#include "client/cpp/talweg/status.h"
#include "talweg/v1/search_service.pb.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

struct ClientOptions {
  absl::Duration connect_timeout = absl::Seconds(10);  // until the server answers
  // Called about ten times a second, with the time since the beginning, while Connect waits for the
  // server. Unset: nothing is called.
  std::function<void(absl::Duration waited)> connecting = {};
  // The largest message either way, in bytes: a contribution of 64 MiB, and what stands around it.
  uint64_t max_message_bytes = (uint64_t{64} << 20) + (uint64_t{1} << 20);
  // A Step with more bytes of numbers than this, either way, goes over a stream. With more than
  // 64 MiB it always does, because no message holds them.
  uint64_t stream_threshold_bytes = uint64_t{4} << 20;
  RetryOptions retry;  // of every call
  // From a thread of each Session's own, every third of the lease, whatever the worker does.
  // Without them a worker that computes for longer than the lease expires, and its round closes
  // without it.
  bool heartbeats = true;
};

// A session that CreateOrAttach made or found.
struct AttachedSession {
  v1::Session session;  // with the resolved configuration
  bool created = false;
};

// What is told of a session beside the rest: what takes time.
struct GetSessionOptions {
  bool checksum = false;  // `state_checksum`, which reads the whole state
  bool digest = false;    // `state_digest`, which reads the parameters and the slots
};

// Which of a session's steps are watched.
struct WatchOptions {
  uint64_t history = 0;        // 0: the one that is current then
  uint64_t after_version = 0;  // only steps that made a later version
  bool follow = false;         // go on with each new step; false: only the steps that are there
  // Called about ten times a second while nothing comes. Unset: nothing is called.
  std::function<void()> idle = {};
};

// Which records of versions are asked for.
struct VersionRecordsOptions {
  uint64_t history = 0;        // 0: the one that is current then
  uint64_t after_version = 0;  // only records of later versions
};

// Cheap to copy; copies share the connection, and a Session may outlive its Client. Thread-safe.
class Client {
 public:
  // Connects to `address` ("host:port") in plaintext. UNAVAILABLE if the server does not answer
  // within `connect_timeout`, CANCELLED if `retry.stop` ended that wait.
  static absl::StatusOr<Client> Connect(absl::string_view address,
                                        const ClientOptions& options = {});
  // Takes the caller's transport instead: for tests.
  Client(std::shared_ptr<Transport> transport, const ClientOptions& options);

  // Makes a session. If there is no `request_id`, a random one is set, so that retries are safe.
  // Fails with SESSION_EXISTS if another request made the session.
  absl::StatusOr<v1::Session> CreateSession(v1::CreateSessionRequest request) const;
  // The same with these values of version 0, all elements in the order of the layout, in place of
  // those of the request. Values of any size: above 1 MiB they are uploaded over a stream, also by
  // the function above, and what breaks is taken up where it ended. A dry run sends no such values.
  absl::StatusOr<v1::Session> CreateSession(v1::CreateSessionRequest request,
                                            absl::Span<const float> initial_values,
                                            const UploadOptions& options = {}) const;

  // Makes a session. If a session of that name is there and has the same layout and method, takes
  // that session; its schedule, policy and values stay as they are. FAILED_PRECONDITION, saying
  // what differs, if it has another layout or method. Of several workers that start together with
  // large values, each holds the memory of a whole session until the first is made: MEMORY_QUOTA or
  // TOO_MANY_SESSIONS if the server has less. Let one of them create it then.
  absl::StatusOr<AttachedSession> CreateOrAttach(const v1::CreateSessionRequest& request) const;

  absl::StatusOr<v1::Session> GetSession(absl::string_view session_id,
                                         const GetSessionOptions& options = {}) const;

  // All sessions in the order of their ids, page by page.
  absl::StatusOr<std::vector<v1::SessionSummary>> ListSessions() const;

  // Changes hyper-parameters from the next version on.
  absl::StatusOr<v1::Session> UpdateSession(const v1::UpdateSessionRequest& request) const;

  // Hands the steps of a session to `take`, in the order of their versions, each once. The first
  // message says the history and may have no steps. After a broken stream the watch goes on behind
  // the last version seen. Silence is no reason to give up; a server that does not answer for
  // `overall_timeout` is. An error of `take` ends the watch and is returned. Fails with CANCELLED
  // if `stop` of RetryOptions, which is asked ten times a second here, says so, and with
  // SESSION_DELETED or HISTORY_CHANGED.
  absl::Status WatchSession(
      absl::string_view session_id, const WatchOptions& options,
      absl::FunctionRef<absl::Status(const v1::WatchSessionResponse& message)> take) const;

  // Hands the generations of a session that searches to `take`, each once, in the order of the
  // versions that they made: the losses that a replay needs. As WatchSession, and fails with
  // VERSION_GONE if the server does not keep the generation behind `after_version` any more.
  absl::Status WatchGenerations(
      absl::string_view session_id, const WatchOptions& options,
      absl::FunctionRef<absl::Status(const v1::WatchGenerationsResponse& message)> take) const;

  // Tells which workers made which version: the records that the server keeps, by version.
  absl::StatusOr<std::vector<v1::VersionRecord>> VersionRecords(
      absl::string_view session_id, const VersionRecordsOptions& options = {}) const;

  // Deletes a session. With `history` 0 the session that is there now is meant. A retry never
  // deletes a session that was made anew in between.
  absl::Status DeleteSession(absl::string_view session_id, uint64_t history = 0) const;

  // Fills `parameters` with the current version, or with the version that `options` waits for. The
  // caller need not have joined.
  absl::StatusOr<PulledVersion> Pull(absl::string_view session_id, absl::Span<float> parameters,
                                     const PullOptions& options = {}) const;

  // Joins a session as `worker`, a name that stays the same across restarts. A process that joined
  // under the same name before is fenced. WorkerName() (worker_name.h) makes a name from the
  // environment. The steps of all sessions of one Client share its connection, on which a server
  // takes 256 calls at a time: if more may wait for a round, connect several clients.
  absl::StatusOr<Session> Join(absl::string_view session_id, absl::string_view worker,
                               const JoinOptions& options = {}) const;

  // The calls of a worker's life, one by one, for tools. Programs use Join(): a Session makes these
  // calls by itself, and keeps the lease. A join without a `nonce` gets a random one, so that
  // retries are safe.
  absl::StatusOr<v1::JoinResponse> CallJoin(v1::JoinRequest request) const;
  absl::StatusOr<v1::HeartbeatResponse> CallHeartbeat(const v1::HeartbeatRequest& request) const;
  absl::Status CallLeave(const v1::LeaveRequest& request) const;

 private:
  template <class Request, class Response>
  absl::Status CallWithRetry(const Request& request, Response& response,
                             int* num_attempts = nullptr) const;
  absl::StatusOr<v1::Session> Upload(v1::CreateSessionRequest request,
                                     const v1::Section& section) const;

  std::shared_ptr<Transport> transport_;
  ClientOptions options_;
};

// Digest of a layout as the server computes it; see AddToLayoutDigest of core/base/layout.h.
uint64_t LayoutDigest(const v1::Layout& layout);

}  // namespace talweg
