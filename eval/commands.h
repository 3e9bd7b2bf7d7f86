#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "engine/model.h"
#include "engine/prompt_options.h"
#include "eval/text_scores.h"

namespace condensed::eval {

/// What the commands share.
struct RunOptions {
  std::filesystem::path model;
  std::string device = "auto";
  std::string kernels = "auto";
  int threads = 0;
  std::string weights = "stored";
  std::string cache_dtype = "f32";
  std::optional<std::int64_t> sinks;
  std::optional<std::int64_t> window;
  std::string prefill = "serial";
  std::int64_t prompt_chunk_tokens = 32;
  double prompt_tolerance = 1e-4;

  /// A model that `make` makes with the backend that is asked for (make_model_on()).
  using MakeModel = std::function<std::shared_ptr<engine::Model>(std::unique_ptr<kernels::Backend>)>;
  /// Throw engine::InputError, std::invalid_argument for kernels this processor cannot run, and
  /// kernels::DeviceError for a device that is not there.
  std::shared_ptr<engine::Model> make(const MakeModel& make) const;
  std::shared_ptr<engine::Model> load() const;
  engine::PromptOptions prompt() const;
  kernels::DType cache() const;
};

/// Where a report goes, beside the table on stdout.
struct ReportOutputs {
  std::optional<std::filesystem::path> json;  // empty: to stdout, instead of the table
  std::optional<std::filesystem::path> html;

  bool table() const { return !json || !json->empty(); }
};

struct LogitsOptions {
  RunOptions run;
  std::filesystem::path tokens;
  std::filesystem::path output;
  std::int64_t skip = 0;
};

struct PerplexityOptions {
  RunOptions run;
  std::filesystem::path text;
  std::vector<std::int64_t> sinks = {4};  // instead of run.sinks; several: all of them, one cache size
  std::string cache = "sinks";
  std::vector<std::string> compare;  // kinds of caches to score side by side
  bool bos = true;
  std::int64_t max_tokens = 0;        // 0: the whole text
  std::int64_t dense_tokens = 16384;  // of those, what a cache that never evicts reads; 0: all
  std::int64_t every = 0;             // 0: an eighth of the stream, of a comparison a fortieth
  Segments segments;
  ReportOutputs outputs;  // of a comparison

  bool compares() const { return !compare.empty() || sinks.size() > 1; }
};

struct RecallOptions {
  RunOptions run;
  std::filesystem::path text;           // what surrounds a fact; empty: random tokens
  std::vector<std::int64_t> distances;  // empty: chosen around the window
  std::int64_t trials = 50;
  std::int64_t key_tokens = 4;
  std::int64_t value_tokens = 4;
  std::uint64_t seed = 1;
  ReportOutputs outputs;
};

struct PaperOptions {
  RunOptions run;
  std::vector<std::string> shapes = {"tinyllama=1GiB", "llama-7b=8GiB"};
  std::vector<std::string> layer_types = {"plain", "w=2", "w=10"};
  std::string lengths = "5+2043";                                        // prompt and generated tokens
  std::vector<std::int64_t> cache_sizes = {256, 512, 1024, 2048, 4096};  // sinks and window
  std::int64_t steps = 4;          // timed at each of three fill levels of the largest batch
  std::int64_t stream_steps = 12;  // timed at each cache size
  ReportOutputs outputs;
};

struct ThroughputOptions {
  RunOptions run;
  std::string random;       // a shape, instead of run.model
  std::string layer_types;  // of a random model
  std::int64_t batch = 1;
  std::int64_t prompt_tokens = 0;
  std::int64_t tokens = 64;  // decoded by each stream
  std::int64_t skip = 0;     // positions to move on by before decoding
  bool fill = false;
  bool sweep = false;
  bool json = false;
};

inline constexpr std::int64_t kDefaultSinks = 4;
inline constexpr std::int64_t kDefaultWindow = 1020;

/// Runs the command and returns its report. Throws InputError and std::invalid_argument for what cannot be
/// used.
boost::json::object run_logits(const LogitsOptions& options);
/// Its report goes to stdout as JSON; that of a comparison where options.outputs say.
void run_perplexity(const PerplexityOptions& options);
/// Their reports go where options.outputs say.
void run_recall(const RecallOptions& options);
void run_paper(const PaperOptions& options);
/// Prints a table as it measures, unless options.json.
boost::json::object run_throughput(const ThroughputOptions& options);

}  // namespace condensed::eval
