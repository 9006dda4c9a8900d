// SPDX-License-Identifier: Apache-2.0
//
// Configurations in format 3 outlive versions: a field that the bytes lack has its default, and a
// field that is not known here is refused by name. The bytes come from testdata/.
#include "core/session/saved_config.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/session/config_sections.h"
#include "core/session/saved_config_testing.h"
#include "core/session/saved_states_testing.h"
#include "gtest/gtest.h"

namespace talweg::core::saved_bytes {
namespace {

// A field of a configuration in format 3.
struct SavedField {
  std::string path;  // "optimizer.adam.beta1"
  size_t begin, end;
  size_t count_at;  // where the number of the fields around it stands
};

constexpr size_t kSectionsOfFormat3 = 7;

// Finds every field of a configuration in format 3.
class FieldFinder {
 public:
  explicit FieldFinder(absl::string_view bytes) : size_(bytes.size()), reader_(bytes) {
    for (uint64_t left = Number(); left > 0; --left) {
      Text();
      for (uint64_t dimensions = Number(); dimensions > 0; --dimensions) Number();
    }
    for (const Section& section : Sections().first(kSectionsOfFormat3)) {
      const std::string name(section.name);
      if (section.default_fields != nullptr) FindFields(name);
      if (section.choose_kind != nullptr) FindFields(absl::StrCat(name, ".", Text()));
      if (section.default_entry == nullptr) continue;
      const uint64_t num_entries = Number();
      for (uint64_t index = 0; index < num_entries; ++index) {
        Text();
        FindFields(absl::StrCat(name, "[", index, "]"));
      }
    }
  }

  std::vector<SavedField> fields() const { return fields_; }
  SavedField Find(absl::string_view path) const {
    const auto field = std::find_if(fields_.begin(), fields_.end(),
                                    [&](const SavedField& f) { return f.path == path; });
    TALWEG_CHECK(field != fields_.end());
    return *field;
  }

 private:
  size_t place() const { return size_ - reader_.remaining(); }
  uint64_t Number() {
    uint64_t number = 0;
    TALWEG_CHECK(reader_.Uint64(number).ok());
    return number;
  }
  std::string Text() {
    std::string text;
    TALWEG_CHECK(reader_.Text(text).ok());
    return text;
  }
  void FindFields(const std::string& path) {
    const size_t count_at = place();
    for (uint64_t left = Number(); left > 0; --left) {
      SavedField field{"", place(), 0, count_at};
      field.path = absl::StrCat(path, ".", Text());
      uint8_t kind = 0;
      uint8_t flag = 0;
      TALWEG_CHECK(reader_.Byte(kind).ok());
      if (kind == 0) TALWEG_CHECK(reader_.Byte(flag).ok());
      if (kind == 1 || kind == 2) Number();
      if (kind > 2) Text();
      field.end = place();
      fields_.push_back(field);
    }
  }

  size_t size_;
  ByteReader reader_;
  std::vector<SavedField> fields_;
};

// `bytes` with a number at `place` that differs by `change`.
void ChangeNumber(std::string& bytes, size_t place, int change) {
  uint64_t number = 0;
  TALWEG_CHECK(ByteReader(absl::string_view(bytes).substr(place)).Uint64(number).ok());
  number += static_cast<uint64_t>(static_cast<int64_t>(change));
  bytes.replace(place, 8, Encoded([&](ByteWriter& writer) { writer.Uint64(number); }));
}

std::string WithoutField(std::string bytes, const SavedField& field) {
  bytes.erase(field.begin, field.end - field.begin);
  ChangeNumber(bytes, field.count_at, -1);
  return bytes;
}

// `added` before `field`.
std::string WithField(std::string bytes, const SavedField& field, const std::string& added) {
  bytes.insert(field.begin, added);
  ChangeNumber(bytes, field.count_at, +1);
  return bytes;
}

// The configuration in a checked-in state, without what follows it.
std::string ConfigBytesOf(const SavedStory& story) {
  const std::string state = StateOf(story);
  ByteReader reader(state);
  TALWEG_CHECK(*ReadStateFormat(reader) == 3);
  const size_t begin = state.size() - reader.remaining();
  TALWEG_CHECK(ReadConfig(reader, 3).ok());
  return state.substr(begin, state.size() - reader.remaining() - begin);
}

// Every field by its path.
using Values = std::map<std::string, std::string>;

void AddValues(const Config* fields, const std::string& path, Values& values) {
  if (fields == nullptr) return;
  for (const FieldInfo& field : fields->Fields()) {
    values[absl::StrCat(path, ".", field.name)] = FieldValueText(fields->Get(field.name));
  }
}

Values ValuesOf(const SessionConfig& config) {
  Values values;
  for (const Section& section : Sections()) {
    const SectionView view = section.view(config);
    const std::string name(section.name);
    AddValues(view.fields, name, values);
    AddValues(view.kind_fields, absl::StrCat(name, ".", view.kind), values);
    for (size_t index = 0; index < view.entries.size(); ++index) {
      AddValues(view.entries[index].fields, absl::StrCat(name, "[", index, "]"), values);
    }
  }
  return values;
}

// What a field has if nobody sets it, beside `config`'s method, kind of decay and number of groups.
Values DefaultsBeside(const SessionConfig& config) {
  Values values;
  for (const Section& section : Sections()) {
    SectionValue value = DefaultsOf(section, config);
    const SectionView view = section.view(config);
    const std::string name(section.name);
    AddValues(value.fields.get(), name, values);
    if (section.choose_kind != nullptr) TALWEG_CHECK(section.choose_kind(view.kind, value));
    AddValues(value.kind_fields.get(), absl::StrCat(name, ".", view.kind), values);
    for (size_t index = 0; index < view.entries.size(); ++index) {
      AddValues(section.default_entry().get(), absl::StrCat(name, "[", index, "]"), values);
    }
  }
  return values;
}

// Fields that came after the states of format 3 were saved.
const std::set<std::string> kAddedSince = {"aggregation.workers_may_close", "digests.every_steps",
                                           "optimizer.muon.epsilon"};

class CheckedInConfigTest : public testing::TestWithParam<SavedStory> {};

TEST_P(CheckedInConfigTest, AFieldThatTheBytesLackHasItsDefault) {
  const std::string bytes = ConfigBytesOf(GetParam());
  const SessionConfig whole = *Read(bytes);
  std::set<std::string> needed;  // by other fields, or at all
  const FieldFinder finder(bytes);
  for (const SavedField& field : finder.fields()) {
    const auto config = Read(WithoutField(bytes, field));
    if (!config.ok()) {
      EXPECT_EQ(ReasonName(config.status()), "STATE_CORRUPT");
      needed.insert(field.path);
      continue;
    }
    Values expected = ValuesOf(whole);
    expected[field.path] = DefaultsBeside(whole)[field.path];
    EXPECT_EQ(ValuesOf(*config), expected) << field.path;
  }
  // The bytes lack the fields that have been added since.
  Values lacking = ValuesOf(whole);
  for (const SavedField& field : finder.fields()) EXPECT_EQ(lacking.erase(field.path), 1u);
  for (const auto& [path, value] : lacking) {
    EXPECT_TRUE(kAddedSince.contains(path) || path.find("search.") == 0) << path;
    EXPECT_EQ(value, DefaultsBeside(whole)[path]) << path;
  }
  std::set<std::string> expected = {"schedule.learning_rate"};
  const absl::string_view story = GetParam().name;
  if (story == "adam") expected.insert("schedule.cosine.total_steps");
  if (story == "synchronous") {
    expected.insert({"schedule.step.period_steps", "aggregation.mode", "aggregation.close",
                     "aggregation.close_count", "aggregation.max_staleness"});
  }
  if (story == "bounded") {
    expected.insert({"schedule.polynomial.total_steps", "aggregation.mode"});
  }
  EXPECT_EQ(needed, expected);
}

TEST_P(CheckedInConfigTest, FieldsMayStandInAnyOrder) {
  const std::string bytes = ConfigBytesOf(GetParam());
  const std::vector<SavedField> fields = FieldFinder(bytes).fields();
  for (size_t index = 1; index < fields.size(); ++index) {
    const SavedField& first = fields[index - 1];
    const SavedField& second = fields[index];
    if (first.count_at != second.count_at) continue;
    std::string swapped = bytes;
    swapped.replace(first.begin, second.end - first.begin,
                    bytes.substr(second.begin, second.end - second.begin) +
                        bytes.substr(first.begin, first.end - first.begin));
    const auto config = Read(swapped);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_TRUE(SameConfig(*config, *Read(bytes)));
  }
}

TEST_P(CheckedInConfigTest, AFieldThatIsThereTwiceIsRefused) {
  const std::string bytes = ConfigBytesOf(GetParam());
  for (const SavedField& field : FieldFinder(bytes).fields()) {
    const std::string again = bytes.substr(field.begin, field.end - field.begin);
    ExpectRefused(Read(WithField(bytes, field, again)),
                  absl::StrCat("state has field ", field.path, " twice"));
  }
}

TEST_P(CheckedInConfigTest, AnUnknownFieldIsRefusedByName) {
  const std::string bytes = ConfigBytesOf(GetParam());
  const std::string unknown = Encoded([](ByteWriter& writer) {
    writer.Text("curvature");
    writer.Byte(2);
    writer.Double(0);
  });
  for (const SavedField& field : FieldFinder(bytes).fields()) {
    const std::string section = field.path.substr(0, field.path.rfind('.'));
    ExpectRefused(Read(WithField(bytes, field, unknown)),
                  absl::StrCat("state has field ", section, ".curvature, which is unknown here"));
  }
}

TEST_P(CheckedInConfigTest, AFieldOfAnotherKindIsRefusedByName) {
  const std::string bytes = ConfigBytesOf(GetParam());
  for (const SavedField& field : FieldFinder(bytes).fields()) {
    const size_t name_size = field.path.size() - field.path.rfind('.') - 1;
    for (const char kind : {0, 1, 2, 3, 4, 5, -1}) {
      std::string changed = bytes;
      char& saved_kind = changed[field.begin + 8 + name_size];
      if (saved_kind == kind) continue;
      saved_kind = kind;
      ExpectRefused(Read(changed),
                    absl::StrCat("state has field ", field.path, " of another kind"));
    }
  }
}

TEST_P(CheckedInConfigTest, EveryPrefixIsRefused) {
  const std::string bytes = ConfigBytesOf(GetParam());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ReasonName(Read(absl::string_view(bytes).substr(0, size)).status()), "STATE_CORRUPT");
  }
}

INSTANTIATE_TEST_SUITE_P(Format3, CheckedInConfigTest, testing::ValuesIn(SavedStories()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(SavedConfigTest, ABadValueIsRefusedByName) {
  const std::string bytes = ConfigBytesOf(StoryNamed("adam"));
  const FieldFinder finder(bytes);
  const auto with_value = [&](const char* path, const std::string& value) {
    std::string changed = bytes;
    const SavedField field = finder.Find(path);
    return changed.replace(field.end - value.size(), value.size(), value);
  };
  const std::string two = Encoded([](ByteWriter& writer) { writer.Double(2); });
  ExpectRefused(Read(with_value("optimizer.adam.beta2", two)),
                "state has a bad value of optimizer.adam.beta2");
  ExpectRefused(Read(with_value("aggregation.mode", "X")),
                "state has a bad value of aggregation.mode");
  ExpectRefused(Read(with_value("optimizer.adam.dialect", "X")),
                "state has a bad value of optimizer.adam.dialect");
}

TEST(SavedConfigTest, FieldsThatContradictEachOtherAreRefusedByTheirSection) {
  const std::string bytes = ConfigBytesOf(StoryNamed("synchronous"));
  ExpectRefused(Read(WithoutField(bytes, FieldFinder(bytes).Find("aggregation.close_count"))),
                "state has fields of aggregation that contradict each other: "
                "close_count is 0, allowed with close COUNT: >= 1");
}

// Earlier versions allowed it. A client may not ask for it any longer.
TEST(SavedConfigTest, AWarmUpThatIsLongerThanTheDecayIsRead) {
  std::string bytes = ConfigBytesOf(StoryNamed("adam"));
  const SavedField field = FieldFinder(bytes).Find("schedule.warmup_steps");
  bytes.replace(field.end - 8, 8, Encoded([](ByteWriter& writer) { writer.Uint64(25); }));
  const auto config = Read(bytes);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->schedule.LearningRate(25), 0.03);
  EXPECT_EQ(config->schedule.LearningRate(26), 0.03 * 0.1);
  const absl::Status asked = config->CheckAsked();
  EXPECT_EQ(ReasonName(asked), "HYPERPARAMETER_OUT_OF_RANGE");
  EXPECT_EQ(FieldName(asked), "schedule.cosine.total_steps");
}

TEST(SavedConfigTest, ARequiredFieldHasNoDefault) {
  const std::string bytes = ConfigBytesOf(StoryNamed("adam"));
  ExpectRefused(Read(WithoutField(bytes, FieldFinder(bytes).Find("schedule.learning_rate"))),
                "state lacks field schedule.learning_rate");
}

TEST(SavedConfigTest, AnUnknownKindIsRefusedByName) {
  std::string bytes = ConfigBytesOf(StoryNamed("adam"));
  bytes.replace(bytes.find("cosine"), 6, "cosino");
  ExpectRefused(Read(bytes), "state has decay schedule.cosino, which is unknown here");
  bytes.replace(bytes.find("adam"), 4, "adan");
  ExpectRefused(Read(bytes), "state has method optimizer.adan, which is unknown here");
}

}  // namespace
}  // namespace talweg::core::saved_bytes
