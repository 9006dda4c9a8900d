// SPDX-License-Identifier: Apache-2.0
//
// What proto/ promises a worker, written down a second time: what may be said against a
// contribution, and what a contribution makes of a session. The model shares no check with the
// server, and the fuzz tests hold the server against it. For fuzz tests only.
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

// A reason, and the field that it blames ("" if it blames none).
struct Complaint {
  std::string reason;
  std::string field;
  auto operator<=>(const Complaint&) const = default;
};

// All that is wrong with a message. The server must name one of these complaints, or take the
// message if there is none.
using Complaints = std::set<Complaint>;

// How often each reason and each verdict, by name, came. Tests demand some of them, so that none of
// them is idle.
using Seen = std::map<std::string, uint64_t>;

// What `status` complains of. A status that is no error with a reason gives a complaint that no
// message deserves.
Complaint ComplaintOf(const absl::Status& status);

// Judges the answer to a message that has `wrong` about it: an error that says `complaint` if
// `was_error`, else a verdict. Returns what is wrong with the answer, or "" if it is right.
std::string JudgeAnswer(const Complaints& wrong, bool was_error, const Complaint& complaint);

// What a contribution brings.
struct SentVector {
  std::vector<float> numbers;
  bool is_difference = false;  // The numbers are the negative of a gradient.
  bool abstains = false;       // The header says that there are no numbers.
};

// What is wrong with a frame that comes when `sent` of `num_elements` came before it; `open` says
// whether a header came. Of a frame that is itself a header, only its place is judged.
Complaints AboutFrame(const v1::StreamStepRequest& frame, bool open, const SentVector& sent,
                      uint64_t num_elements);

// Makes `values`, encoded as `dtype`, the data of the section.
void SetNumbers(const std::vector<float>& values, v1::Dtype dtype, v1::Section& section);
// The numbers of a section that nothing is wrong with.
std::vector<float> NumbersIn(const v1::Section& section);
SentVector SentIn(const v1::Section& section);
// What a message brings that nothing is wrong with.
SentVector SentIn(const v1::StepRequest& request);

// What takes a contribution: the rules differ a little between these.
enum class Taker {
  kChecks,   // the checks of the parts of a message, without a service around them
  kMessage,  // Step
  kStream,   // StreamStep
};

// A session that begins with zeros and is trained by momentum with its defaults and rate 0.5, and
// its worker "a". Thread-compatible.
class SessionModel {
 public:
  static constexpr double kRate = 0.5;
  // What max_reply_bytes counts for a reply beside its data. The server says so, not proto/.
  static constexpr uint64_t kOverheadBytes = 4096;

  // `mode` is ASYNCHRONOUS or SYNCHRONOUS.
  SessionModel(std::string session_id, uint64_t history, uint64_t num_elements,
               v1::AggregationMode mode)
      : session_id_(std::move(session_id)),
        history_(history),
        mode_(mode),
        parameters_(num_elements),
        average_(num_elements) {}

  // The worker joins, perhaps again.
  void Join(uint64_t incarnation);

  // A header with nothing wrong about it.
  v1::ContributionHeader NextHeader() const;

  // What is wrong with a whole message.
  Complaints AboutStep(const v1::StepRequest& request, Taker taker) const;
  // What is wrong with a frame that opens a contribution at a place at which one may be opened.
  // `first` says whether it opens the first contribution of its stream.
  Complaints AboutHeaderFrame(const v1::StreamStepRequest& frame, bool first, Taker taker) const;
  // What is wrong with a contribution as far as that is judged when its gradient is there. The
  // paths of fields start at the message of the header.
  Complaints AboutJudgement(const v1::ContributionHeader& header, const SentVector& sent) const;

  // Takes a contribution that nothing is wrong with; returns the answer without its norms.
  v1::StepResponse Take(const v1::ContributionHeader& header, const v1::ReplyOptions& reply,
                        const SentVector& sent);

  uint64_t num_elements() const { return parameters_.size(); }
  uint64_t version() const { return version_; }
  const std::string& session_id() const { return session_id_; }
  const std::vector<float>& parameters() const { return parameters_; }

  // The contribution that was judged last within the incarnation, and its answer.
  struct Judged {
    v1::ContributionHeader header;
    SentVector sent;
    v1::StepResponse answer;
  };
  const std::optional<Judged>& last() const { return last_; }
  // Whether no sequence is left.
  bool exhausted() const { return last_.has_value() && last_->header.sequence() == UINT64_MAX; }

 private:
  void AddAboutHeader(const v1::ContributionHeader& header, Taker taker, const std::string& prefix,
                      Complaints& wrong) const;
  void AddAboutReply(const v1::ReplyOptions& reply, Taker taker, const std::string& prefix,
                     Complaints& wrong) const;

  std::string session_id_;
  uint64_t history_;
  v1::AggregationMode mode_;
  uint64_t incarnation_ = 0;
  uint64_t version_ = 0;
  uint32_t num_abstained_ = 0;  // since that version
  std::vector<float> parameters_;
  std::vector<float> average_;  // of gradients
  std::optional<Judged> last_;
};

// What differs between an answer and the one that is due, except for the norms; "" if nothing does.
std::string CompareAnswers(const v1::StepResponse& due, const v1::StepResponse& answer);

}  // namespace talweg::testing
