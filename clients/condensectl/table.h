#pragma once

#include <string>
#include <vector>

namespace condensed::ctl {

/// Columns as wide as their longest entry, the first one to the left. One line for each of at least one row.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace condensed::ctl
