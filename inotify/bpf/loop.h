/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * loop(n, f, context) calls f(i, context) for each i below n until f returns 1.
 * It is bpf_loop(), which Linux 5.17 added. On older kernels it is
 * bpf_for_each_map_elem() (5.13) over a map of 2^17 elements, whatever n is, so f
 * must check the bound itself. EACH(f, type of *context) declares the callback
 * for that.
 */
#pragma once

/* Set before loading, where the kernel has no bpf_loop(). */
const volatile __u8 no_bpf_loop;

/* Has one element where the kernel has bpf_loop(). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 17);
	__type(key, __u32);
	__type(value, __u32);
} steps SEC(".maps");

#define EACH(f, type)                                                             \
	static long f##_each(void *map, __u32 *step, __u32 *value, type *context) \
	{                                                                         \
		return f(*step, context);                                         \
	}

#define loop(n, f, context)                                                    \
	(no_bpf_loop ? bpf_for_each_map_elem(&steps, f##_each, context, 0) :   \
		       bpf_loop(n, f, context, 0))
