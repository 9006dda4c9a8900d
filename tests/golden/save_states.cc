// SPDX-License-Identifier: Apache-2.0
//
// Wrote the states of core/session/testdata, and what a session that loads them must do. It is no
// part of the build: it was compiled against the version whose format it saves, as the README there
// says. Usage: save_states FOLDER
#include <bit>
#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/session/saved_states_testing.h"
#include "nlohmann/json.hpp"

namespace talweg::core {
namespace {

using Json = nlohmann::ordered_json;

std::string Hex(absl::Span<const float> values) {
  std::string text;
  for (const float value : values)
    absl::StrAppendFormat(&text, "%08x", std::bit_cast<uint32_t>(value));
  return text;
}

Json AnswerOf(StoryTeller& teller, const std::string& worker) {
  const Effects effects = teller.Repeats(worker);
  TALWEG_CHECK(effects.answer.has_value() && effects.answer->replayed);
  Json answer = {{"worker", worker},
                 {"verdict", static_cast<int>(effects.answer->verdict)},
                 {"applied_version", effects.answer->applied_version}};
  if (effects.answer->report != nullptr) {
    const StepReport& report = *effects.answer->report;
    answer["contributors"] = report.contributors;
    answer["staleness"] = report.staleness;
    answer["loss"] = *report.loss;
    answer["gradient_norm"] = report.gradient_norm;
    answer["update_norm"] = report.update_norm;
    answer["learning_rate"] = report.learning_rate;
    answer["total_weight"] = report.total_weight;
    answer["late_workers"] = report.late_workers;
  }
  return answer;
}

Json Save(const SavedStory& story, const std::string& folder) {
  Join statistics{"statistics", 1};
  statistics.gradient = false;
  StoryTeller teller(story.config(), statistics);
  story.before(teller);
  const std::string bytes = teller.session().Save();
  std::ofstream(absl::StrCat(folder, "/state_3_", story.name, ".bin"), std::ios::binary) << bytes;
  auto loaded = Session::Load(bytes, kSavedTime);
  TALWEG_CHECK(loaded.ok());
  teller.Replace(*std::move(loaded));
  Session& session = teller.session();
  Json told = {{"bytes", bytes.size()},
               {"history", absl::StrFormat("%x", session.machine().history())},
               {"version", session.machine().version()},
               {"config_version", session.config_version()},
               {"workers", session.machine().num_workers()},
               {"parameters", Hex(session.parameters()->values.span())}};
  for (const std::string& worker : story.workers)
    told["answers"].push_back(AnswerOf(teller, worker));
  const uint64_t version = session.machine().version();
  story.after(teller);
  TALWEG_CHECK(session.machine().version() == version + 2);
  told["parameters_after_two_versions"] = Hex(session.parameters()->values.span());
  return told;
}

}  // namespace
}  // namespace talweg::core

int main(int, char** argv) {
  nlohmann::ordered_json all;
  for (const talweg::core::SavedStory& story : talweg::core::SavedStories()) {
    all[story.name] = talweg::core::Save(story, argv[1]);
  }
  std::ofstream(std::string(argv[1]) + "/state_3.json") << all.dump(1) << "\n";
}
