/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * What is read of the kernel, and no more: the loader looks up where each
 * field is in the running kernel's BTF.
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u16 __sum16;

enum { BPF_MAP_TYPE_ARRAY = 2 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { __u32 val; } kuid_t;
typedef struct { long counter; } atomic_long_t;

struct ns_common {
	unsigned int inum;
};

enum ucount_type {
	UCOUNT_INOTIFY_INSTANCES = 8,
	UCOUNT_INOTIFY_WATCHES = 9,
	UCOUNT_COUNTS = 12,
};

struct user_namespace {
	int level;
	struct ns_common ns;
	long ucount_max[UCOUNT_COUNTS];
};

/*
 * It begins with an hlist_node before 6.15 and an hlist_nulls_node since: next
 * is the first word of both, pprev the second.
 */
struct ucounts {
	struct user_namespace *ns;
	kuid_t uid;
	atomic_long_t ucount[UCOUNT_COUNTS];
};

struct cred {
	struct ucounts *ucounts;
};

struct task_struct {
	const struct cred *cred;
};

#pragma clang attribute pop
