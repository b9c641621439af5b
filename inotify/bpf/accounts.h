/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The accounts of inotify: ucounts_hashtable in kernel/ucount.c, which has one
 * entry for each uid in each user namespace.
 */
#pragma once

#define BUCKET_BITS 10 /* UCOUNTS_HASHTABLE_BITS */
#define BUCKETS (1 << BUCKET_BITS)
#define CHAIN 4096 /* entries in one bucket; about two are usual */

/* GOLDEN_RATIO_64 in linux/hash.h. */
const volatile __u64 golden_ratio = 0x61C8864680B583EBULL;

static void *word(const void *at)
{
	void *v = 0;
	bpf_probe_read_kernel(&v, sizeof(v), at);
	return v;
}

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

static __u32 bucket_of(__u64 ns, __u32 uid)
{
	return (__u32)(((ns + uid) * golden_ratio) >> (64 - BUCKET_BITS));
}

/* An hlist ends with NULL, an hlist_nulls with an odd value. */
static int is_end(const void *entry)
{
	return !entry || (__u64)entry & 1;
}

struct lookup {
	struct user_namespace *ns;
	struct ucounts *at;
	__u32 uid;
	__u32 found;
};

static long match_account(__u32 i, struct lookup *l)
{
	struct ucounts *u = l->at;

	if (is_end(u))
		return 1;
	if (BPF_CORE_READ(u, uid.val) == l->uid && BPF_CORE_READ(u, ns) == l->ns) {
		l->found = 1;
		return 1;
	}
	l->at = word(u);
	return 0;
}
EACH(match_account, struct lookup)

/*
 * Finds the account that the kernel charges for a uid in a user namespace, as
 * find_ucounts() does. It is the first match: the kernel has two entries for uid 0.
 * The ucounts of a task's credentials are no substitute. They are those of its real
 * uid, and inotify_init1(2) charges the effective uid.
 */
static struct ucounts *find_account(__u64 table, struct user_namespace *ns, __u32 uid)
{
	struct lookup l = {.ns = ns, .uid = uid};

	l.at = word((void **)table + bucket_of((__u64)ns, uid));
	loop(CHAIN, match_account, &l);
	return l.found ? l.at : 0;
}
