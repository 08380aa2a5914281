# Writes LIST, what ctest reads of the GoogleTest PROGRAM: an entry PREFIX.SUITE per suite, as to start a
# program with libtorch takes longer than most tests, or PREFIX.SUITE.TEST per test of the suites EACH,
# which take long or measure their process. Called when PROGRAM is linked (CMakeLists.txt). An entry has the
# PROPERTIES, names and values in turn; writes what became of each test to REPORTS/ENTRY.xml, for
# tests/summary; and fails if it runs none, which ctest would call a success.
cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND ${PROGRAM} --gtest_list_tests OUTPUT_VARIABLE listed TIMEOUT 60
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "#[^\n]*" "" listed "${listed}")  # types and values of parameters
string(REGEX MATCHALL "[^\n]+" lines "${listed}")

list(JOIN PROPERTIES "\" \"" properties)
set(entries "")
macro(add_entry name filter)
  set(entry "${PREFIX}.${name}")
  string(APPEND entries
    "add_test(\"${entry}\" \"${PROGRAM}\" \"--gtest_filter=${filter}\" "
    "\"--gtest_output=xml:${REPORTS}/${entry}.xml\")\n"
    "set_tests_properties(\"${entry}\" PROPERTIES FAIL_REGULAR_EXPRESSION \"Running 0 tests\" "
    "\"${properties}\")\n")
endmacro()

set(unknown ${EACH})
foreach(line IN LISTS lines)
  if(line MATCHES "^([^ ]+)\\. *$")
    set(suite ${CMAKE_MATCH_1})
    if(suite IN_LIST EACH)
      list(REMOVE_ITEM unknown ${suite})
    else()
      add_entry(${suite} "${suite}.*")
    endif()
  elseif(line MATCHES "^  ([^ ]+) *$" AND suite IN_LIST EACH)
    add_entry(${suite}.${CMAKE_MATCH_1} ${suite}.${CMAKE_MATCH_1})
  endif()
endforeach()
if(unknown)
  message(FATAL_ERROR "${PROGRAM} has no suite ${unknown} to split")
elseif(NOT entries)
  message(FATAL_ERROR "${PROGRAM} lists no test:\n${listed}")
endif()
file(WRITE ${LIST} "${entries}")
