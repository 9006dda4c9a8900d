// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/fake_transport.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/mnist_methods.h"
#include "client/experiments/mnist/mnist_report.h"
#include "client/experiments/mnist/mnist_training.h"

namespace talweg {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr size_t kNumParameters = 669706;

// A folder with links to the real files, some of which a test replaces.
class MnistDataTest : public ::testing::Test {
 protected:
  MnistDataTest() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    for (const absl::string_view name : kMnistFiles) {
      fs::create_symlink(fs::path(TALWEG_MNIST_FOLDER) / std::string(name),
                         folder_ / std::string(name));
    }
  }
  void Replace(absl::string_view name, const std::string& contents) {
    const fs::path path = folder_ / std::string(name);
    fs::remove(path);
    const gzFile file = gzopen(path.c_str(), "wb1");
    gzwrite(file, contents.data(), static_cast<unsigned>(contents.size()));
    gzclose(file);
  }
  absl::Status Load() const { return LoadMnist(folder_.string()).status(); }

  const fs::path folder_ = fs::path(::testing::TempDir()) /
                           absl::StrCat("talweg_mnist_", getpid());  // tests run side by side
};

TEST_F(MnistDataTest, LoadsTheDataThatCameWithTheProject) {
  const auto data = LoadMnist(TALWEG_MNIST_FOLDER);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train.size(), 60000u);
  EXPECT_EQ(data->test.size(), 10000u);
  std::array<int, 10> counts{};
  for (const uint8_t label : data->train.labels) ++counts[label];
  // As published for MNIST.
  EXPECT_THAT(counts, ElementsAre(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949));
  EXPECT_THAT(std::vector<int>(data->test.labels.begin(), data->test.labels.begin() + 5),
              ElementsAre(7, 2, 1, 0, 4));
}

TEST_F(MnistDataTest, InputsHaveZeroMeanAndUnitVariance) {
  const auto data = LoadMnist(TALWEG_MNIST_FOLDER);
  ASSERT_TRUE(data.ok());
  std::vector<float> input(MnistSet::kPixels);
  double sum = 0;
  double squares = 0;
  for (size_t i = 0; i < data->train.size(); ++i) {
    data->train.CopyInput(i, absl::MakeSpan(input));
    for (const float value : input) {
      sum += value;
      squares += double{value} * value;
    }
  }
  const double count = static_cast<double>(data->train.pixels.size());
  EXPECT_NEAR(sum / count, 0, 1e-3);
  EXPECT_NEAR(squares / count, 1, 1e-3);
}

TEST_F(MnistDataTest, RefusesFilesThatAreNotMnist) {
  EXPECT_TRUE(Load().ok());
  const std::string header("\0\0\x08\x01\0\0\x27\x10", 8);  // 10,000 labels
  Replace("t10k-labels-idx1-ubyte.gz", header + std::string(9999, '\1'));
  EXPECT_TRUE(absl::IsDataLoss(Load())) << "short";
  Replace("t10k-labels-idx1-ubyte.gz", header + std::string(10001, '\1'));
  EXPECT_TRUE(absl::IsDataLoss(Load())) << "long";
  Replace("t10k-labels-idx1-ubyte.gz", header + std::string(10000, '\x0a'));
  EXPECT_THAT(std::string(Load().message()), HasSubstr("a label above 9"));
  Replace("t10k-labels-idx1-ubyte.gz", "\1" + header.substr(1) + std::string(10000, '\1'));
  EXPECT_TRUE(absl::IsDataLoss(Load())) << "magic";
  EXPECT_THAT(std::string(Load().message()), HasSubstr("t10k-labels-idx1-ubyte.gz"));
  Replace("t10k-labels-idx1-ubyte.gz", header + std::string(10000, '\1'));
  EXPECT_TRUE(Load().ok());
}

TEST_F(MnistDataTest, RefusesABrokenArchiveAndAMissingFile) {
  const fs::path path = folder_ / "t10k-labels-idx1-ubyte.gz";
  std::ifstream whole(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(whole), std::istreambuf_iterator<char>()};
  bytes[bytes.size() / 2] ^= 0x10;
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_TRUE(absl::IsDataLoss(Load()));
  fs::remove(path);
  EXPECT_TRUE(absl::IsNotFound(Load()));
}

TEST_F(MnistDataTest, IsFoundWhereItIsSaidAndListsWhereItLooked) {
  EXPECT_EQ(FindMnist(folder_.string()).value(), folder_.string());
  const absl::Status missing = FindMnist("/no/such/folder").status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("in /no/such/folder;"));
  setenv("TALWEG_DATA_DIR", folder_.c_str(), 1);
  EXPECT_EQ(FindMnist("").value(), folder_.string());
  unsetenv("TALWEG_DATA_DIR");
}

TEST_F(MnistDataTest, AnInstalledProgramLooksBesideItselfAndNowhereElse) {
  EXPECT_THAT(MnistFoldersOf("/usr/local/bin/talweg"),
              ElementsAre("/usr/local/share/talweg/mnist"));
  EXPECT_THAT(MnistFoldersOf("/bin/talweg"), ElementsAre("/share/talweg/mnist"));
  const fs::path build = folder_ / "build/dev";
  fs::create_directories(build);
  std::ofstream(build / "CMakeCache.txt").put('\n');
  EXPECT_THAT(MnistFoldersOf(build / "bin/talweg"),
              ElementsAre(build / "share/talweg/mnist", folder_ / "client/data/mnist"));
}

// Trains against a server in memory that adds gradients to the parameters.
class MnistTrainingTest : public ::testing::Test {
 protected:
  MnistTrainingTest() {
    server_->parameters.assign(kNumParameters, 0.01f);
    server_->pull_chunk = size_t{1} << 18;
    options_.heartbeats = false;
    data_.train = Images(256);
    data_.test = Images(1000);
  }
  static MnistSet Images(size_t size) {
    MnistSet set;
    set.pixels.assign(size * MnistSet::kPixels, 100);
    set.labels.assign(size, 3);
    return set;
  }
  static const MnistMethod& Method(absl::string_view name) {
    const auto methods = MnistMethods();
    return *std::find_if(methods.begin(), methods.end(),
                         [&](const MnistMethod& method) { return method.name == name; });
  }
  Client MakeClient() const { return {std::make_shared<FakeTransport>(server_), options_}; }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions options_;
  MnistData data_;
};

TEST_F(MnistTrainingTest, MakesTheStepsItPromisedAndDeletesItsSession) {
  MnistTraining training;
  training.num_epochs = 2;
  const auto run = TrainMnist(MakeClient(), data_, MnistMethods()[0], training);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->num_steps, 2 * 256 / MnistMethods()[0].batch_size);
  EXPECT_EQ(run->losses.size(), run->num_steps);
  EXPECT_EQ(run->test_accuracy.size(), 2u);
  EXPECT_EQ(server_->steps.size(), run->num_steps);
  EXPECT_EQ(server_->steps[0].header().losses_size(), 1);
  EXPECT_EQ(server_->session.session_id(), "");
  EXPECT_FALSE(server_->joined);
}

TEST_F(MnistTrainingTest, AsksTheServerForTheNetworkItTrains) {
  v1::CreateSessionRequest seen;
  MnistTraining training;
  training.stop = [&] {
    seen.mutable_config()->CopyFrom(server_->session.config());
    return true;
  };
  EXPECT_TRUE(
      absl::IsCancelled(TrainMnist(MakeClient(), data_, Method("adam"), training).status()));
  uint64_t num_elements = 0;
  for (const v1::Tensor& tensor : seen.config().layout().tensors()) {
    num_elements += std::accumulate(tensor.shape().begin(), tensor.shape().end(), uint64_t{1},
                                    std::multiplies<>());
  }
  EXPECT_EQ(num_elements, kNumParameters);
  EXPECT_TRUE(seen.config().optimizer().has_adam());
  EXPECT_EQ(seen.config().schedule().cosine().total_steps(), 256 / Method("adam").batch_size);
}

TEST_F(MnistTrainingTest, TakesGradientsWhereTheServerSaysAndTestsTheParameters) {
  MnistTraining training;
  ASSERT_TRUE(TrainMnist(MakeClient(), data_, Method("nesterov"), training).ok());
  EXPECT_EQ(server_->pulls.front().point(), v1::POINT_LOOKAHEAD);
  for (const v1::StepRequest& step : server_->steps) {
    EXPECT_EQ(step.reply().data(), v1::REPLY_DATA_LOOKAHEAD);
  }
  EXPECT_EQ(server_->pulls.back().point(), v1::POINT_PARAMETERS);
}

TEST_F(MnistTrainingTest, StoppedItLeavesNothingBehind) {
  int num_asked = 0;
  MnistTraining training;
  training.stop = [&] { return ++num_asked > 1; };
  EXPECT_TRUE(
      absl::IsCancelled(TrainMnist(MakeClient(), data_, MnistMethods()[0], training).status()));
  EXPECT_EQ(server_->steps.size(), 1u);
  EXPECT_EQ(server_->session.session_id(), "");
  EXPECT_FALSE(server_->joined);
}

TEST_F(MnistTrainingTest, RefusesUnknownMethodsAndSaysWhichThereAre) {
  MnistOptions options;
  options.methods = {"adm"};
  std::ostringstream out;
  const absl::Status status = RunMnist(MakeClient(), options, out, nullptr);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("there are: all, gradient_descent, momentum"));
}

TEST(MnistMethodsTest, NamesAreThoseOfTheWire) {
  for (const MnistMethod& method : MnistMethods()) {
    v1::Optimizer optimizer;
    method.set(optimizer);
    const auto* oneof = v1::Optimizer::descriptor()->FindOneofByName("method");
    const auto* field = optimizer.GetReflection()->GetOneofFieldDescriptor(optimizer, oneof);
    ASSERT_NE(field, nullptr);
    EXPECT_EQ(field->name(), std::string(method.name));
  }
}

TEST(MnistMethodsTest, TheDemoShowsThree) {
  std::vector<std::string> shown;
  for (const MnistMethod& method : MnistMethods()) {
    if (method.by_default) shown.emplace_back(method.name);
  }
  EXPECT_THAT(shown, ElementsAre("gradient_descent", "momentum", "adam"));
}

TEST(MnistMethodsTest, NoMethodOfTheCatalogueIsForgotten) {
  std::vector<std::string> wire;
  const auto* oneof = v1::Optimizer::descriptor()->FindOneofByName("method");
  for (int i = 0; i < oneof->field_count(); ++i) wire.push_back(oneof->field(i)->name());
  // It needs statistics beside its gradients, which this experiment does not send.
  std::erase(wire, "kfac");
  std::vector<std::string> rows;
  for (const MnistMethod& method : MnistMethods()) rows.emplace_back(method.name);
  EXPECT_THAT(rows, ::testing::UnorderedElementsAreArray(wire));
}

TEST(MnistReportTest, WritesFilesTableAndJson) {
  MnistRun slow;
  slow.method = "gradient_descent";
  slow.batch_size = 64;
  slow.learning_rate = 0.5;
  slow.num_steps = 2;
  slow.epochs = {0, 0.5};
  slow.losses = {2.25, 1.5};
  slow.test_accuracy = {0.975};
  slow.final_loss = 1.875;
  slow.wall_seconds = 4;
  slow.server_seconds = 1;
  MnistRun best = slow;
  best.method = "adam";
  best.test_accuracy = {0.9812};

  const std::string folder = ::testing::TempDir() + "/talweg_report/deep";
  const ReportWriter report = MnistReport(folder, {slow, best});
  const std::string& table = report.table();
  EXPECT_LT(table.find("adam"), table.find("gradient_descent"));
  EXPECT_THAT(table, HasSubstr("98.12 %"));
  EXPECT_THAT(table, HasSubstr("loss, last epoch"));
  EXPECT_THAT(table, HasSubstr("25 %"));

  fs::remove_all(folder);
  const absl::Status written = report.Write();
  ASSERT_TRUE(written.ok()) << written;
  std::ifstream curves(report.PathOf("curves"));
  const std::string csv{std::istreambuf_iterator<char>(curves), std::istreambuf_iterator<char>()};
  EXPECT_EQ(csv,
            "method,step,epoch,loss\n"
            "gradient_descent,1,0.00000,2.25\ngradient_descent,2,0.50000,1.5\n"
            "adam,1,0.00000,2.25\nadam,2,0.50000,1.5\n");
  EXPECT_TRUE(fs::exists(report.PathOf("plot")));
  EXPECT_TRUE(fs::exists(report.PathOf("summary")));
  const std::string json = report.Json();
  EXPECT_THAT(json, HasSubstr("\"test_accuracy\": 0.9812"));
  EXPECT_THAT(json, HasSubstr("\"plot\": \"" + report.PathOf("plot") + "\""));
  EXPECT_FALSE(MnistReport("/proc/no", {slow}).Write().ok());
}

}  // namespace
}  // namespace talweg
