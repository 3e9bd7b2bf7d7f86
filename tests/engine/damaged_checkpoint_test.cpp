// Model folders as they must never be: each gives one error that names the file, or loads; none crashes.

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <unistd.h>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "engine/model.h"
#include "kernels/make_backend.h"

namespace condensed::engine {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using testing::AllOf;
using testing::HasSubstr;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

void write(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

/// A copy of a good model folder, to damage.
class DamagedCheckpoint : public testing::Test {
 protected:
  DamagedCheckpoint()
      : folder_(fs::temp_directory_path() / ("damaged_" + std::to_string(::getpid()) + "_" +
                                             testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    const fs::path good = fs::path(CONDENSED_TESTS_DIR) / "golden/condensed-w2";
    config_ = json::parse(read(good / "config.json")).as_object();
    weights_ = read(good / "model.safetensors");
    restore();
  }
  ~DamagedCheckpoint() override { fs::remove_all(folder_); }

  void restore() {
    write(folder_ / "config.json", json::serialize(config_));
    write(folder_ / "model.safetensors", weights_);
  }

  std::shared_ptr<Model> load() { return load_model(folder_, kernels::make_backend("reference", 1)); }

  /// The message of the error that loading gives.
  std::string error() {
    try {
      load();
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(folder_.string()));
      return error.what();
    }
    ADD_FAILURE() << "the damaged checkpoint was loaded";
    return "";
  }

  std::string error_with(std::string_view key, const json::value& value) {
    json::object config = config_;
    config[key] = value;
    write(folder_ / "config.json", json::serialize(config));
    const std::string message = error();
    restore();
    return message;
  }

  std::string header() const {
    std::uint64_t size = 0;
    std::memcpy(&size, weights_.data(), 8);
    return weights_.substr(8, size);
  }
  /// The weights with another header.
  std::string with_header(const std::string& header) const {
    std::uint64_t size = header.size();
    std::string out(reinterpret_cast<const char*>(&size), 8);
    return out + header + weights_.substr(8 + this->header().size());
  }
  std::string error_with_header(json::object header) {
    write(folder_ / "model.safetensors", with_header(json::serialize(header)));
    const std::string message = error();
    restore();
    return message;
  }

  fs::path folder_;
  json::object config_;
  std::string weights_;
};

TEST_F(DamagedCheckpoint, TheUndamagedOneLoads) {
  EXPECT_EQ(load()->plan.n_owners(), 3);
}

TEST_F(DamagedCheckpoint, TruncatedWeights) {
  for (const std::size_t size : {0, 1, 7, 8, 9, 100, 2000, 5000, 100'000, 500'000}) {
    write(folder_ / "model.safetensors", weights_.substr(0, size));
    EXPECT_THAT(error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("truncated"))) << size;
  }
  write(folder_ / "model.safetensors", weights_.substr(0, weights_.size() - 1));
  EXPECT_THAT(error(), AllOf(HasSubstr("tensor "), HasSubstr("truncated")));
}

TEST_F(DamagedCheckpoint, BadHeaders) {
  write(folder_ / "model.safetensors", with_header("{\"a\": "));
  EXPECT_THAT(error(), HasSubstr("not valid JSON"));
  write(folder_ / "model.safetensors", with_header("[]"));
  EXPECT_THAT(error(), HasSubstr("not a JSON object"));
  write(folder_ / "model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f" + weights_.substr(8));
  EXPECT_THAT(error(), HasSubstr("header length"));
  restore();

  const json::object good = json::parse(header()).as_object();
  const std::string name = "model.layers.1.self_attn.q_proj.weight";
  const auto changed = [&](std::string_view key, const json::value& value) {
    json::object out = good;
    out[name].as_object()[key] = value;
    return error_with_header(out);
  };
  EXPECT_THAT(changed("dtype", "I64"), AllOf(HasSubstr(name), HasSubstr("I64"), HasSubstr("expected F32")));
  EXPECT_THAT(changed("dtype", 5), HasSubstr(name));
  EXPECT_THAT(changed("dtype", "F16"), AllOf(HasSubstr(name), HasSubstr("bytes")));
  EXPECT_THAT(changed("shape", json::array{64, 65}), AllOf(HasSubstr(name), HasSubstr("[64, 65]")));
  EXPECT_THAT(changed("shape", json::array{-64, -64}), AllOf(HasSubstr(name), HasSubstr("shape")));
  EXPECT_THAT(changed("shape", json::array{std::int64_t{1} << 40, std::int64_t{1} << 40}), HasSubstr(name));
  EXPECT_THAT(changed("shape", "64x64"), HasSubstr("shape"));
  EXPECT_THAT(changed("data_offsets", json::array{0}), HasSubstr("data_offsets"));
  EXPECT_THAT(changed("data_offsets", json::array{16384, 0}), HasSubstr("data_offsets"));
  EXPECT_THAT(changed("data_offsets", json::array{0, std::int64_t{1} << 60}), HasSubstr("truncated"));
  EXPECT_THAT(changed("data_offsets", json::array{0, 16384}), HasSubstr("overlaps"));
  json::object missing = good;
  missing.erase(name);
  EXPECT_THAT(error_with_header(missing),
              AllOf(HasSubstr(name), HasSubstr("missing"), HasSubstr("[64, 64]")));
  json::object flat = good;
  flat[name] = 1;
  EXPECT_THAT(error_with_header(flat), HasSubstr(name));
}

TEST_F(DamagedCheckpoint, RandomlyFlippedHeaderBytes) {
  std::mt19937 random(7);
  const std::size_t header_end = 8 + header().size();
  int refused = 0;
  for (int trial = 0; trial < 300; ++trial) {
    std::string broken = weights_;
    for (int flips = 1 + static_cast<int>(random() % 3); flips > 0; --flips) {
      broken[random() % header_end] ^= static_cast<char>(1 + random() % 255);
    }
    write(folder_ / "model.safetensors", broken);
    try {
      load();
    } catch (const InputError& error) {
      ++refused;
      EXPECT_THAT(error.what(), HasSubstr(folder_.string()));
    }
  }
  EXPECT_GT(refused, 200);
}

TEST_F(DamagedCheckpoint, BadConfigurations) {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    EXPECT_THAT(error_with(key, nullptr),
                AllOf(HasSubstr(key), HasSubstr("config.json"), HasSubstr("nothing")));
    EXPECT_THAT(error_with(key, 0), HasSubstr(key));
    EXPECT_THAT(error_with(key, -1), HasSubstr(key));
    EXPECT_THAT(error_with(key, "64"), HasSubstr(key));
    EXPECT_THAT(error_with(key, 1.5), HasSubstr(key));
    EXPECT_THAT(error_with(key, std::int64_t{1} << 62), HasSubstr(key));
  }
  EXPECT_THAT(error_with("model_type", "gpt2"), AllOf(HasSubstr("model_type"), HasSubstr("gpt2")));
  EXPECT_THAT(error_with("hidden_act", "gelu"), HasSubstr("hidden_act"));
  EXPECT_THAT(error_with("attention_bias", true), HasSubstr("attention_bias"));
  EXPECT_THAT(error_with("num_key_value_heads", 3), HasSubstr("num_key_value_heads"));
  EXPECT_THAT(error_with("head_dim", 15), HasSubstr("head_dim"));
  EXPECT_THAT(error_with("rms_norm_eps", -1), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(error_with("rope_theta", 0), HasSubstr("rope_theta"));
  EXPECT_THAT(error_with("rope_scaling", {{"type", "yarn"}, {"factor", 2}}), HasSubstr("yarn"));
  EXPECT_THAT(error_with("rope_scaling", {{"type", "linear"}}), HasSubstr("factor"));
  EXPECT_THAT(error_with("bos_token_id", 97), HasSubstr("bos_token_id"));
  EXPECT_THAT(error_with("eos_token_id", json::array{1, -2}), HasSubstr("eos_token_id"));
  EXPECT_THAT(error_with("tie_word_embeddings", "no"), HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(error_with("hidden_size", 128), AllOf(HasSubstr("tensor"), HasSubstr("expected [97, 128]")));
  for (const char* types : {"0_9", "a_b", "0_1", "", "0_4_4_4_4_5_", "0_4_4_4_4_-1", "0_4_4_4_4_6",
                            "0_4_4_4_4_5x", "0__4_4_4_5", "_0_4_4_4_4_5"}) {
    EXPECT_THAT(error_with("layer_types", types), HasSubstr("layer_types")) << types;
  }
  EXPECT_THAT(error_with("layer_types", json::array{0, 1}), HasSubstr("layer_types"));
  write(folder_ / "config.json", "{");
  EXPECT_THAT(error(), HasSubstr("config.json"));
  write(folder_ / "config.json", "");
  EXPECT_THAT(error(), HasSubstr("config.json"));
  fs::remove(folder_ / "config.json");
  EXPECT_THAT(error(), HasSubstr("config.json"));
}

TEST_F(DamagedCheckpoint, FilesThatAreNotThere) {
  fs::remove(folder_ / "model.safetensors");
  EXPECT_THAT(error(), HasSubstr("model.safetensors"));
  write(folder_ / "pytorch_model.bin", "x");
  EXPECT_THAT(error(), HasSubstr("safe_serialization"));
  write(folder_ / "model.safetensors.index.json", "{}");
  EXPECT_THAT(error(), HasSubstr("weight_map"));
  write(folder_ / "model.safetensors.index.json", R"({"weight_map": {"a": "../x.safetensors"}})");
  EXPECT_THAT(error(), HasSubstr("same folder"));
  write(folder_ / "model.safetensors.index.json", R"({"weight_map": {"a": "one.safetensors"}})");
  EXPECT_THAT(error(), HasSubstr("one.safetensors"));
  write(folder_ / "one.safetensors", weights_);
  EXPECT_THAT(error(), AllOf(HasSubstr("tensor a"), HasSubstr("missing")));
  folder_ /= "no-such-folder";
  EXPECT_THAT(error(), HasSubstr("not a folder"));
  folder_ = folder_.parent_path();
}

TEST_F(DamagedCheckpoint, ShardsLoadLikeOneFile) {
  fs::rename(folder_ / "model.safetensors", folder_ / "model-00001-of-00001.safetensors");
  const json::object good = json::parse(header()).as_object();
  json::object weight_map;
  for (const auto& [name, entry] : good) {
    if (name != "__metadata__") weight_map[name] = "model-00001-of-00001.safetensors";
  }
  write(folder_ / "model.safetensors.index.json", json::serialize(json::object{{"weight_map", weight_map}}));
  EXPECT_EQ(load()->plan.n_owners(), 3);
}

TEST_F(DamagedCheckpoint, BrokenTokenizer) {
  const std::string tokenizer = read(fs::path(CONDENSED_MODELS_DIR) / "books-1m/tokenizer.model");
  for (const std::size_t size : {0, 1, 10, 1000, 7777}) {
    write(folder_ / "tokenizer.model", tokenizer.substr(0, size));
    EXPECT_THAT(error(), HasSubstr("tokenizer.model")) << size;
  }
  write(folder_ / "tokenizer.model", tokenizer);  // whole, but for a larger vocabulary
  EXPECT_THAT(error(), AllOf(HasSubstr("1024 pieces"), HasSubstr("97")));
}

}  // namespace
}  // namespace condensed::engine
