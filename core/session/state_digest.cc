// SPDX-License-Identifier: Apache-2.0
#include "core/session/state_digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/state_visitor.h"

namespace talweg::core {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are digested as they lie");

// So much of a vector is one piece: some tens of milliseconds.
constexpr size_t kRunBytes = size_t{16} << 20;
// If no vector is larger than this, all of them are one piece, because other threads would be woken
// for less than it takes to wake them.
constexpr size_t kSmallBytes = size_t{64} << 10;

class Sha256Hasher {
 public:
  Sha256Hasher() : context_(EVP_MD_CTX_new()) {
    TALWEG_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
  }
  void Add(absl::string_view bytes) {
    TALWEG_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  Sha256 Result() {
    Sha256 sha256;
    TALWEG_CHECK(EVP_DigestFinal_ex(context_.get(), sha256.data(), nullptr) == 1);
    return sha256;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

// A vector that is being digested. The bytes lie where the state has them.
struct OpenVector {
  VectorDigest digest;
  absl::string_view bytes;
  Sha256Hasher hasher;
};

class VectorLister final : public StateVisitor {
 public:
  void Slot(absl::string_view name, absl::Span<float> values) override { Add(name, values); }
  void Scalar(absl::string_view name, double& value) override {
    Add(name, "float64", 1, &value, sizeof(value));
  }
  void Add(absl::string_view name, absl::Span<const float> values) {
    Add(name, "float32", values.size(), values.data(), values.size() * sizeof(float));
  }

  std::vector<OpenVector> Take() && { return std::move(vectors_); }

 private:
  void Add(absl::string_view name, absl::string_view type, uint64_t num_elements, const void* data,
           size_t size) {
    vectors_.push_back({{std::string(name), type, num_elements, {}},
                        absl::string_view(static_cast<const char*>(data), size),
                        Sha256Hasher()});
  }

  std::vector<OpenVector> vectors_;
};

std::vector<OpenVector> VectorsOf(const Parameters& parameters, Stepper& stepper) {
  VectorLister lister;
  lister.Add("parameters", parameters.values.span());
  stepper.VisitSlots(lister);
  std::vector<OpenVector> vectors = std::move(lister).Take();
  std::sort(vectors.begin() + 1, vectors.end(),
            [](const OpenVector& a, const OpenVector& b) { return a.digest.name < b.digest.name; });
  return vectors;
}

}  // namespace

std::string StateDigestText(const StateDigest& digest) {
  std::string text = absl::StrCat(kStateDigestScheme, "\nversion ", digest.version, "\n");
  for (const VectorDigest& vector : digest.vectors) {
    absl::StrAppend(&text, vector.name, " ", vector.type, " ", vector.num_elements, " ",
                    HexOf(vector.sha256), "\n");
  }
  return text;
}

void AddDigestStages(uint64_t version, std::shared_ptr<const Parameters> parameters,
                     Stepper& stepper, std::shared_ptr<StateDigest> to, Work& work) {
  auto vectors = std::make_shared<std::vector<OpenVector>>(VectorsOf(*parameters, stepper));
  size_t longest = 0;
  for (const OpenVector& vector : *vectors) longest = std::max(longest, vector.bytes.size());
  const auto add_run = [](OpenVector& vector, size_t begin) {
    if (begin < vector.bytes.size()) vector.hasher.Add(vector.bytes.substr(begin, kRunBytes));
  };
  // The stages before may give a slot other memory of the same size.
  const auto find_again = [vectors, parameters, &stepper] {
    *vectors = VectorsOf(*parameters, stepper);
  };
  if (longest <= kSmallBytes) {
    work.Add({[] { return size_t{1}; },
              [vectors, parameters, add_run](size_t) {
                for (OpenVector& vector : *vectors) add_run(vector, 0);
              },
              find_again});
  } else {
    for (size_t begin = 0; begin < longest; begin += kRunBytes) {
      Work::Stage stage = {[vectors] { return vectors->size(); },
                           [vectors, parameters, add_run, begin](size_t index) {
                             add_run((*vectors)[index], begin);
                           }};
      if (begin == 0) stage.begin = find_again;
      work.Add(std::move(stage));
    }
  }
  work.Add({[] { return size_t{0}; },
            [](size_t) {},
            {},
            [version, vectors, to = std::move(to)] {
              to->version = version;
              to->vectors.clear();
              Sha256Hasher whole;
              for (OpenVector& vector : *vectors) {
                vector.digest.sha256 = vector.hasher.Result();
                to->vectors.push_back(std::move(vector.digest));
              }
              whole.Add(StateDigestText(*to));
              to->sha256 = whole.Result();
            }});
}

}  // namespace talweg::core
