#pragma once

#include <string_view>

namespace condensed::report {

/// What every page contains, as it was when the library was built. All of it lives as long as the program.
std::string_view d3_source();
std::string_view licence_notice();  // of d3; holds no "--"
std::string_view style_sheet();
/// The page's own scripts, in the order in which they must run.
std::string_view format_script();
std::string_view axes_script();
std::string_view chart_script();
std::string_view readout_script();
std::string_view page_script();

}  // namespace condensed::report
