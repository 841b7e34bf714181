// SPDX-License-Identifier: MIT
//
// fz_ring.cpp - every ready queue beside deques, an operation interrupted by another worker
// included.
#include "fuzz/container_target.hpp"

GVT_FUZZ_CONTAINER(gvt::model::QueueRig)
