// SPDX-License-Identifier: Apache-2.0
//
// States that earlier versions saved are read, and the sessions go on as if they had never stopped.
// testdata/README.md says where the states come from.
#include <bit>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/byte_io.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/session/saved_states_testing.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace talweg::core {

std::string ReadTestdata(const std::string& name) {
  std::ifstream file(absl::StrCat(TALWEG_STATES_FOLDER, "/", name), std::ios::binary);
  TALWEG_CHECK(file.is_open());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

namespace {

using Json = nlohmann::json;

std::string Hex(absl::Span<const float> values) {
  std::string text;
  for (const float value : values) {
    absl::StrAppendFormat(&text, "%08x", std::bit_cast<uint32_t>(value));
  }
  return text;
}

std::string ParametersOf(const Session& session) {
  return Hex(session.parameters()->values.span());
}

std::string BytesOf(const Parameters& parameters) {
  const absl::Span<const float> values = parameters.values.span();
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// Parameters, slots and average, and the counters of the machine.
std::string NumbersOf(Session& session) {
  const RoundMachine& machine = session.machine();
  std::string text = absl::StrCat(machine.history(), " ", machine.version(), " ",
                                  machine.num_workers(), " ", session.config_version());
  const std::string bytes = session.Save();
  const size_t after_machine = bytes.find(BytesOf(*session.parameters()));
  EXPECT_NE(after_machine, std::string::npos);
  // The checksum at the end covers everything.
  text += bytes.substr(after_machine, bytes.size() - sizeof(uint32_t) - after_machine);
  return text;
}

// The story up to the moment when its state was saved, told to a new session.
StoryTeller Retold(const SavedStory& story) {
  StoryTeller teller(story.config(), Join{"statistics", 0, {Role::kStatistics}});
  story.before(teller);
  return teller;
}

void ExpectAnswer(const Answer& answer, const Json& expected) {
  EXPECT_TRUE(answer.replayed);
  EXPECT_EQ(static_cast<int>(answer.verdict), expected["verdict"]);
  EXPECT_EQ(answer.applied_version, expected["applied_version"]);
  ASSERT_EQ(answer.report != nullptr, expected.contains("contributors"));
  if (answer.report == nullptr) return;
  EXPECT_EQ(answer.report->contributors, expected["contributors"]);
  EXPECT_EQ(answer.report->staleness, expected["staleness"]);
  EXPECT_EQ(answer.report->loss, expected["loss"].get<double>());
  EXPECT_EQ(answer.report->gradient_norm, expected["gradient_norm"]);
  EXPECT_EQ(answer.report->update_norm, expected["update_norm"]);
  EXPECT_EQ(answer.report->learning_rate, expected["learning_rate"]);
  EXPECT_EQ(answer.report->total_weight, expected["total_weight"]);
  EXPECT_EQ(answer.report->late_workers, expected["late_workers"]);
}

class SavedStateTest : public testing::TestWithParam<SavedStory> {};

TEST_P(SavedStateTest, IsReadAndGoesOnAsInTheVersionThatSavedIt) {
  const Json expected = Json::parse(ReadTestdata("state_3.json"))[GetParam().name];
  const std::string bytes = StateOf(GetParam());
  ASSERT_EQ(bytes.size(), expected["bytes"]);
  auto loaded = Session::Load(bytes, kSavedTime);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  StoryTeller teller = Retold(GetParam());
  teller.Replace(*std::move(loaded));
  const Session& session = teller.session();
  EXPECT_EQ(absl::StrFormat("%x", session.machine().history()), expected["history"]);
  EXPECT_EQ(session.machine().version(), expected["version"]);
  EXPECT_EQ(session.config_version(), expected["config_version"]);
  EXPECT_EQ(session.machine().num_workers(), expected["workers"]);
  EXPECT_EQ(ParametersOf(session), expected["parameters"]);
  ASSERT_EQ(expected["answers"].size(), GetParam().workers.size());
  for (const Json& answer : expected["answers"]) {
    const Effects effects = teller.Repeats(answer["worker"]);
    ASSERT_TRUE(effects.answer.has_value()) << answer;
    ExpectAnswer(*effects.answer, answer);
  }
  GetParam().after(teller);
  EXPECT_EQ(session.machine().version(), expected["version"].get<uint64_t>() + 2);
  EXPECT_EQ(ParametersOf(session), expected["parameters_after_two_versions"]);
}

// Whether the method or the average keeps its slots in another way since: what the version that
// saved the state had rounded away is in no slot of it.
bool KeepsOtherSlotsNow(const SessionConfig& config) {
  return config.average.value().decay > 0 || config.method->name == "rmsprop";
}

// What the version that saved it did otherwise is not compared: it told an unweighted loss, and it
// counted no refusals.
TEST_P(SavedStateTest, HasTheNumbersOfASessionThatWasMadeAnewAndFedTheSame) {
  StoryTeller saved = Retold(GetParam());
  StoryTeller anew = Retold(GetParam());
  const std::string bytes = anew.session().Save();
  auto loaded = Session::Load(StateOf(GetParam()), kSavedTime);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(SameConfig((*loaded)->config(), anew.session().newest_config()));
  if (KeepsOtherSlotsNow((*loaded)->config())) return;  // SavedStateSlotsTest compares these
  EXPECT_EQ(NumbersOf(**loaded), NumbersOf(anew.session()));
  saved.Replace(*std::move(loaded));
  // What was pending is forgotten by every saved state.
  anew.Replace(*Session::Load(bytes, kSavedTime));
  GetParam().after(saved);
  GetParam().after(anew);
  EXPECT_EQ(NumbersOf(saved.session()), NumbersOf(anew.session()));
}

// A hyper-parameter that has been added since: the state has no word of it.
TEST(SavedStateFieldTest, StateWithoutAFieldIsReadWithItsDefault) {
  const SavedStory story = SavedStories().front();
  const std::string state = StateOf(story);
  std::string body = state.substr(0, state.size() - 4);
  ByteWriter field;
  field.Text("lease_seconds");
  field.Byte(1);
  field.Uint64(60);
  const size_t place = body.find(field.bytes());
  ASSERT_NE(place, std::string::npos);
  body.erase(place, field.bytes().size());
  // The number of the policy's fields stands before the first.
  ByteWriter first;
  first.Text("max_staleness");
  const size_t count_at = body.find(first.bytes()) - 8;
  ASSERT_EQ(body[count_at], 17);
  body[count_at] = 16;
  ByteWriter checksum;
  checksum.Uint32(Crc32c(body));
  auto loaded = Session::Load(body + checksum.bytes(), kSavedTime);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->config().aggregation.value().lease_seconds, 30u);
  EXPECT_EQ((*loaded)->config().aggregation.value().max_staleness, 3u);
  StoryTeller teller = Retold(story);
  teller.Replace(*std::move(loaded));
  story.after(teller);
  const Json expected = Json::parse(ReadTestdata("state_3.json"))[story.name];
  EXPECT_EQ(ParametersOf(teller.session()), expected["parameters_after_two_versions"]);
}

// Every parameter and slot of a session, by name.
std::map<std::string, std::vector<float>> SlotsOf(Session& session) {
  const std::string state = session.Save();
  std::map<std::string, std::vector<float>> slots;
  for (const char* name : {"c", "last_gradient", "last_offset", "average", "average_low"}) {
    // Its name, its size, its values.
    ByteWriter head;
    head.Text(name);
    head.Uint64(session.num_elements());
    const size_t place = state.find(head.bytes());
    if (place == std::string::npos) continue;
    std::vector<float> values(session.num_elements());
    ByteReader reader(absl::string_view(state).substr(place + head.bytes().size() - 8));
    EXPECT_TRUE(reader.Floats(absl::MakeSpan(values)).ok());
    slots[name] = values;
  }
  return slots;
}

void ExpectNear(const std::vector<float>& got, const std::vector<float>& expected,
                double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << i;
}

// The session that a state was saved of, loaded, and the same session as this version makes it.
struct LoadedAndAnew {
  StoryTeller loaded, anew;

  explicit LoadedAndAnew(const SavedStory& story) : loaded(Retold(story)), anew(Retold(story)) {
    auto session = Session::Load(StateOf(story), kSavedTime);
    TALWEG_CHECK(session.ok());
    loaded.Replace(*std::move(session));
  }
};

TEST(SavedStateSlotsTest, CenteredRmspropGoesOnFromTheAverageOfSquaresAndTheMean) {
  const SavedStory story = StoryNamed("bounded");
  LoadedAndAnew sessions(story);
  ASSERT_EQ(SlotsOf(sessions.loaded.session()).count("c"), 1u);
  story.after(sessions.loaded);
  story.after(sessions.anew);
  const auto loaded = SlotsOf(sessions.loaded.session());
  const auto anew = SlotsOf(sessions.anew.session());
  for (const char* slot : {"c", "last_gradient", "last_offset"}) {
    ExpectNear(loaded.at(slot), anew.at(slot), 1e-6);
  }
}

TEST(SavedStateSlotsTest, AnAverageWithoutItsLowPartsGoesOnWithZeros) {
  const SavedStory story = StoryNamed("muon");
  LoadedAndAnew sessions(story);
  auto loaded = SlotsOf(sessions.loaded.session());
  EXPECT_EQ(loaded.at("average_low"), std::vector<float>(sessions.loaded.session().num_elements()));
  EXPECT_NE(SlotsOf(sessions.anew.session()).at("average_low"), loaded.at("average_low"));
  story.after(sessions.loaded);
  story.after(sessions.anew);
  loaded = SlotsOf(sessions.loaded.session());
  const auto anew = SlotsOf(sessions.anew.session());
  ExpectNear(loaded.at("average"), anew.at("average"), 2e-7);
  EXPECT_NE(loaded.at("average_low"), std::vector<float>(loaded.at("average").size()));
  // From here on nothing is lost: the state of the loaded session is read as it was.
  const std::string bytes = sessions.loaded.session().Save();
  auto again = Session::Load(bytes, kSavedTime);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->Save(), bytes);
}

TEST_P(SavedStateTest, EveryPrefixIsRefusedWhateverItsChecksum) {
  const std::string bytes = StateOf(GetParam());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string prefix = bytes.substr(0, size);
    EXPECT_EQ(ReasonName(Session::Load(prefix, kSavedTime).status()), "STATE_CORRUPT") << size;
    if (size + 4 >= bytes.size()) continue;  // The whole body has its checksum.
    ByteWriter checksum;
    checksum.Uint32(Crc32c(prefix));
    EXPECT_EQ(ReasonName(Session::Load(prefix + checksum.bytes(), kSavedTime).status()),
              "STATE_CORRUPT")
        << size;
  }
}

INSTANTIATE_TEST_SUITE_P(Format3, SavedStateTest, testing::ValuesIn(SavedStories()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace talweg::core
