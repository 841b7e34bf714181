# SPDX-License-Identifier: MIT
#
# Run by ctest before it runs anything: one test for each suite of a GoogleTest program. For builds
# where starting a process is dear; elsewhere each test is a ctest of its own.
#   GVT_PROGRAM   the program
#   GVT_PROPERTIES   what set_tests_properties takes
execute_process(COMMAND ${GVT_PROGRAM} --gtest_list_tests OUTPUT_VARIABLE text RESULT_VARIABLE code)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "${GVT_PROGRAM} --gtest_list_tests: ${code}")
endif()
# A suite's line begins in the first column, its name ends with a point, a comment may follow.
string(REGEX MATCHALL "\n[^ \n]+\\.[ \n]" suites "\n${text}")
foreach(suite IN LISTS suites)
  string(STRIP "${suite}" suite)
  string(REGEX REPLACE "\\.$" "" name "${suite}")
  add_test(${name} ${GVT_PROGRAM} "--gtest_filter=${suite}*")
  set_tests_properties(${name} PROPERTIES ${GVT_PROPERTIES})
endforeach()
