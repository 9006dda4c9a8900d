// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/upload_stream.h"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "server/rpc/grpc_call.h"
#include "server/rpc/upload_machine.h"
#include "server/runtime/operation_queue.h"
#include "server/wire/config_from_proto.h"
#include "server/wire/names.h"
#include "server/wire/session_to_proto.h"

namespace talweg::server {
namespace {

using Request = v1::UploadSessionRequest;
using Response = v1::UploadSessionResponse;

// One call. gRPC's threads only post: everything that happens is an event in a queue of operations
// on the pool, which runs one at a time. One frame is read at a time, when the frame before was
// taken; what the client sends ahead waits in the connection.
class UploadStream final : public grpc::ServerBidiReactor<Request, Response>,
                           public UploadWorld,
                           public std::enable_shared_from_this<UploadStream> {
 public:
  UploadStream(const ServiceContext& context, const grpc::CallbackServerContext& grpc)
      : context_(context),
        grpc_(grpc),
        call_(context.door, FactsOf("talweg.v1.SessionService/UploadSession", grpc)),
        queue_({.post = [this](OperationQueue::Task task) { context_.pool.Post(std::move(task)); },
                .hold = [this] { return weak_from_this().lock(); }}) {}

  ~UploadStream() override { context_.stop.stopping.Forget(stop_listener_); }

  // The stream lives until OnDone, and as long as anything else holds it.
  void Start() {
    self_ = shared_from_this();
    stop_listener_ = context_.stop.stopping.Listen([post = Poster()] {
      post([](UploadStream& stream) { stream.machine_.Stop(stream.context_.stop.gate.Check()); });
    });
    Poster()([](UploadStream& stream) {
      if (!stream.call_.let_in().ok()) stream.End(stream.call_.let_in());
    });
  }

  // --- gRPC's side.

  void OnReadDone(bool ok) override {
    if (ok) call_.CountIn(incoming_.ByteSizeLong());
    Poster()([ok](UploadStream& stream) {
      stream.reading_ = false;
      stream.reads_ended_ = !ok;
      if (stream.ended_) return;
      if (ok) {
        stream.machine_.Take(stream.incoming_);
      } else {
        stream.machine_.NoMoreFrames();
      }
    });
  }

  void OnWriteDone(bool ok) override {
    Poster()([ok](UploadStream& stream) {
      stream.writing_ = false;
      stream.to_write_.pop_front();
      if (!ok) stream.Gone();
    });
  }

  void OnCancel() override {
    Poster()([](UploadStream& stream) { stream.Gone(); });
  }

  void OnDone() override {
    call_.Over(grpc_.IsCancelled());
    self_.reset();
  }

  // --- The machine's side.

  void Open(const v1::CreateSessionRequest& request) override {
    const absl::Status opened = BeginToOpen(request);
    if (!opened.ok()) machine_.Opened(core::PrefixField(opened, "create"));
  }

  void StopOpening() override { context_.uploads.Forget(place_); }

  void Make(std::unique_ptr<Upload> upload) override {
    PreparedSession prepared = std::move(upload->arrived()->session);
    upload->Discard();
    // The hold stays until the session is made, so that a stream of the same upload that comes
    // meanwhile waits, and is then told of the session.
    context_.factory.Create(context_.factory.NewIdentity(identity_.session_id, identity_.request_id,
                                                         identity_.request_digest),
                            std::move(prepared),
                            [self = shared_from_this(), upload = std::move(upload)](
                                const absl::StatusOr<SessionFactory::Made>& made) mutable {
                              upload.reset();
                              if (!made.ok()) return self->Tell(made.status());
                              if (made->is_new) self->call_.SessionCreated(*made->host);
                              self->Describe(*made->host);
                            });
  }

  void SendGrant(uint64_t begin_element, uint64_t num_elements) override {
    v1::UploadGrant& grant = *to_write_.emplace_back().mutable_grant();
    grant.set_begin_element(begin_element);
    grant.set_num_elements(num_elements);
  }

  void SendCreated(const v1::CreateSessionResponse& created) override {
    *to_write_.emplace_back().mutable_created() = created;
  }

  // The first end counts.
  void End(const absl::Status& status) override {
    if (ended_) return;
    ended_ = true;
    status_ = status;
    if (!status.ok() && !writing_) to_write_.clear();
    machine_.LetGo();
  }

 private:
  using Event = absl::AnyInvocable<void(UploadStream&)>;

  void Gone() { End(absl::CancelledError("the client has gone")); }

  // --- The queue. After each event, whatever may start is started.

  std::function<void(Event)> Poster() {
    return [weak = weak_from_this()](Event event) {
      const auto self = weak.lock();
      if (self == nullptr) return;
      self->queue_.Add(
          [stream = self.get(), event = std::move(event)](OperationQueue::Task finished) mutable {
            event(*stream);
            event = nullptr;
            stream->Drive();
            finished();
          });
    };
  }

  void Drive() {
    if (finished_) return;
    if (!writing_ && !to_write_.empty()) {
      writing_ = true;
      call_.CountOut(to_write_.front().ByteSizeLong());
      StartWrite(&to_write_.front());
    }
    if (ended_) {
      if (writing_) return;
      finished_ = true;
      return Finish(Ending(call_, status_));
    }
    if (reading_ || reads_ended_ || !machine_.TakesFrames()) return;
    reading_ = true;
    StartRead(&incoming_);
  }

  // --- Opening.

  absl::Status BeginToOpen(const v1::CreateSessionRequest& request) {
    TALWEG_RETURN_IF_ERROR(context_.stop.gate.Check());
    TALWEG_RETURN_IF_ERROR(CheckName(request.session_id(), "session_id"));
    TALWEG_RETURN_IF_ERROR(CheckRequestId(request.request_id(), "request_id"));
    call_.Names(request.session_id());
    if (request.request_id().empty()) {
      return core::MakeError(core::Reason::kFieldRequired,
                             "an upload needs a request_id, which names it for its next stream",
                             "request_id");
    }
    if (request.has_initial_values()) {
      return core::MakeError(core::Reason::kFieldOutOfRange,
                             "the initial values of an upload come in chunks", "initial_values");
    }
    identity_ = context_.factory.NewIdentity(request.session_id(), request.request_id(),
                                             core::Crc32c(request.SerializeAsString()));
    TALWEG_ASSIGN_OR_RETURN(const bool made, TellIfMade());
    if (made) return absl::OkStatus();
    absl::StatusOr<core::SessionConfig> config = ConfigFromProto(request.config());
    if (!config.ok()) return core::PrefixField(config.status(), "config");
    if (request.validate_only()) {
      TALWEG_ASSIGN_OR_RETURN(const SessionDescription description,
                              context_.factory.DryRun(identity_, *config));
      Tell(description);
      return absl::OkStatus();
    }
    place_ = context_.uploads.Claim(
        identity_,
        [post = Poster()](Uploads::News news) {
          post([news](UploadStream& stream) { stream.machine_.Hear(news); });
        },
        [post = Poster(),
         config = *std::move(config)](absl::StatusOr<std::unique_ptr<Upload>> upload) mutable {
          post([config = std::move(config),
                upload = std::move(upload)](UploadStream& stream) mutable {
            stream.Claimed(std::move(config), std::move(upload));
          });
        });
    return absl::OkStatus();
  }

  // An upload that is lost on the way here is let go.
  void Claimed(core::SessionConfig config, absl::StatusOr<std::unique_ptr<Upload>> upload) {
    if (ended_) return;
    if (upload.ok() && (*upload)->arrived() == nullptr) {
      const absl::Status prepared = Prepare(std::move(config), **upload);
      if (!prepared.ok()) upload = prepared;
    }
    // The session may have been made while the stream waited; then there is nothing to upload.
    if (upload.ok() && (*upload)->arrived() == nullptr) return;
    machine_.Opened(std::move(upload));
  }

  absl::Status Prepare(core::SessionConfig config, Upload& upload) {
    TALWEG_ASSIGN_OR_RETURN(const bool made, TellIfMade());
    if (made) return absl::OkStatus();
    TALWEG_RETURN_IF_ERROR(context_.sessions.CheckRoom(context_.uploads.size()));
    TALWEG_ASSIGN_OR_RETURN(PreparedSession prepared, context_.factory.Prepare(std::move(config)));
    upload.Begin(std::move(prepared));
    return absl::OkStatus();
  }

  // Whether this very request made its session before; then the machine is told of it.
  // SESSION_EXISTS if another request made one of that id.
  absl::StatusOr<bool> TellIfMade() {
    TALWEG_ASSIGN_OR_RETURN(const std::shared_ptr<SessionHost> made,
                            call_.FindSameRequest(identity_));
    if (made != nullptr) Describe(*made);
    return made != nullptr;
  }

  void Describe(SessionHost& host) {
    host.Describe(
        {}, [self = shared_from_this()](const absl::StatusOr<SessionDescription>& description) {
          self->Tell(description);
        });
  }

  void Tell(const absl::StatusOr<SessionDescription>& description) {
    absl::StatusOr<v1::CreateSessionResponse> created = v1::CreateSessionResponse();
    if (description.ok()) {
      SessionToProto(*description, *created->mutable_session());
    } else {
      created = description.status();
    }
    Poster()([created = std::move(created)](UploadStream& stream) {
      if (!stream.ended_) stream.machine_.Created(created);
    });
  }

  const ServiceContext context_;
  const grpc::CallbackServerContext& grpc_;  // until OnDone
  Call call_;
  std::shared_ptr<UploadStream> self_;  // until OnDone
  uint64_t stop_listener_ = 0;

  // The members below belong to the queue; a message belongs to gRPC while it is read or written.
  UploadMachine machine_{*this};
  SessionIdentity identity_;
  uint64_t place_ = 0;  // in the line for the upload
  Request incoming_;
  std::deque<Response> to_write_;
  bool reading_ = false;
  bool reads_ended_ = false;
  bool writing_ = false;  // the first of to_write_
  bool ended_ = false;
  bool finished_ = false;
  absl::Status status_;

  OperationQueue queue_;
};

}  // namespace

grpc::ServerBidiReactor<Request, Response>* StartUploadStream(
    const ServiceContext& context, const grpc::CallbackServerContext& grpc) {
  const auto stream = std::make_shared<UploadStream>(context, grpc);
  stream->Start();
  return stream.get();
}

}  // namespace talweg::server
