// SPDX-License-Identifier: MIT
//
// fz_config.cpp - the configuration's check beside a table of ranges.
#include "fuzz/container_target.hpp"

GVT_FUZZ_CONTAINER(gvt::model::ConfigRig)
