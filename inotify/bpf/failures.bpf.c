//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Counts the calls of inotify_init1(2) and inotify_add_watch(2) that fail, by
 * process and by the limit that was reached. The first failure after each read
 * records the details of the process. Each further failure only adds one to the
 * count, however many there are a second.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "loop.h"
#include "accounts.h"

#define READ(type, at, field)              \
	({                                 \
		type *at_ = (void *)(at);  \
		BPF_CORE_READ(at_, field); \
	})
#include "cgroup.h"

/* GPL compatible, which bpf_probe_read_kernel() requires. */
char _license[] SEC("license") = "Dual BSD/GPL";

#define MAX_FAILURES 512  /* between two reads; the one that failed longest ago is dropped */
#define LEVELS 33 /* of user namespaces, create_user_ns() in kernel/user_namespace.c */
#define NAMES 8	  /* of a cgroup's path */
#define NAME 96
#define FD_WORDS (1 << 14) /* 1,048,576 descriptors, the default of fs.nr_open */
#define RLIMIT_NOFILE 7

#define ENOMEM 12
#define ENFILE 23
#define EMFILE 24
#define ENOSPC 28

enum call { INIT, ADD_WATCH };
enum resource { NONE, INSTANCES, WATCHES, NOFILE, OPEN_FILES, MEMORY };

/* Input: the address of the table of accounts. */
const volatile __u64 table;

struct failure_key {
	__u32 tgid;
	__u32 call;
	__u32 error;
	__u32 resource;
};

struct failure {
	__u64 count;
	__u64 at; /* CLOCK_MONOTONIC */
	__u32 uid; /* effective */
	/* The account, or the other resource, that was at its limit. */
	__u32 userns;
	__u32 owner;
	__u32 level;
	__s64 used;
	__s64 limit; /* 0 where it is unknown */
	__u32 names; /* of the cgroup, the innermost first; 0 where it is unknown */
	char comm[16];
	char cgroup[NAMES][NAME];
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FAILURES);
	__type(key, struct failure_key);
	__type(value, struct failure);
} failures SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct failure);
} scratch SEC(".maps");

/* struct trace_event_raw_sys_exit, unchanged since Linux 2.6.32. */
struct sys_exit {
	__u64 common;
	__s64 id;
	__s64 ret;
};

/*
 * Finds the innermost account at its limit, in the order of inc_ucount(). Where
 * none is at its limit any more, it reports the outermost. u is the account of uid
 * in ns, or 0: the kernel frees an account whose first charge failed further out.
 */
static __attribute__((noinline)) int find_full_account(struct failure *r, struct user_namespace *ns, struct ucounts *u, __u32 uid, __u64 type)
{
	for (int i = 0; i < LEVELS; i++) {
		r->level = BPF_CORE_READ(ns, level);
		r->owner = uid;
		r->userns = BPF_CORE_READ(ns, ns.inum);
		r->used = u ? counter(&u->ucount, type) : 0;
		r->limit = counter(&ns->ucount_max, type);
		if (r->used >= r->limit)
			return 1;
		if (!r->level)
			return 0;
		u = BPF_CORE_READ(ns, ucounts);
		ns = BPF_CORE_READ(u, ns);
		uid = BPF_CORE_READ(u, uid.val);
	}
	return 0;
}

/* The account that the kernel charges for an instance of this task. */
static int find_full_instances(struct task_struct *task, struct failure *r)
{
	struct user_namespace *ns = BPF_CORE_READ(task, cred, user_ns);
	__u32 uid = BPF_CORE_READ(task, cred, euid.val);

	return find_full_account(r, ns, find_account(table, ns, uid), uid,
				 bpf_core_enum_value(enum ucount_type, UCOUNT_INOTIFY_INSTANCES));
}

struct words {
	unsigned long *at;
	__u32 count;
	__u32 full;
};

static long count_full(__u32 i, struct words *w)
{
	__u64 v = 0;

	if (i >= w->count)
		return 1;
	bpf_probe_read_kernel(&v, sizeof(v), w->at + i);
	if (v != ~0ULL) {
		for (int bit = 0; bit < 64 && v & 1; bit++) {
			v >>= 1;
			w->full++;
		}
		return 1;
	}
	w->full += 64;
	return 0;
}
EACH(count_full, struct words)

/* Reports whether the lowest free descriptor is past the soft limit. */
static int nofile_reached(struct task_struct *task, struct failure *r)
{
	struct words w = {};

	w.at = BPF_CORE_READ(task, files, fdt, open_fds);
	w.count = BPF_CORE_READ(task, files, fdt, max_fds) / 64;
	loop(FD_WORDS, count_full, &w);
	r->used = w.full;
	r->limit = BPF_CORE_READ(task, signal, rlim[RLIMIT_NOFILE].rlim_cur);
	r->owner = r->userns = r->level = 0;
	return r->used >= r->limit;
}

/* The account that a watch is charged to: that of the process which created the
 * instance. */
static int find_full_watches(struct task_struct *task, struct failure *r)
{
	void *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct file **fds, *file = 0;
	struct fsnotify_group *group;
	struct ucounts *u;
	__u64 fd = ~0ULL;

	if (bpf_core_field_exists(struct pt_regs___x86, di))
		fd = BPF_CORE_READ((struct pt_regs___x86 *)regs, di);
	else if (bpf_core_field_exists(struct pt_regs___arm64, orig_x0))
		fd = BPF_CORE_READ((struct pt_regs___arm64 *)regs, orig_x0);
	fd = (__u32)fd;
	if (fd >= BPF_CORE_READ(task, files, fdt, max_fds))
		return 0;
	fds = BPF_CORE_READ(task, files, fdt, fd);
	bpf_probe_read_kernel(&file, sizeof(file), fds + fd);
	group = BPF_CORE_READ(file, private_data);
	u = BPF_CORE_READ(group, inotify_data.ucounts);
	if (!u)
		return 0;
	return find_full_account(r, BPF_CORE_READ(u, ns), u, BPF_CORE_READ(u, uid.val),
				 bpf_core_enum_value(enum ucount_type, UCOUNT_INOTIFY_WATCHES));
}

static void read_cgroup(struct task_struct *task, struct failure *r)
{
	struct kernfs_node *node = cgroup_of(task), *parent;

	r->names = 0;
	for (__u32 i = 0; i < NAMES; i++) {
		parent = parent_of(node);
		if (!parent) {
			r->names = i;
			return;
		}
		bpf_probe_read_kernel_str(r->cgroup[i], NAME, BPF_CORE_READ(node, name));
		node = parent;
	}
}

static __always_inline int record_failure(__s64 ret, __u32 call)
{
	struct task_struct *task, *leader;
	struct failure_key key = {.call = call, .error = -ret};
	struct failure *r;
	__u32 zero = 0;

	if (ret >= 0)
		return 0;
	task = (void *)bpf_get_current_task();
	r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r)
		return 0;
	key.tgid = BPF_CORE_READ(task, tgid);
	r->used = r->limit = 0;
	r->owner = r->userns = r->level = 0;
	switch (key.error) {
	case EMFILE: /* the kernel checks the account before the descriptor table */
		key.resource = INSTANCES;
		if (find_full_instances(task, r))
			break;
		if (nofile_reached(task, r))
			key.resource = NOFILE;
		else
			find_full_instances(task, r);
		break;
	case ENOSPC:
		key.resource = WATCHES;
		find_full_watches(task, r);
		break;
	case ENFILE:
		key.resource = OPEN_FILES;
		break;
	case ENOMEM:
		key.resource = MEMORY;
		break;
	}
	struct failure *known = bpf_map_lookup_elem(&failures, &key);
	if (known) {
		__sync_fetch_and_add(&known->count, 1);
		known->at = bpf_ktime_get_ns();
		return 0;
	}
	r->count = 1;
	r->at = bpf_ktime_get_ns();
	r->uid = BPF_CORE_READ(task, cred, euid.val);
	leader = BPF_CORE_READ(task, group_leader);
	BPF_CORE_READ_STR_INTO(&r->comm, leader, comm);
	read_cgroup(task, r);
	bpf_map_update_elem(&failures, &key, r, 0);
	return 0;
}

/*
 * Three ways to see the result of a call. The loader uses the first one that the
 * kernel has. The first two run at the end of the functions of these calls alone.
 * The loader sets the names of the functions, which differ between platforms.
 */

/* The context has the only argument, the registers, and then the result. */
SEC("fexit/inotify_init1")
int init_fexit(__u64 *ctx)
{
	return record_failure(ctx[1], INIT);
}

SEC("fexit/inotify_init")
int old_init_fexit(__u64 *ctx)
{
	return record_failure(ctx[1], INIT);
}

SEC("fexit/inotify_add_watch")
int add_watch_fexit(__u64 *ctx)
{
	return record_failure(ctx[1], ADD_WATCH);
}

/* The result of a function in the registers at its return. */
static __s64 result(void *regs)
{
	if (bpf_core_field_exists(struct pt_regs___x86, ax))
		return BPF_CORE_READ((struct pt_regs___x86 *)regs, ax);
	if (bpf_core_field_exists(struct pt_regs___arm64, regs))
		return BPF_CORE_READ((struct pt_regs___arm64 *)regs, regs[0]);
	return 0;
}

SEC("kretprobe/inotify_init1")
int init_return(void *ctx)
{
	return record_failure(result(ctx), INIT);
}

SEC("kretprobe/inotify_add_watch")
int add_watch_return(void *ctx)
{
	return record_failure(result(ctx), ADD_WATCH);
}

SEC("tp/syscalls/sys_exit_inotify_init1")
int init_exit(struct sys_exit *ctx)
{
	return record_failure(ctx->ret, INIT);
}

SEC("tp/syscalls/sys_exit_inotify_add_watch")
int add_watch_exit(struct sys_exit *ctx)
{
	return record_failure(ctx->ret, ADD_WATCH);
}
