#include "clients/condensectl/table.h"

#include <algorithm>

namespace condensed::ctl {

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      const std::string padding(widths[column] - row[column].size(), ' ');
      out += column == 0 ? row[column] + padding : "  " + padding + row[column];
    }
    out += "\n";
  }
  return out;
}

}  // namespace condensed::ctl
