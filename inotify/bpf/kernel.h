/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * The kernel structures and fields that the programs read, and no others. The
 * loader finds the offset of each field in the running kernel's BTF.
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

enum { BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_LRU_HASH = 9, BPF_MAP_TYPE_RINGBUF = 27, BPF_F_MMAPABLE = 1024 };
enum { CLOCK_MONOTONIC = 1 };
enum { BPF_RB_FORCE_WAKEUP = 2 };

struct bpf_timer {
	__u64 __opaque[2];
} __attribute__((aligned(8)));

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

struct ucounts;

struct user_namespace {
	int level;
	struct ns_common ns;
	struct ucounts *ucounts; /* the account that its creation was charged to */
	long ucount_max[UCOUNT_COUNTS];
};

/*
 * The entry begins with an hlist_node before Linux 6.15 and with an
 * hlist_nulls_node since. In both, next is the first word and pprev the second.
 */
struct ucounts {
	struct user_namespace *ns;
	kuid_t uid;
	atomic_long_t ucount[UCOUNT_COUNTS];
};

struct cred {
	kuid_t euid;
	struct user_namespace *user_ns;
	struct ucounts *ucounts;
};

struct qstr {
	const unsigned char *name;
};

struct inode;

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct path {
	struct dentry *dentry;
};

struct super_block {
	unsigned int s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
};

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	unsigned int i_rdev;
	__s64 i_size;
	__s64 i_atime_sec;
	__u32 i_atime_nsec;
	void *i_fsnotify_marks;
};

struct inode___before_6_11 {
	struct timespec64 __i_atime;
};

struct inode___before_6_7 {
	struct timespec64 i_atime;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	__s64 f_pos;
	unsigned int f_flags;
	const struct file_operations *f_op;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
	unsigned long *open_fds;
};

struct files_struct {
	struct fdtable *fdt;
};

struct xa_node {
	unsigned char shift;
	unsigned char offset;
	unsigned char count;
	void *slots[64];
};

struct xarray {
	void *xa_head;
};

struct idr {
	struct xarray idr_rt;
	unsigned int idr_next;
};

struct inotify_group_private_data {
	struct idr idr;
	struct ucounts *ucounts;
};

struct list_head {
	struct list_head *next;
};

struct fsnotify_mark_connector {
	void *obj;
};

struct fsnotify_mark {
	struct list_head g_list;
	struct fsnotify_mark_connector *connector;
};

/* Since Linux 6.10. The connector of a mark has pointed to its inode since then, and
 * to a field of the inode before. */
struct fsnotify_sb_info {
	void *sb_marks;
};

struct fsnotify_group {
	unsigned int q_len;
	unsigned int max_events;
	struct list_head marks_list;
	struct inotify_group_private_data inotify_data;
};

struct kernfs_node {
	struct kernfs_node *__parent;
	const char *name;
	__u64 id;
};

struct kernfs_node___before_6_15 {
	struct kernfs_node *parent;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

enum cgroup_subsys_id {
	memory_cgrp_id = 4,
	CGROUP_SUBSYS_COUNT = 12,
};

struct css_set {
	struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
	struct cgroup *dfl_cgrp;
};

struct rlimit {
	unsigned long rlim_cur;
	unsigned long rlim_max;
};

struct signal_struct {
	void *tty;
	struct rlimit rlim[16];
};

struct task_struct {
	unsigned int flags;
	int pid;
	int tgid;
	struct task_struct *group_leader;
	__u64 start_boottime;
	const struct cred *real_cred;
	const struct cred *cred;
	char comm[16];
	struct files_struct *files;
	struct signal_struct *signal;
	struct css_set *cgroups;
};

/* The registers at the entry of a system call, or at the return of a function. */
struct pt_regs___x86 {
	unsigned long di;
	unsigned long ax;
};

struct pt_regs___arm64 {
	__u64 regs[31];
	__u64 orig_x0;
};

struct bpf_iter_meta {
	__u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop
