#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "cache/condensed_cache.h"
#include "engine/model.h"
#include "eval/commands.h"

namespace condensed::eval {

/// One kind of cache in a comparison.
struct ComparedCache {
  std::string name;            // for tables and plots
  std::string kind;            // as --compare names it
  cache::StreamWindow window;  // "dense": as long as its stream
};

/// What --compare and --sinks ask for, all of one size: the largest of the sinks and the window together.
/// n_dense: tokens that a cache that never evicts reads.
std::vector<ComparedCache> compared_caches(const PerplexityOptions& options, std::int64_t n_dense);

/// Throws InputError for a list that names something twice, and for a dense cache without a prediction.
void check_comparison(const PerplexityOptions& options);

/// Scores the text with every cache: `capacity`, `caches` with their scores along the stream, and how each
/// differs from the first on the tokens that both scored.
boost::json::object compare_caches(engine::Model& model, const PerplexityOptions& options,
                                   std::span<const std::int32_t> tokens);

/// Prints the table unless JSON takes its place, and writes the page.
void show_comparison(const PerplexityOptions& options, const boost::json::object& report);

}  // namespace condensed::eval
