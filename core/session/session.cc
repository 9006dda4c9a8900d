// SPDX-License-Identifier: Apache-2.0
#include "core/session/session.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "core/kernels/squared_norm.h"

namespace talweg::core {
namespace {

constexpr absl::string_view kMagic = "talweg state 1\n";

class SlotWriter final : public StateVisitor {
 public:
  explicit SlotWriter(ByteWriter& writer) : writer_(writer) {}
  void Slot(absl::string_view name, absl::Span<float> values) override {
    writer_.Text(name);
    writer_.Floats(values);
  }
  void Scalar(absl::string_view name, double& value) override {
    writer_.Text(name);
    writer_.Double(value);
  }

 private:
  ByteWriter& writer_;
};

class SlotReader final : public StateVisitor {
 public:
  explicit SlotReader(ByteReader& reader) : reader_(reader) {}
  void Slot(absl::string_view name, absl::Span<float> values) override {
    if (ReadName(name)) status_ = reader_.Floats(values);
  }
  void Scalar(absl::string_view name, double& value) override {
    if (ReadName(name)) status_ = reader_.Double(value);
  }
  const absl::Status& status() const { return status_; }

 private:
  bool ReadName(absl::string_view name) {
    if (!status_.ok()) return false;
    std::string found;
    status_ = reader_.Text(found);
    if (status_.ok() && found != name) {
      status_ = MakeError(Reason::kStateCorrupt,
                          absl::StrCat("state has slot ", found, ", expected ", name));
    }
    return status_.ok();
  }

  ByteReader& reader_;
  absl::Status status_;
};

}  // namespace

Session::Session(SessionConfig config, uint64_t history, std::shared_ptr<Parameters> initial)
    : config_(std::move(config)),
      machine_(history, config_.schedule, config_.aggregation.value()),
      optimizer_(config_.method->create(*config_.optimizer, num_elements())),
      parameters_(std::move(initial)),
      block_sums_(NumBlocks(num_elements())) {
  TALWEG_CHECK(parameters_->values.size() == num_elements());
}

Effects Session::Handle(const Event& event, absl::Time now) { return machine_.Handle(event, now); }

absl::Status Session::Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now) {
  if (history != 0) TALWEG_RETURN_IF_ERROR(machine_.CheckHistory(history));
  TALWEG_RETURN_IF_ERROR(CheckLiveChange(config_, config));
  if (SameConfig(config_, config)) return absl::OkStatus();
  machine_.Handle(Configure{config.schedule, config.aggregation.value()}, now);
  optimizer_->Configure(*config.optimizer);
  config_ = config;
  ++config_version_;
  return absl::OkStatus();
}

void Session::BeginStep(const StepContext& step, std::shared_ptr<Parameters> to) {
  TALWEG_CHECK(next_ == nullptr && to->values.size() == num_elements());
  next_ = std::move(to);
  next_->version = step.number;
  optimizer_->BeginStep(step);
}

void Session::ApplyShard(size_t index, absl::Span<const float> gradient) {
  const Shard shard = ShardAt(index, num_elements());
  const absl::Span<const float> from = parameters_->values.span();
  const absl::Span<float> to = next_->values.span();
  optimizer_->Apply(shard, gradient, from, to);
  for (size_t begin = shard.begin; begin < shard.end; begin += kBlock) {
    const size_t size = std::min(kBlock, shard.end - begin);
    block_sums_[begin / kBlock] =
        SquaredDistance(to.subspan(begin, size), from.subspan(begin, size));
  }
}

Effects Session::EndStep(absl::Time now) {
  double sum = 0;
  for (const double block_sum : block_sums_) sum += block_sum;
  parameters_ = std::move(next_);
  next_.reset();
  return machine_.Handle(StepTaken{std::sqrt(sum)}, now);
}

void Session::WriteState(ByteWriter& writer) {
  TALWEG_CHECK(next_ == nullptr);
  WriteConfig(config_, writer);
  writer.Uint64(config_version_);
  machine_.Save(writer);
  writer.Floats(parameters_->values.span());
  SlotWriter slots(writer);
  optimizer_->VisitState(slots);
}

std::string Session::Save() {
  ByteWriter writer;
  writer.Text(kMagic);
  WriteState(writer);
  writer.Uint32(Crc32c(writer.bytes()));
  return std::move(writer).Take();
}

absl::StatusOr<std::unique_ptr<Session>> Session::Load(absl::string_view bytes, absl::Time now) {
  constexpr size_t kChecksumBytes = sizeof(uint32_t);
  if (bytes.size() < kChecksumBytes) {
    return MakeError(Reason::kStateCorrupt, "state is too short");
  }
  const absl::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  uint32_t checksum = 0;
  ByteReader tail(bytes.substr(body.size()));
  TALWEG_RETURN_IF_ERROR(tail.Uint32(checksum));
  if (checksum != Crc32c(body)) {
    return MakeError(Reason::kStateCorrupt, "state does not have the checksum it was written with");
  }
  ByteReader reader(body);
  std::string magic;
  TALWEG_RETURN_IF_ERROR(reader.Text(magic));
  if (magic != kMagic) return MakeError(Reason::kStateCorrupt, "state has another format");
  TALWEG_ASSIGN_OR_RETURN(SessionConfig config, ReadConfig(reader));
  // What the layout claims must be there before memory is taken for it.
  const uint64_t num_elements = config.layout->num_elements();
  if (reader.remaining() / sizeof(float) < num_elements) {
    return MakeError(Reason::kStateCorrupt, "state is shorter than its layout");
  }
  auto parameters = std::make_shared<Parameters>(num_elements);
  auto session = std::make_unique<Session>(std::move(config), /*history=*/1, parameters);
  TALWEG_RETURN_IF_ERROR(reader.Uint64(session->config_version_));
  TALWEG_RETURN_IF_ERROR(session->machine_.Load(reader, now));
  parameters->version = session->machine_.version();
  TALWEG_RETURN_IF_ERROR(reader.Floats(parameters->values.span()));
  SlotReader slots(reader);
  session->optimizer_->VisitState(slots);
  TALWEG_RETURN_IF_ERROR(slots.status());
  TALWEG_RETURN_IF_ERROR(reader.End());
  return session;
}

uint32_t Session::Checksum() {
  ChecksumWriter writer;
  WriteState(writer);
  return writer.checksum();
}

}  // namespace talweg::core
