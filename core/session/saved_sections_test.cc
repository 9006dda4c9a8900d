// SPDX-License-Identifier: Apache-2.0
//
// Configurations in format 4, in which sections have names, outlive versions: a section that the
// bytes lack has its defaults, and a section that is not known here is refused by name.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/session/config_sections.h"
#include "core/session/saved_config.h"
#include "core/session/saved_config_testing.h"
#include "core/session/saved_states_testing.h"
#include "gmock/gmock.h"

namespace talweg::core::saved_bytes {
namespace {

// A configuration in format 4, taken apart.
struct NamedSections {
  std::string layout;
  std::vector<std::pair<std::string, std::string>> sections;

  explicit NamedSections(const SessionConfig& config) {
    ByteWriter writer;
    WriteConfig(config, writer);
    ByteReader reader(writer.bytes());
    uint64_t num_tensors = 0;
    EXPECT_TRUE(reader.Uint64(num_tensors).ok());
    for (; num_tensors > 0; --num_tensors) {
      std::string name;
      uint64_t num_dimensions = 0;
      uint64_t dimension = 0;
      EXPECT_TRUE(reader.Text(name).ok());
      EXPECT_TRUE(reader.Uint64(num_dimensions).ok());
      for (; num_dimensions > 0; --num_dimensions) EXPECT_TRUE(reader.Uint64(dimension).ok());
    }
    layout = writer.bytes().substr(0, writer.bytes().size() - reader.remaining());
    uint64_t count = 0;
    EXPECT_TRUE(reader.Uint64(count).ok());
    for (; count > 0; --count) {
      auto& [name, body] = sections.emplace_back();
      EXPECT_TRUE(reader.Text(name).ok());
      EXPECT_TRUE(reader.Text(body).ok());
    }
    EXPECT_TRUE(reader.End().ok());
  }

  std::string bytes() const {
    return layout + Encoded([this](ByteWriter& writer) {
             writer.Uint64(sections.size());
             for (const auto& [name, body] : sections) {
               writer.Text(name);
               writer.Text(body);
             }
           });
  }
};

// One layer, which a session that searches does not take.
SessionConfig LayeredConfig() {
  SessionConfig config = StoryConfig("adam");
  config.layout = std::make_shared<const Layout>(*Layout::Create({{"w", {3, 2}}, {"b", {3}}}));
  config.groups.clear();
  config.method = FindMethod("kfac");
  config.optimizer = config.method->default_config();
  config.layers = {{"w", ConfigOf<LayerConfig>({.bias = "b"})}};
  TALWEG_CHECK(config.Resolve().ok());
  return config;
}

// A configuration that says something in that section.
SessionConfig ConfigThatSays(absl::string_view section) {
  return section == "layers" ? LayeredConfig() : SearchingConfig();
}

TEST(SavedConfigTest, EverySectionIsSavedByItsName) {
  for (const Section& section : Sections()) {
    const SessionConfig config = ConfigThatSays(section.name);
    std::vector<absl::string_view> said;
    for (const Section& one : Sections()) {
      if (one.IsSaid(config)) said.push_back(one.name);
    }
    const NamedSections saved(config);
    ASSERT_EQ(saved.sections.size(), said.size());
    for (size_t index = 0; index < said.size(); ++index) {
      EXPECT_EQ(saved.sections[index].first, said[index]);
    }
    EXPECT_THAT(said, testing::Contains(section.name));
  }
}

TEST(SavedConfigTest, LayersAreReadAsTheyWereWritten) {
  const SessionConfig config = LayeredConfig();
  const auto read = Read(NamedSections(config).bytes(), kStateFormat);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(SameConfig(config, *read));
  ASSERT_EQ(read->layer_table->layers.size(), 1u);
  EXPECT_EQ(read->layer_table->layers[0].bias, std::optional<size_t>(1));
}

// So the state of a session that does not search has not a byte more than it had before there were
// searches.
TEST(SavedConfigTest, ASectionThatSaysNothingIsNotSaved) {
  for (const SavedStory& story : SavedStories()) {
    const NamedSections saved(story.config());
    EXPECT_EQ(saved.sections.size(), Sections().size() - 2);
    EXPECT_EQ(saved.sections.back().first, "digests");
  }
}

TEST(SavedConfigTest, SectionsMayStandInAnyOrder) {
  for (const SavedStory& story : SavedStories()) {
    NamedSections saved(story.config());
    std::sort(saved.sections.begin(), saved.sections.end());
    do {
      const auto config = Read(saved.bytes(), kStateFormat);
      ASSERT_TRUE(config.ok()) << config.status();
      ASSERT_TRUE(SameConfig(*config, story.config()));
    } while (std::next_permutation(saved.sections.begin(), saved.sections.begin() + 5));
  }
}

TEST(SavedConfigTest, ASectionThatTheBytesLackHasItsDefaults) {
  for (const SavedStory& story : SavedStories()) {
    const SessionConfig whole = story.config();
    for (const Section& section : Sections()) {
      NamedSections saved(whole);
      std::erase_if(saved.sections, [&](const auto& s) { return s.first == section.name; });
      const auto config = Read(saved.bytes(), kStateFormat);
      if (!section.needed.empty()) {
        ExpectRefused(config, absl::StrCat("state lacks section ", section.name));
        continue;
      }
      SessionConfig expected = whole;
      section.set(DefaultsOf(section, whole), expected);
      ASSERT_TRUE(config.ok()) << config.status();
      EXPECT_TRUE(SameConfig(*config, expected)) << section.name;
      EXPECT_EQ(SameConfig(*config, whole), SameConfig(expected, whole)) << section.name;
    }
  }
  NamedSections searching(SearchingConfig());
  std::erase_if(searching.sections, [](const auto& s) { return s.first == "search"; });
  EXPECT_FALSE(Read(searching.bytes(), kStateFormat)->searches());
  // A method's own decay is the default, wherever its name stands.
  NamedSections saved(StoryConfig("muon"));
  std::reverse(saved.sections.begin(), saved.sections.end());
  std::erase_if(saved.sections, [](const auto& s) { return s.first == "weight_decay"; });
  EXPECT_EQ(Read(saved.bytes(), kStateFormat)->weight_decay.value().decoupled, 0.1);
}

TEST(SavedConfigTest, AnUnknownSectionIsRefusedByName) {
  NamedSections saved(StoryConfig("adam"));
  saved.sections.insert(saved.sections.begin() + 2, {"durability", std::string(8, '\0')});
  ExpectRefused(Read(saved.bytes(), kStateFormat),
                "state has section durability, which is unknown here");
}

TEST(SavedConfigTest, ASectionThatIsThereTwiceIsRefused) {
  for (const Section& section : Sections()) {
    NamedSections saved(ConfigThatSays(section.name));
    const auto found = std::find_if(saved.sections.begin(), saved.sections.end(),
                                    [&](const auto& named) { return named.first == section.name; });
    ASSERT_NE(found, saved.sections.end());
    const auto again = *found;
    saved.sections.push_back(again);
    ExpectRefused(Read(saved.bytes(), kStateFormat),
                  absl::StrCat("state has section ", section.name, " twice"));
  }
}

TEST(SavedConfigTest, ASectionMustEndWhereItsSizeSays) {
  for (const Section& section : Sections()) {
    for (const bool longer : {false, true}) {
      NamedSections saved(ConfigThatSays(section.name));
      std::string& body =
          std::find_if(saved.sections.begin(), saved.sections.end(), [&](const auto& named) {
            return named.first == section.name;
          })->second;
      longer ? body.push_back('\0') : body.pop_back();
      EXPECT_EQ(ReasonName(Read(saved.bytes(), kStateFormat).status()), "STATE_CORRUPT");
    }
  }
}

TEST(SavedConfigTest, OnlyFormatsThatExistAreRead) {
  for (const uint32_t format : {2u, 3u, 4u, 5u, 34u}) {
    ByteWriter writer;
    writer.Text(absl::StrCat("talweg state ", format, "\n"));
    ByteReader reader(writer.bytes());
    const auto read = ReadStateFormat(reader);
    if (format == 3 || format == 4) {
      ASSERT_TRUE(read.ok());
      EXPECT_EQ(*read, format);
    } else {
      EXPECT_EQ(ReasonName(read.status()), "STATE_CORRUPT");
      EXPECT_EQ(read.status().message(), "state has another format");
    }
  }
  ByteWriter written;
  WriteStateFormat(written);
  ByteReader reader(written.bytes());
  EXPECT_EQ(*ReadStateFormat(reader), kStateFormat);
}

}  // namespace
}  // namespace talweg::core::saved_bytes
