// SPDX-License-Identifier: MIT
//
// mutator.hpp - changes an input of the kernel's targets one section at a time: program, schedule
// or faults (the format is split_sections() in model/bytes.hpp). A plain byte mutator would move
// the border of two sections with every insertion, and so turn a schedule into a program. Linked
// into fz_sched, fz_fault and fz_audit.
#pragma once

#include <random>

#include "model/bytes.hpp"

namespace gvt::fuzz {

// Changes `size` bytes in place and returns the new size, at most `max`.
using ByteMutator = usize (*)(u8* data, usize size, usize max);

// One section, or the relation of two, is changed; the result is at most max_size bytes long and
// splits into the changed sections. `mutate` changes the bytes of one section.
usize mutate_sections(u8* data, usize size, usize max_size, u32 seed, ByteMutator mutate);

// Each section comes from one of the two parents. At most max_size bytes.
usize cross_sections(const u8* a, usize a_size, const u8* b, usize b_size, u8* out, usize max_size,
                     u32 seed);

}  // namespace gvt::fuzz
