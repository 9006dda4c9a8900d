// SPDX-License-Identifier: Apache-2.0
#include "client/cli/tensor_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace talweg {
namespace {

constexpr size_t kShownNames = 8;

class FileSource final : public ByteSource {
 public:
  explicit FileSource(std::ifstream file) : file_(std::move(file)) {}
  absl::StatusOr<size_t> Read(char* to, size_t size) override {
    file_.read(to, static_cast<std::streamsize>(size));
    return static_cast<size_t>(file_.gcount());
  }

 private:
  std::ifstream file_;
};

absl::Span<const uint64_t> ShapeOf(const v1::Tensor& tensor) {
  return absl::MakeConstSpan(tensor.shape().data(), static_cast<size_t>(tensor.shape_size()));
}

uint64_t SizeOf(const v1::Tensor& tensor) {
  uint64_t size = 1;
  for (const uint64_t dimension : tensor.shape()) size *= dimension;
  return size;
}

uint64_t SizeOf(const v1::Layout& layout) {
  uint64_t size = 0;
  for (const v1::Tensor& tensor : layout.tensors()) size += SizeOf(tensor);
  return size;
}

// "w b", the first of them.
std::string NamesText(const v1::Layout& layout) {
  std::vector<std::string> names;
  for (const v1::Tensor& tensor : layout.tensors()) {
    if (names.size() == kShownNames) {
      names.emplace_back("...");
      break;
    }
    names.push_back(tensor.name());
  }
  return absl::StrJoin(names, " ");
}

bool IsArchive(absl::string_view path) { return absl::EndsWithIgnoreCase(path, ".npz"); }

}  // namespace

absl::StatusOr<TensorFile> TensorFile::Open(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  TensorFile opened(path);
  const int first = file.peek();  // also of a pipe
  if (first == std::ifstream::traits_type::eof()) return opened.Wrong("is empty, or no file");
  if (first == 'P') {
    file.close();
    absl::StatusOr<NpzReader> npz = NpzReader::Open(path);
    if (!npz.ok()) return opened.Wrong(npz.status().message());
    opened.npz_.emplace(*std::move(npz));
    return opened;
  }
  absl::StatusOr<NpyReader> npy = NpyReader::Open(std::make_unique<FileSource>(std::move(file)));
  if (!npy.ok()) return opened.Wrong(npy.status().message());
  opened.npy_.emplace(*std::move(npy));
  return opened;
}

absl::Status TensorFile::Wrong(absl::string_view text) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, " ", text));
}

std::string TensorFile::Note() const {
  std::vector<NpyNumber> numbers;
  if (npy_.has_value()) numbers.push_back(npy_->header().number);
  if (npz_.has_value()) {
    for (const NpzReader::Member& member : npz_->members()) {
      numbers.push_back(member.header.number);
    }
  }
  const auto holds = [&](NpyNumber number) {
    return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
  };
  if (holds(NpyNumber::kFloat64)) {
    return absl::StrCat(path_, " holds float64, which is rounded to float32");
  }
  if (holds(NpyNumber::kFloat16)) {
    return absl::StrCat(path_, " holds float16, which becomes float32 without loss");
  }
  return "";
}

absl::StatusOr<std::vector<float>> TensorFile::Read(const v1::Layout& layout) {
  return npy_.has_value() ? ReadArray(layout) : ReadMembers(layout);
}

absl::StatusOr<std::vector<float>> TensorFile::ReadArray(const v1::Layout& layout) {
  const std::vector<uint64_t>& shape = npy_->header().shape;
  const std::string has = absl::StrCat("has the shape ", ShapeText(shape));
  const uint64_t size = SizeOf(layout);
  const bool is_flat = shape.size() == 1 && shape[0] == size;
  if (layout.tensors_size() == 1) {
    const absl::Span<const uint64_t> expected = ShapeOf(layout.tensors(0));
    if (!is_flat && shape != std::vector<uint64_t>(expected.begin(), expected.end())) {
      return Wrong(absl::StrCat(has, ", the tensor \"", layout.tensors(0).name(), "\" has ",
                                ShapeText(expected), "; taken is that, or (", size, ",)"));
    }
  } else if (!is_flat) {
    return Wrong(absl::StrCat(has, ", the layout has ", size, " elements in ",
                              layout.tensors_size(), " tensors; taken is (", size,
                              ",), or an .npz file with each tensor"));
  }
  std::vector<float> values(size);
  const absl::Status read = npy_->Read(absl::MakeSpan(values));
  if (!read.ok()) return Wrong(read.message());
  return values;
}

absl::StatusOr<std::vector<float>> TensorFile::ReadMembers(const v1::Layout& layout) {
  std::map<std::string, const NpzReader::Member*> members;
  for (const NpzReader::Member& member : npz_->members()) members[member.name] = &member;
  for (const v1::Tensor& tensor : layout.tensors()) {
    const auto found = members.find(tensor.name());
    if (found == members.end()) {
      return Wrong(absl::StrCat("has no member for the tensor \"", tensor.name(), "\""));
    }
    const std::vector<uint64_t>& shape = found->second->header.shape;
    if (absl::MakeConstSpan(shape) != ShapeOf(tensor)) {
      return Wrong(absl::StrCat("has \"", tensor.name(), "\" in the shape ", ShapeText(shape),
                                ", the layout has it in ", ShapeText(ShapeOf(tensor))));
    }
  }
  if (members.size() > static_cast<size_t>(layout.tensors_size())) {
    for (const v1::Tensor& tensor : layout.tensors()) members.erase(tensor.name());
    return Wrong(
        absl::StrCat("has a member \"", absl::CHexEscape(members.begin()->first),
                     "\", which is no tensor of the layout; there are: ", NamesText(layout)));
  }
  std::vector<float> values(SizeOf(layout));
  uint64_t begin = 0;
  for (const v1::Tensor& tensor : layout.tensors()) {
    const absl::Status read =
        npz_->Read(*members[tensor.name()], absl::MakeSpan(values).subspan(begin, SizeOf(tensor)));
    if (!read.ok()) return Wrong(read.message());
    begin += SizeOf(tensor);
  }
  return values;
}

absl::Status CheckWritable(const std::string& path) {
  std::error_code error;
  const bool was_there = std::filesystem::exists(path, error);
  const bool opens = std::ofstream(path, std::ios::binary | std::ios::app).is_open();
  if (opens && !was_there) std::filesystem::remove(path, error);
  return opens ? absl::OkStatus() : absl::InternalError(absl::StrCat("cannot write ", path));
}

absl::Status WriteTensors(const std::string& path, const v1::Layout& layout,
                          absl::Span<const float> values) {
  if (IsArchive(path)) {
    std::vector<NpzArray> arrays;
    uint64_t begin = 0;
    for (const v1::Tensor& tensor : layout.tensors()) {
      arrays.push_back({tensor.name(), ShapeOf(tensor), values.subspan(begin, SizeOf(tensor))});
      begin += SizeOf(tensor);
    }
    return WriteNpz(path, arrays);
  }
  std::ofstream file(path, std::ios::binary);
  file << NpyPrefix({uint64_t{values.size()}});
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(float)));
  file.close();
  if (!file) return absl::InternalError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

}  // namespace talweg
