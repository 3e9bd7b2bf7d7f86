#pragma once

#include <boost/json.hpp>

#include "eval/commands.h"

namespace condensed::eval {

/// Prints the tables unless JSON takes its place, and writes the page.
void show_paper(const PaperOptions& options, const boost::json::object& report);

}  // namespace condensed::eval
