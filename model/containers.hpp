// SPDX-License-Identifier: MIT
//
// containers.hpp - core's containers beside their references, one rig per container: what a program
// means, what the answers must be, and which invariant a wrong answer breaks. Shared by
// tests/property/containers_properties_test.cpp and fuzz/fz_*.cpp. References are written from the
// contracts in core's file heads, not from its code. May include core/ and the hosted library.
#pragma once

#include "model/containers/config.hpp"
#include "model/containers/heap.hpp"
#include "model/containers/idle.hpp"
#include "model/containers/list.hpp"
#include "model/containers/park.hpp"
#include "model/containers/queue.hpp"
#include "model/containers/slots.hpp"
