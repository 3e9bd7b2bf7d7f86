#include "report/embedded.h"

// The assembler reads the files: a string literal of their size is more than compilers promise to take.
#define CONDENSED_EMBED(name, path)                 \
  asm(".pushsection .rodata\n"                      \
      "condensed_report_" #name ": .incbin \"" path \
      "\"\n"                                        \
      "condensed_report_" #name                     \
      "_end: .byte 0\n"                             \
      ".global condensed_report_" #name             \
      "\n"                                          \
      ".global condensed_report_" #name             \
      "_end\n"                                      \
      ".popsection\n");                             \
  extern "C" const char condensed_report_##name[];  \
  extern "C" const char condensed_report_##name##_end[]

CONDENSED_EMBED(d3, CONDENSED_D3);
CONDENSED_EMBED(notice, CONDENSED_PAGE "/notice.txt");
CONDENSED_EMBED(css, CONDENSED_PAGE "/page.css");
CONDENSED_EMBED(format, CONDENSED_PAGE "/format.js");
CONDENSED_EMBED(axes, CONDENSED_PAGE "/axes.js");
CONDENSED_EMBED(chart, CONDENSED_PAGE "/chart.js");
CONDENSED_EMBED(readout, CONDENSED_PAGE "/readout.js");
CONDENSED_EMBED(page, CONDENSED_PAGE "/page.js");

namespace condensed::report {

std::string_view d3_source() {
  return {condensed_report_d3, condensed_report_d3_end};
}

std::string_view licence_notice() {
  return {condensed_report_notice, condensed_report_notice_end};
}

std::string_view style_sheet() {
  return {condensed_report_css, condensed_report_css_end};
}

std::string_view format_script() {
  return {condensed_report_format, condensed_report_format_end};
}

std::string_view axes_script() {
  return {condensed_report_axes, condensed_report_axes_end};
}

std::string_view chart_script() {
  return {condensed_report_chart, condensed_report_chart_end};
}

std::string_view readout_script() {
  return {condensed_report_readout, condensed_report_readout_end};
}

std::string_view page_script() {
  return {condensed_report_page, condensed_report_page_end};
}

}  // namespace condensed::report
