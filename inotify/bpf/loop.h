/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * loop(n, f, context) calls f(i, context) for each i below n until it returns 1.
 * That is bpf_loop(), since Linux 5.17. Before it, the elements of a map are
 * gone through instead (5.13), whatever n is: f has to know where to end. EACH(f,
 * type of *context) is needed for that.
 */
#pragma once

/* Set by the caller before it is loaded, by what the kernel has. */
const volatile __u8 no_bpf_loop;

/* Of one element where there is bpf_loop(). */
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
