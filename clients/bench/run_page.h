#pragma once

#include <boost/json.hpp>

namespace condensed::bench {

/// The page of a run (report/html_page.h) from its report. What a report lacks, the page leaves out.
boost::json::object run_page(const boost::json::object& report);

/// The settings of both sides, flat: [["client window", 252], ...].
boost::json::array flat_settings(const boost::json::object& report);

}  // namespace condensed::bench
