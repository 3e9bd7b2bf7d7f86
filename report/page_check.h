#pragma once

#include <boost/json.hpp>

namespace condensed::report {

/// Throws std::invalid_argument unless this is what html_page() takes, naming the place and what should stand
/// there.
void check_page(const boost::json::object& page);

}  // namespace condensed::report
