#pragma once

#include <CLI/CLI.hpp>

#include "eval/commands.h"

namespace condensed::eval {

/// Each adds its command with its flags, and what they fill in.
CLI::App* add_logits(CLI::App& app, LogitsOptions& options);
CLI::App* add_perplexity(CLI::App& app, PerplexityOptions& options);
CLI::App* add_throughput(CLI::App& app, ThroughputOptions& options);
CLI::App* add_recall(CLI::App& app, RecallOptions& options);
CLI::App* add_paper(CLI::App& app, PaperOptions& options);

}  // namespace condensed::eval
