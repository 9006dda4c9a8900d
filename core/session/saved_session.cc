// SPDX-License-Identifier: Apache-2.0
//
// A session as bytes: configuration, machine, parameters, slots.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/state_visitor.h"
#include "core/base/status_macros.h"
#include "core/session/saved_config.h"
#include "core/session/session.h"

namespace talweg::core {
namespace {

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
  bool Lacks(absl::string_view name) override {
    if (!status_.ok()) return false;
    ByteReader ahead = reader_;
    std::string found;
    return !ahead.Text(found).ok() || found != name;
  }
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

void Session::WriteState(ByteWriter& writer) {
  for (const bool is_changing : is_changing_) TALWEG_CHECK(!is_changing);
  WriteConfig(newest_config(), writer);
  writer.Uint64(config_version_);
  if (search_.has_value()) {
    // The open generation is saved too, and with it the configuration that it is evaluated under.
    writer.Uint64(search_->config_version());
    if (next_config_.has_value()) WriteConfig(config_, writer);
    search_->Save(writer);
  } else {
    rounds_->Save(writer, kStateFormat);
  }
  writer.Floats(parameters_->values.span());
  SlotWriter slots(writer);
  stepper_.VisitSlots(slots);
}

std::string Session::Save() {
  ByteWriter writer;
  WriteStateFormat(writer);
  WriteState(writer);
  writer.Uint32(Crc32c(writer.bytes()));
  return std::move(writer).Take();
}

absl::StatusOr<std::unique_ptr<Session>> Session::Load(absl::string_view bytes, absl::Time now,
                                                       uint64_t history) {
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
  TALWEG_ASSIGN_OR_RETURN(const uint32_t format, ReadStateFormat(reader));
  TALWEG_ASSIGN_OR_RETURN(SessionConfig config, ReadConfig(reader, format));
  // What the layout claims must be there before memory is taken for it.
  const uint64_t num_elements = config.layout->num_elements();
  if (reader.remaining() / sizeof(float) < num_elements) {
    return MakeError(Reason::kStateCorrupt, "state is shorter than its layout");
  }
  auto parameters = std::make_shared<Parameters>(num_elements);
  auto session = std::make_unique<Session>(std::move(config), /*history=*/1, parameters);
  session->inverses_time_ = now;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(session->config_version_));
  TALWEG_RETURN_IF_ERROR(session->searches() ? session->LoadSearch(reader, format, now, history)
                                             : session->LoadRounds(reader, format, now, history));
  parameters->version = session->version();
  TALWEG_RETURN_IF_ERROR(reader.Floats(parameters->values.span()));
  SlotReader slots(reader);
  session->stepper_.VisitSlots(slots);
  TALWEG_RETURN_IF_ERROR(slots.status());
  TALWEG_RETURN_IF_ERROR(reader.End());
  return session;
}

absl::Status Session::LoadRounds(ByteReader& reader, uint32_t format, absl::Time now,
                                 uint64_t history) {
  rounds_->Handle(Configure{config_.schedule, config_.aggregation.value(), config_version_}, now);
  return rounds_->Load(reader, now, history, format);
}

absl::Status Session::LoadSearch(ByteReader& reader, uint32_t format, absl::Time now,
                                 uint64_t history) {
  uint64_t in_force = 0;
  TALWEG_RETURN_IF_ERROR(reader.Uint64(in_force));
  if (in_force != config_version_) {
    next_config_ = config_;
    TALWEG_ASSIGN_OR_RETURN(config_, ReadConfig(reader, format));
    TALWEG_RETURN_IF_ERROR(CheckLiveChange(config_, *next_config_));
    stepper_.Configure();
  }
  ConfigureSearch configuration = SearchConfiguration(config_);
  configuration.config_version = in_force;
  search_.emplace(/*history=*/1, configuration);
  TALWEG_RETURN_IF_ERROR(search_->Load(reader, now, history));
  if (search_->has_losses()) {  // Time alone may close the generation.
    TALWEG_RETURN_IF_ERROR(PrepareTell([&]() -> absl::StatusOr<std::shared_ptr<Parameters>> {
      return std::make_shared<Parameters>(num_elements());
    }));
  }
  if (!next_config_.has_value()) return absl::OkStatus();
  Follow(search_->Handle(SearchConfiguration(*next_config_), now));
  return absl::OkStatus();
}

uint32_t Session::Checksum() {
  ChecksumWriter writer;
  WriteState(writer);
  return writer.checksum();
}

}  // namespace talweg::core
