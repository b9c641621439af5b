/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
#pragma once

/*
 * Reads one counter of an account, or one limit of a user namespace. Both are
 * arrays of longs, which have 64 bits on every platform that this runs on.
 */
static __s64 counter(const void *array, __u64 type)
{
	__s64 v = 0;
	bpf_probe_read_kernel(&v, sizeof(v), (const __s64 *)array + type);
	return v;
}
