// SPDX-License-Identifier: Apache-2.0
#include "client/cli/npz.h"

#include <zip.h>

#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/npy.h"

namespace talweg {
namespace {

constexpr absl::string_view kSuffix = ".npy";
// 1980-01-01 00:00, as NumPy writes it: the oldest time of a zip archive.
constexpr zip_uint16_t kDosTime = 0;
constexpr zip_uint16_t kDosDate = 1 << 5 | 1;

absl::Status Refuse(absl::string_view text) { return absl::InvalidArgumentError(text); }

// "member "w" TEXT".
absl::Status OfMember(absl::string_view name, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("has a member \"", absl::CHexEscape(name),
                                                  "\" that ", status.message()));
}

class MemberSource final : public ByteSource {
 public:
  explicit MemberSource(zip_file_t* file) : file_(file) {}
  ~MemberSource() override { zip_fclose(file_); }

  // At the end of a member, libzip holds its bytes against their checksum.
  absl::StatusOr<size_t> Read(char* to, size_t size) override {
    size_t done = 0;
    while (done < size) {
      const zip_int64_t read = zip_fread(file_, to + done, size - done);
      if (read < 0) return Refuse(absl::StrCat("cannot be read: ", zip_file_strerror(file_)));
      if (read == 0) break;
      done += static_cast<size_t>(read);
    }
    return done;
  }

 private:
  zip_file_t* const file_;
};

absl::StatusOr<NpyReader> OpenMember(zip_t* archive, uint64_t index) {
  zip_file_t* file = zip_fopen_index(archive, index, 0);
  if (file == nullptr) return Refuse(absl::StrCat("cannot be read: ", zip_strerror(archive)));
  return NpyReader::Open(std::make_unique<MemberSource>(file));
}

std::string ZipError(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

// Adds one member, whose bytes stay the caller's until the archive is closed.
bool AddMember(zip_t* archive, const NpzArray& array, std::string& prefix) {
  prefix = NpyPrefix(array.shape);
  zip_buffer_fragment_t pieces[] = {
      {reinterpret_cast<zip_uint8_t*>(prefix.data()), prefix.size()},
      // libzip takes no pointer to const, but writes nothing there.
      {reinterpret_cast<zip_uint8_t*>(const_cast<float*>(array.values.data())),
       array.values.size() * sizeof(float)}};
  zip_source_t* source = zip_source_buffer_fragment(archive, pieces, 2, /*freep=*/0);
  if (source == nullptr) return false;
  const std::string name = absl::StrCat(array.name, kSuffix);
  const zip_int64_t index = zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    return false;
  }
  const auto place = static_cast<zip_uint64_t>(index);
  return zip_set_file_compression(archive, place, ZIP_CM_STORE, 0) == 0 &&
         zip_file_set_dostime(archive, place, kDosTime, kDosDate, 0) == 0;
}

}  // namespace

void NpzReader::Close::operator()(zip* archive) const { zip_discard(archive); }

absl::StatusOr<NpzReader> NpzReader::Open(const std::string& path) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive == nullptr) return Refuse(absl::StrCat("is no .npz file: ", ZipError(code)));
  NpzReader reader(archive);
  std::set<std::string> names;
  const zip_int64_t num_entries = zip_get_num_entries(archive, 0);
  for (uint64_t index = 0; index < static_cast<uint64_t>(num_entries); ++index) {
    const char* entry = zip_get_name(archive, index, ZIP_FL_ENC_RAW);
    if (entry == nullptr) return Refuse(absl::StrCat("is no .npz file: ", zip_strerror(archive)));
    absl::string_view name = entry;
    if (absl::EndsWith(name, "/")) continue;  // a folder, which some programs note
    if (!absl::ConsumeSuffix(&name, kSuffix)) {
      return OfMember(name, Refuse("is no .npy file by its name"));
    }
    if (!names.insert(std::string(name)).second) return OfMember(name, Refuse("is there twice"));
    const absl::StatusOr<NpyReader> member = OpenMember(archive, index);
    if (!member.ok()) return OfMember(name, member.status());
    reader.members_.push_back({std::string(name), member->header(), index});
  }
  return reader;
}

absl::Status NpzReader::Read(const Member& member, absl::Span<float> values) {
  absl::StatusOr<NpyReader> reader = OpenMember(archive_.get(), member.index);
  if (!reader.ok()) return OfMember(member.name, reader.status());
  if (reader->header().num_elements() != values.size()) {
    return OfMember(member.name, Refuse("changed while it was read"));
  }
  const absl::Status read = reader->Read(values);
  return read.ok() ? read : OfMember(member.name, read);
}

absl::Status WriteNpz(const std::string& path, absl::Span<const NpzArray> arrays) {
  const auto failed = [&](const std::string& why) {
    return absl::InternalError(absl::StrCat("cannot write ", path, ": ", why));
  };
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  if (archive == nullptr) return failed(ZipError(code));
  std::vector<std::string> prefixes(arrays.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    if (AddMember(archive, arrays[i], prefixes[i])) continue;
    const std::string why = zip_strerror(archive);
    zip_discard(archive);
    return failed(why);
  }
  if (zip_close(archive) == 0) return absl::OkStatus();
  const std::string why = zip_strerror(archive);
  zip_discard(archive);
  return failed(why);
}

}  // namespace talweg
