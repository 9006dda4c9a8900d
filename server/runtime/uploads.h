// SPDX-License-Identifier: Apache-2.0
//
// Initial values that are on their way: what has arrived of each upload, and which stream brings
// the rest.
//
//   Claim --> the stream holds the upload --the stream lets go--> it rests --Claim--> held again
//
// One stream at a time holds an upload. A newer stream that claims it waits in the line, which has
// one place, until the older one has let go. An upload of which nothing arrives for the time that
// is called patience is thrown away, whether a stream holds it or not; with it goes the memory of
// its session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/calls/session_calls.h"
#include "server/runtime/env.h"
#include "server/runtime/mutex.h"
#include "server/runtime/session_factory.h"

namespace talweg::server {

// What has arrived of an upload.
struct ArrivedValues {
  PreparedSession session;
  uint64_t num_arrived = 0;  // elements at the front of session.values
  uint32_t crc32c = 0;       // of these, as float32
};

// The error UPLOAD_TAKEN_OVER.
absl::Status UploadTakenOver();

// The hold of one stream on an upload. The destructor lets go: what has arrived, and the memory for
// the rest, stays for the next stream, unless it was discarded. Thread-compatible.
class Upload {
 public:
  // The one that keeps the uploads; it outlives the holds.
  struct Keeper {
    std::function<void()> touch;
    std::function<bool()> is_expired;
    // Called once, with what stays, or null. If no stream waits, and nothing has arrived, it is not
    // kept.
    std::function<void(std::unique_ptr<ArrivedValues>)> let_go;
  };

  Upload(std::unique_ptr<ArrivedValues> arrived, Keeper keeper)
      : arrived_(std::move(arrived)), keeper_(std::move(keeper)) {}
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  // Null before Begin.
  ArrivedValues* arrived() { return arrived_.get(); }
  void Begin(PreparedSession session);
  // Something has arrived: the patience counts anew.
  void Touch() { keeper_.touch(); }
  // Whether the patience is over.
  bool IsExpired() const { return keeper_.is_expired(); }
  // Gives the memory of the values back. The hold stays, so that no other stream begins anew.
  void Discard() { arrived_.reset(); }

 private:
  std::unique_ptr<ArrivedValues> arrived_;
  const Keeper keeper_;
};

// Thread-safe; outlives the holds.
class Uploads {
 public:
  // What the stream that holds an upload is told. It is to let go, unless it is past the commit, or
  // something has arrived meanwhile (Upload::IsExpired).
  enum class News { kTakenOver, kExpired };
  using Tell = std::function<void(News)>;
  using Claimed = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Upload>>)>;

  Uploads(Env& env, absl::Duration patience) : env_(env), patience_(patience) {}
  Uploads(const Uploads&) = delete;
  Uploads& operator=(const Uploads&) = delete;

  // Asks for the upload of this request: the same session id, request id and digest are the same
  // upload. `claimed` is called once, at once or when the stream that holds the upload has let go,
  // under no lock. It fails with UPLOAD_TAKEN_OVER if a newer stream asks meanwhile. An upload that
  // rests and is for the same session id, but another request, is thrown away. Returns the place in
  // the line, for Forget.
  uint64_t Claim(const SessionIdentity& identity, Tell tell, Claimed claimed);
  // Leaves the line. Nothing happens if that place was served already.
  void Forget(uint64_t place);

  // How many uploads there are, held or at rest.
  size_t size() const;

 private:
  // Session id, request id, digest of the request.
  using Key = std::tuple<std::string, std::string, uint32_t>;
  struct Entry {
    uint64_t number = 0;  // tells this entry from an earlier one of the same key
    Tell tell;            // to the stream that holds the upload; null: it rests
    std::unique_ptr<ArrivedValues> resting;
    uint64_t place = 0;  // of the stream that waits; 0: none does
    Tell next_tell;
    Claimed next_claimed;
    absl::Time last_arrival;
    uint64_t alarm = 0;
  };

  std::unique_ptr<Upload> HoldOn(const Key& key, uint64_t number,
                                 std::unique_ptr<ArrivedValues> arrived);
  // Drops the uploads of that session id that rest.
  void DropResting(const std::string& session_id);
  void LetGo(const Key& key, uint64_t number, std::unique_ptr<ArrivedValues> arrived);
  void Touch(const Key& key, uint64_t number);
  bool IsExpired(const Key& key, uint64_t number);
  // The alarm has rung: throws the upload away if its time is over.
  void Look(const Key& key, uint64_t number);
  Entry* Find(const Key& key, uint64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetAlarm(const Key& key, uint64_t number, absl::Time when);

  Env& env_;
  const absl::Duration patience_;
  mutable Mutex mutex_;
  uint64_t last_number_ ABSL_GUARDED_BY(mutex_) = 0;  // of an entry or a place
  std::map<Key, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
