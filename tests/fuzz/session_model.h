// SPDX-License-Identifier: Apache-2.0
//
// What proto/ promises a worker, written down a second time and sharing no check with the server:
// what may be said against a contribution, and what it makes of a session. The fuzz tests hold the
// server against it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::testing {

// A reason, and the field that it blames ("" where it blames none).
struct Complaint {
  std::string reason;
  std::string field;
  auto operator<=>(const Complaint&) const = default;
};

// All that is wrong with a message. Where there is something, the server names one of them; where
// there is nothing, it takes the message.
using Complaints = std::set<Complaint>;

// How often a reason, or the name of a verdict, came: what a test that must not be idle counts.
using Seen = std::map<std::string, uint64_t>;

// What `status` complains of. Anything but an error with a reason gives a complaint that no message
// deserves.
Complaint ComplaintOf(const absl::Status& status);

// "" where an answer that `was_error` with `complaint` is right for what is wrong with a message,
// and else what is wrong with the answer.
std::string JudgeAnswer(const Complaints& wrong, bool was_error, const Complaint& complaint);

// What a contribution brings.
struct SentVector {
  std::vector<float> numbers;
  bool is_difference = false;  // they are a gradient's negative
};

// About a frame that is not a header, where `sent` of `num_elements` came before it, and about its
// place if it is one. `open` says whether a header came.
Complaints AboutFrame(const v1::StreamStepRequest& frame, bool open, const SentVector& sent,
                      uint64_t num_elements);

// Makes `values` the section's data, and `dtype` how they are laid out.
void SetNumbers(const std::vector<float>& values, v1::Dtype dtype, v1::Section& section);
// The numbers of a section that nothing is wrong with.
std::vector<float> NumbersIn(const v1::Section& section);
SentVector SentIn(const v1::Section& section);

// Who takes a contribution.
enum class Taker {
  kChecks,   // the checks of a message's parts, without a service around them
  kMessage,  // Step
  kStream,   // StreamStep
};

// A session of zeros under momentum with its defaults and rate 0.5, and its worker "a". Thread-
// compatible.
class SessionModel {
 public:
  static constexpr double kRate = 0.5;
  // Of a reply, all but its data, as max_reply_bytes counts it: the server's word, not proto's.
  static constexpr uint64_t kOverheadBytes = 4096;

  SessionModel(std::string session_id, uint64_t history, uint64_t num_elements)
      : session_id_(std::move(session_id)),
        history_(history),
        parameters_(num_elements),
        average_(num_elements) {}

  // The worker comes, again perhaps.
  void Join(uint64_t incarnation);

  // A header with nothing wrong about it.
  v1::ContributionHeader NextHeader() const;

  // About a whole message.
  Complaints AboutStep(const v1::StepRequest& request, Taker taker) const;
  // About a frame that opens a contribution where one may be opened, the `first` of its stream or a
  // later one.
  Complaints AboutHeaderFrame(const v1::StreamStepRequest& frame, bool first, Taker taker) const;
  // About what is judged when the gradient is there. Fields start at the header's message.
  Complaints AboutJudgement(const v1::ContributionHeader& header, const SentVector& sent) const;

  // Takes a contribution that nothing is wrong with; returns the answer but for its norms.
  v1::StepResponse Take(const v1::ContributionHeader& header, const v1::ReplyOptions& reply,
                        const SentVector& sent);

  uint64_t num_elements() const { return parameters_.size(); }
  uint64_t version() const { return version_; }
  const std::string& session_id() const { return session_id_; }
  const std::vector<float>& parameters() const { return parameters_; }

  // What was judged last within the incarnation.
  struct Judged {
    v1::ContributionHeader header;
    SentVector sent;
    v1::StepResponse answer;
  };
  const std::optional<Judged>& last() const { return last_; }
  // Whether a sequence is left.
  bool exhausted() const { return last_.has_value() && last_->header.sequence() == UINT64_MAX; }

 private:
  void AddAboutHeader(const v1::ContributionHeader& header, Taker taker, const std::string& prefix,
                      Complaints& wrong) const;
  void AddAboutReply(const v1::ReplyOptions& reply, Taker taker, const std::string& prefix,
                     Complaints& wrong) const;

  std::string session_id_;
  uint64_t history_;
  uint64_t incarnation_ = 0;
  uint64_t version_ = 0;
  std::vector<float> parameters_;
  std::vector<float> average_;  // of gradients
  std::optional<Judged> last_;
};

// What differs in an answer from the one that is due, norms aside; "" where nothing does.
std::string CompareAnswers(const v1::StepResponse& due, const v1::StepResponse& answer);

}  // namespace talweg::testing
