// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "core/base/dtype.h"
#include "tests/conformance/statistics_test.h"

namespace talweg::testing {
namespace {

// Numbers in [-1, 1) that a seed determines on every platform.
class Noise {
 public:
  Noise(uint64_t batch, uint64_t sample) : engine_(1000003 * batch + sample) {}
  double Next() { return static_cast<double>(engine_() >> 11) * 0x1p-52 - 1; }

 private:
  std::mt19937_64 engine_;
};

// The offsets of the tensors.
constexpr uint64_t kB1 = kHidden * kInputs;
constexpr uint64_t kW2 = kB1 + kHidden;
constexpr uint64_t kRest = kW2 + kHidden * kOutputs;

// The derivatives at the hidden units' inputs, of derivatives at the outputs.
std::vector<double> Back(const std::vector<float>& parameters, const double* hidden,
                         const double* of_outputs) {
  std::vector<double> derivatives(kHidden);
  for (uint64_t unit = 0; unit < kHidden; ++unit) {
    double sum = 0;
    for (uint64_t out = 0; out < kOutputs; ++out) {
      sum += static_cast<double>(parameters[kW2 + unit * kOutputs + out]) * of_outputs[out];
    }
    derivatives[unit] = sum * (1 - hidden[unit] * hidden[unit]);
  }
  return derivatives;
}

// The packed upper triangle of the mean of r r^T over rows of `width`, with a 1 behind each row if
// `with_one`.
void AddTriangle(const std::vector<float>& rows, uint64_t width, bool with_one,
                 std::vector<float>& to) {
  const uint64_t num_rows = rows.size() / width;
  const auto element = [&](uint64_t row, uint64_t col) {
    return col == width ? 1.0 : static_cast<double>(rows[row * width + col]);
  };
  const uint64_t side = width + (with_one ? 1 : 0);
  for (uint64_t i = 0; i < side; ++i) {
    for (uint64_t j = i; j < side; ++j) {
      double sum = 0;
      for (uint64_t row = 0; row < num_rows; ++row) sum += element(row, i) * element(row, j);
      to.push_back(static_cast<float>(sum / static_cast<double>(num_rows)));
    }
  }
}

void Append(const std::vector<float>& from, std::vector<float>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

v1::Statistics HeaderOf(uint64_t num_samples, v1::StatisticsForm form) {
  v1::Statistics statistics;
  statistics.set_num_samples(num_samples);
  for (const char* weight : {"w1", "w2"}) {
    v1::LayerStatistics& layer = *statistics.add_layers();
    layer.set_weight(weight);
    layer.set_form(form);
    if (form == v1::STATISTICS_FORM_ROWS) layer.set_num_rows(num_samples);
  }
  return statistics;
}

// Sets how the numbers of a section travel, and puts them in.
void Fill(v1::Section& section, const std::vector<float>& numbers, v1::Dtype dtype) {
  const core::Dtype coded =
      dtype == v1::DTYPE_BFLOAT16 ? core::Dtype::kBfloat16 : core::Dtype::kFloat32;
  section.set_dtype(dtype);
  section.mutable_data()->resize(numbers.size() * core::DtypeBytes(coded));
  core::FromFloat32(coded, numbers, section.mutable_data()->data());
}

}  // namespace

Part PartOf(const std::vector<float>& parameters, uint64_t batch, uint64_t begin, uint64_t end) {
  Part part;
  part.num_samples = end - begin;
  std::vector<double> gradient(kParameters);
  for (uint64_t sample = begin; sample < end; ++sample) {
    Noise noise(batch, sample);
    double inputs[kInputs], hidden[kHidden], errors[kOutputs], drawn[kOutputs];
    for (double& input : inputs) {
      input = static_cast<double>(static_cast<float>(noise.Next()));
      part.inputs.push_back(static_cast<float>(input));
    }
    for (uint64_t unit = 0; unit < kHidden; ++unit) {
      double sum = static_cast<double>(parameters[kB1 + unit]);
      for (uint64_t i = 0; i < kInputs; ++i) {
        sum += static_cast<double>(parameters[unit * kInputs + i]) * inputs[i];
      }
      hidden[unit] = std::tanh(sum);
      part.hidden.push_back(static_cast<float>(hidden[unit]));
    }
    // The loss is half the squared distance to a target; a drawn target is a normal draw away.
    for (uint64_t out = 0; out < kOutputs; ++out) {
      double output = static_cast<double>(parameters[kRest + out]);
      for (uint64_t unit = 0; unit < kHidden; ++unit) {
        output += static_cast<double>(parameters[kW2 + unit * kOutputs + out]) * hidden[unit];
      }
      errors[out] = output - std::sin(3 * inputs[out] + inputs[out + 1]);
      drawn[out] = 1.5 * noise.Next();
      part.of_outputs.push_back(static_cast<float>(drawn[out]));
    }
    for (const double derivative : Back(parameters, hidden, drawn)) {
      part.derivatives.push_back(static_cast<float>(derivative));
    }
    const std::vector<double> back = Back(parameters, hidden, errors);
    for (uint64_t unit = 0; unit < kHidden; ++unit) {
      for (uint64_t i = 0; i < kInputs; ++i) gradient[unit * kInputs + i] += back[unit] * inputs[i];
      gradient[kB1 + unit] += back[unit];
      for (uint64_t out = 0; out < kOutputs; ++out) {
        gradient[kW2 + unit * kOutputs + out] += hidden[unit] * errors[out];
      }
    }
    for (uint64_t out = 0; out < kOutputs; ++out) gradient[kRest + out] += errors[out];
  }
  for (const double sum : gradient) {
    part.gradient.push_back(static_cast<float>(sum / static_cast<double>(part.num_samples)));
  }
  return part;
}

Sent AsRows(const Part& part) {
  Sent sent{part.gradient, HeaderOf(part.num_samples, v1::STATISTICS_FORM_ROWS), {}};
  for (const auto* rows : {&part.inputs, &part.derivatives, &part.hidden, &part.of_outputs}) {
    Append(*rows, sent.numbers);
  }
  return sent;
}

Sent AsTriangles(const Part& part) {
  Sent sent{part.gradient, HeaderOf(part.num_samples, v1::STATISTICS_FORM_TRIANGLES), {}};
  AddTriangle(part.inputs, kInputs, true, sent.numbers);
  AddTriangle(part.derivatives, kHidden, false, sent.numbers);
  AddTriangle(part.hidden, kHidden, false, sent.numbers);
  AddTriangle(part.of_outputs, kOutputs, false, sent.numbers);
  return sent;
}

Sent OfMeanLoss(const Part& part) {
  Part divided = part;
  for (auto* rows : {&divided.derivatives, &divided.of_outputs}) {
    for (float& value : *rows) value /= static_cast<float>(part.num_samples);
  }
  Sent sent = AsRows(divided);
  sent.statistics.set_of_mean_loss(true);
  return sent;
}

Sent Twice(const Part& part) {
  Part twice = part;
  twice.num_samples *= 2;
  for (auto* rows : {&twice.inputs, &twice.derivatives, &twice.hidden, &twice.of_outputs}) {
    const std::vector<float> once = *rows;
    Append(once, *rows);
  }
  return AsRows(twice);
}

Part Rounded(Part part) {
  for (auto* numbers :
       {&part.gradient, &part.inputs, &part.derivatives, &part.hidden, &part.of_outputs}) {
    for (float& value : *numbers) {
      uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof(bits));
      bits &= 0xffff0000u;
      std::memcpy(&value, &bits, sizeof(bits));
    }
  }
  return part;
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0;
  double size = 0;
  for (size_t index = 0; index < std::min(a.size(), b.size()); ++index) {
    const double of_b = static_cast<double>(b[index]);
    difference = std::max(difference, std::abs(static_cast<double>(a[index]) - of_b));
    size = std::max(size, std::abs(of_b));
  }
  return difference / size;
}

v1::CreateSessionRequest NetworkSession(const std::string& session_id) {
  v1::CreateSessionRequest create = VectorSession(session_id, 1, "kfac");
  v1::SessionConfig& config = *create.mutable_config();
  v1::Layout& layout = *config.mutable_layout();
  layout.clear_tensors();
  const std::vector<std::pair<std::string, std::vector<uint64_t>>> tensors = {
      {"w1", {kHidden, kInputs}},
      {"b1", {kHidden}},
      {"w2", {kHidden, kOutputs}},
      {"rest", {kOutputs}}};
  for (const auto& [name, shape] : tensors) {
    v1::Tensor& tensor = *layout.add_tensors();
    tensor.set_name(name);
    for (const uint64_t size : shape) tensor.add_shape(size);
  }
  v1::Layer& first = *config.add_layers();
  first.set_weight("w1");
  first.set_bias("b1");
  v1::Layer& second = *config.add_layers();
  second.set_weight("w2");
  second.set_orientation(v1::ORIENTATION_IN_OUT);
  config.mutable_schedule()->set_learning_rate(0.5);
  v1::Kfac& kfac = *config.mutable_optimizer()->mutable_kfac();
  kfac.set_damping(0.01);
  kfac.set_refresh(v1::REFRESH_MODE_SYNCHRONOUS);
  kfac.set_refresh_every(3);
  kfac.set_refresh_each_until(2);
  kfac.set_fallback_rate_factor(0.1);
  v1::SeededValues& seeded = *create.mutable_initial_values()->mutable_seeded();
  seeded.set_seed(5);
  v1::NormalValues& normal = *seeded.mutable_rules(0)->mutable_normal();
  normal.set_standard_deviation(0.5);
  return create;
}

v1::CreateSessionRequest SynchronousNetworkSession(const std::string& session_id) {
  v1::CreateSessionRequest create = NetworkSession(session_id);
  create.mutable_config()->mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  return create;
}

void StatisticsTest::Create(const v1::CreateSessionRequest& request) {
  const grpc::Status created = wire_->Create(request);
  ASSERT_TRUE(created.ok()) << created.error_message();
}

v1::JoinResponse StatisticsTest::Join(const std::string& session_id, const std::string& worker,
                                      const std::vector<v1::Role>& roles) {
  v1::JoinRequest request;
  v1::JoinResponse response;
  request.set_session_id(session_id);
  request.set_worker(worker);
  for (const v1::Role role : roles) request.add_roles(role);
  grpc::ClientContext context;
  const grpc::Status status = wire_->sessions().Join(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

std::vector<float> StatisticsTest::Parameters(const std::string& session_id) {
  v1::PullRequest request;
  request.set_session_id(session_id);
  std::vector<float> values;
  const grpc::Status status = wire_->Pull(request, &values);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return values;
}

std::string StatisticsTest::StateDigest(const std::string& session_id) {
  v1::GetSessionRequest request;
  v1::GetSessionResponse response;
  request.set_session_id(session_id);
  request.set_include_digest(true);
  grpc::ClientContext context;
  const grpc::Status status = wire_->sessions().GetSession(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.session().state_digest().sha256();
}

std::vector<v1::VersionRecord> StatisticsTest::Records(const std::string& session_id) {
  v1::ListVersionRecordsRequest request;
  v1::ListVersionRecordsResponse response;
  request.set_session_id(session_id);
  request.set_page_size(1000);
  grpc::ClientContext context;
  const grpc::Status status = wire_->sessions().ListVersionRecords(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(response.more());
  return {response.records().begin(), response.records().end()};
}

grpc::Status StatisticsTest::Update(const v1::UpdateSessionRequest& request) {
  v1::UpdateSessionResponse response;
  grpc::ClientContext context;
  return wire_->sessions().UpdateSession(&context, request, &response);
}

v1::StepRequest StatisticsTest::Request(const std::string& session_id,
                                        const v1::JoinResponse& joined, const std::string& worker,
                                        uint64_t sequence, const Sent& sent) {
  v1::StepRequest request =
      StepOf(session_id, joined, sequence, wire_->Get(session_id).version(), sent.gradient);
  request.mutable_header()->set_worker(worker);
  *request.mutable_header()->mutable_statistics() = sent.statistics;
  Fill(*request.mutable_sections(0), sent.gradient, sent.dtype);
  v1::Section& section = *request.add_sections();
  section.set_kind(v1::SECTION_KIND_STATISTICS);
  Fill(section, sent.numbers, sent.dtype);
  request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
  return request;
}

v1::StepRequest StatisticsTest::Alone(const std::string& session_id, const v1::JoinResponse& joined,
                                      const std::string& worker, uint64_t sequence,
                                      const Sent& sent) {
  v1::StepRequest request = Request(session_id, joined, worker, sequence, sent);
  request.mutable_header()->mutable_statistics()->set_alone(true);
  request.mutable_sections()->DeleteSubrange(0, 1);
  return request;
}

v1::StepResponse StatisticsTest::Send(const v1::StepRequest& request) {
  v1::StepResponse response;
  const grpc::Status status = wire_->Step(request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

v1::StepResponse StatisticsTest::Stream(const v1::StepRequest& request, uint64_t chunk_elements) {
  v1::StepResponse response;
  WireStream stream(wire_->training());
  EXPECT_TRUE(stream.Step(request, ChunksOfSections(request, chunk_elements), &response));
  const grpc::Status status = stream.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

std::vector<v1::StreamStepRequest> ChunksOfSections(const v1::StepRequest& request,
                                                    uint64_t chunk_elements) {
  std::vector<v1::StreamStepRequest> chunks;
  for (const v1::Section& section : request.sections()) {
    const uint64_t element_bytes = section.dtype() == v1::DTYPE_BFLOAT16 ? 2 : sizeof(float);
    const uint64_t chunk_bytes = chunk_elements * element_bytes;
    for (uint64_t begin = 0; begin < section.data().size(); begin += chunk_bytes) {
      v1::Section& piece = *chunks.emplace_back().mutable_chunk()->mutable_section();
      piece.set_kind(section.kind());
      piece.set_dtype(section.dtype());
      piece.set_begin_element(begin / element_bytes);
      piece.set_data(section.data().substr(begin, chunk_bytes));
    }
  }
  return chunks;
}

}  // namespace talweg::testing
