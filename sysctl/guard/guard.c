//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Runs for every read and write of every file below /proc/sys, see
 * __cgroup_bpf_run_filter_sysctl() in kernel/bpf/cgroup.c. It records writes of
 * the keys that nodetune manages, and in the mode hold keeps a write below a
 * floor from taking effect. It always returns 1, which means allow: a writer
 * never gets an error from here, and what this program cannot read it leaves
 * unchanged.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define READ(type, at, field)              \
	({                                 \
		type *at_ = (void *)(at);  \
		BPF_CORE_READ(at_, field); \
	})
#include "cgroup.h"

/* Two licences, since bpf_probe_read_kernel() is for GPL programs only. */
char _license[] SEC("license") = "Dual BSD/GPL";

enum { BPF_MAP_TYPE_HASH = 1 };

#define ALLOW 1
#define KEYS 64
#define KEY_NAME 64
#define TEXT 64	 /* of a value; a number of 63 bits has at most 21 octal digits */
#define NAMES 8 /* of a cgroup's path, a power of two */
#define NAME 96
#define DEPTH 32
#define RECORDS 100 /* a second and key */
#define SECOND 1000000000ULL
#define UNKNOWN (-1)

struct bpf_spin_lock {
	__u32 val;
};

/* struct bpf_sysctl of include/uapi/linux/bpf.h. */
struct bpf_sysctl {
	__u32 write;
	__u32 file_pos;
};

/* By its path below /proc/sys, with NULs behind it. */
struct name {
	char path[KEY_NAME];
};

struct floor {
	__s64 value;
	__u32 key; /* its place in counts */
	__u32 length;
	char text[TEXT]; /* value, and newlines behind it */
	/* The file is one of each user namespace: only the initial one's counts. */
	__u8 per_user_namespace;
	/* It is kernel/sysctl_writes_strict, which has no floor. */
	__u8 writes_strict;
};

struct counts {
	struct bpf_spin_lock lock;
	__u32 recorded; /* in this second */
	__u64 second;	/* when it began */
	__u64 pending;	/* not recorded since the last record */
	__u64 lowered;
	__u64 raised;
	__u64 same;
	__u64 unread;
	__u64 held;
	__u64 suppressed;
};

struct write {
	__u64 at; /* CLOCK_MONOTONIC */
	__u64 cgroup_id;
	__s64 old;
	__s64 new;
	__s64 effective;
	__u64 suppressed;
	__u32 key;
	__u32 tid;
	__u32 tgid;
	__u32 uid;
	__u32 held;
	__u32 depth; /* of the cgroup; DEPTH + 1 where its path is not known */
	char comm[16];
	char cgroup[NAMES][NAME];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, KEYS + 1);
	__type(key, struct name);
	__type(value, struct floor);
} floors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KEYS);
	__type(key, __u32);
	__type(value, struct counts);
} counts SEC(".maps");

/* Processes whose writes are not held, by their pid in the initial namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u8);
} allowed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18); /* 256 records */
} writes SEC(".maps");

volatile __u8 hold;
/* The kernel ignores a write at an offset other than 0 (sysctl_writes_strict). */
volatile __u8 strict;
/* The offset at which nodetune reads and writes to try the kernel, and its pid. */
volatile __u32 token;
volatile __u32 self;
/*
 * The kernel heeds bpf_sysctl_set_new_value(): 6.12 does, and 6.1 takes the
 * value and ignores it.
 */
volatile __u8 replaces;

const struct write *write_type __attribute__((unused)); /* keeps it in BTF */

static long (*sysctl_get_name)(struct bpf_sysctl *ctx, char *buf, unsigned long buf_len, __u64 flags) = (void *)101;
static long (*sysctl_get_current_value)(struct bpf_sysctl *ctx, char *buf, unsigned long buf_len) = (void *)102;
static long (*sysctl_get_new_value)(struct bpf_sysctl *ctx, char *buf, unsigned long buf_len) = (void *)103;
static long (*sysctl_set_new_value)(struct bpf_sysctl *ctx, const char *buf, unsigned long buf_len) = (void *)104;

/*
 * The character at a place below TEXT, which is a multiple of 8: without
 * CAP_PERFMON nothing unknown may be added to a pointer into the stack.
 */
static __always_inline __u8 at(const __u64 *text, __u32 place)
{
	__u64 word = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < TEXT / 8; i++) {
		__u64 one = text[i];

		asm volatile("" : "+r"(one)); /* or the compiler picks an address */
		if (place / 8 == i)
			word = one;
	}
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return word >> place % 8 * 8;
#else
	return word >> (56 - place % 8 * 8);
#endif
}

/*
 * The first number of a text as proc_get_long() reads it, in kernel/sysctl.c:
 * blanks before it, 0x for 16 and 0 for 8 as its base, and a blank or the end
 * behind it. UNKNOWN where that refuses it, where it is negative, and where it
 * is past 2^63-1. length is below 0 where the text was cut off; NULs are behind
 * it.
 */
static __always_inline __s64 number(const __u64 *text, long length)
{
	unsigned long value = 0;
	long used = bpf_strtoul((const char *)text, TEXT, 0, &value);

	if (used <= 0 || used >= TEXT || (__s64)value < 0)
		return UNKNOWN;
	switch (at(text, used)) {
	case ' ':
	case '\t':
	case '\n':
		return value;
	case 0:
		return used == length ? (__s64)value : UNKNOWN;
	}
	return UNKNOWN;
}

/*
 * The outermost names of the cgroup's path, the last of which is in the slot
 * before depth. A pod is among them, however deep its containers nest cgroups.
 */
static __always_inline void belongs(struct task_struct *task, struct write *w)
{
	struct kernfs_node *node = cgroup_of(task), *parent;

	for (__u32 i = 0; i <= DEPTH; i++) {
		parent = parent_of(node);
		if (!parent) {
			w->depth = i;
			return;
		}
		bpf_probe_read_kernel_str(w->cgroup[i & (NAMES - 1)], NAME, BPF_CORE_READ(node, name));
		node = parent;
	}
}

/* How much is known of the writer. */
enum way {
	TASK,	/* what its task_struct says: CAP_PERFMON and BTF */
	COMM,	/* bpf_get_current_comm(): CAP_PERFMON since 6.16 */
	NUMBERS /* only numbers */
};

/* What takes effect: new, or something else where the write is held. */
static __always_inline __s64 keep(struct bpf_sysctl *ctx, struct floor *f, long length, __s64 old, __s64 new)
{
	/*
	 * write(2) returns the length of the text that took effect, and a writer that
	 * gets more than it wrote may take it for an error (Go panics). So the floor
	 * has to fit into the writer's text, with blanks behind it.
	 */
	if (replaces && length > 0 && length < TEXT && length >= f->length) {
		__u64 room = length;

		/* The compiler is to forget these bounds, and the verifier to see them. */
		asm volatile("" : "+r"(room));
		room = ((room - 1) & (TEXT - 1)) + 1;
		if (!sysctl_set_new_value(ctx, f->text, room))
			return f->value;
		return new;
	}
	/* Where it does not, the write is one at another offset, which has no effect. */
	if (strict && (old >= f->value || old > new)) {
		ctx->file_pos = 1;
		return old;
	}
	return new;
}

/* Counts a write, and returns whether it is to be recorded. */
static __always_inline int count(struct counts *c, __s64 old, __s64 new, int held, __u64 now, __u64 *suppressed)
{
	int due, unread = new == UNKNOWN || old == UNKNOWN;

	/* One counter after the other, since no number may select one, see at(). */
	bpf_spin_lock(&c->lock);
	c->unread += unread;
	c->lowered += !unread && new < old;
	c->raised += !unread && new > old;
	c->same += new == old && !unread;
	c->held += held;
	if (now - c->second >= SECOND) {
		c->second = now;
		c->recorded = 0;
	}
	due = c->recorded < RECORDS;
	if (due) {
		c->recorded++;
		*suppressed = c->pending;
		c->pending = 0;
	} else {
		c->pending++;
		c->suppressed++;
	}
	bpf_spin_unlock(&c->lock);
	return due;
}

static __always_inline int run(struct bpf_sysctl *ctx, enum way way)
{
	struct task_struct *task = 0;
	struct name name = {};
	__u64 text[TEXT / 8] = {};
	__u64 ids = 0, suppressed = 0;
	__u32 tgid, key;
	__s64 old, new, effective;
	long length;

	if (!ctx->write) {
		if (token && ctx->file_pos == token)
			self = way == TASK ? READ(struct task_struct, bpf_get_current_task(), tgid) : bpf_get_current_pid_tgid() >> 32;
		return ALLOW;
	}
	if (token && ctx->file_pos == token) {
		/* It has no effect at an offset, but write(2) returns the new length. */
		sysctl_set_new_value(ctx, "x", 1);
		return ALLOW;
	}
	if (ctx->file_pos || sysctl_get_name(ctx, name.path, sizeof(name.path), 0) < 0)
		return ALLOW;
	struct floor *f = bpf_map_lookup_elem(&floors, &name);
	if (!f)
		return ALLOW;
	if (way == TASK) {
		task = (void *)bpf_get_current_task();
		ids = (__u64)BPF_CORE_READ(task, tgid) << 32 | (__u32)BPF_CORE_READ(task, pid);
		if (f->per_user_namespace && BPF_CORE_READ(task, cred, user_ns, level))
			return ALLOW;
	} else {
		ids = bpf_get_current_pid_tgid();
		if (f->per_user_namespace)
			return ALLOW; /* which one it is of is not known */
	}
	tgid = ids >> 32;
	if (tgid == self)
		return ALLOW;
	length = sysctl_get_current_value(ctx, (char *)text, sizeof(text));
	old = number(text, length);
	length = sysctl_get_new_value(ctx, (char *)text, sizeof(text));
	new = number(text, length);
	if (f->writes_strict) {
		if (new != 1)
			strict = 0;
		return ALLOW;
	}
	effective = new;
	int held = 0;
	if (hold && new != UNKNOWN && new < f->value && !bpf_map_lookup_elem(&allowed, &tgid)) {
		effective = keep(ctx, f, length, old, new);
		held = effective != new;
	}
	key = f->key;
	struct counts *c = bpf_map_lookup_elem(&counts, &key);
	if (!c)
		return ALLOW;
	__u64 now = bpf_ktime_get_ns();
	if (!count(c, old, new, held, now, &suppressed))
		return ALLOW;
	struct write *w = bpf_ringbuf_reserve(&writes, sizeof(*w), 0);
	if (!w) {
		bpf_spin_lock(&c->lock);
		c->pending += suppressed + 1;
		c->suppressed++;
		bpf_spin_unlock(&c->lock);
		return ALLOW;
	}
	w->at = now;
	w->cgroup_id = bpf_get_current_cgroup_id();
	w->old = old;
	w->new = new;
	w->effective = effective;
	w->suppressed = suppressed;
	w->key = key;
	w->tid = ids;
	w->tgid = tgid;
	w->uid = bpf_get_current_uid_gid();
	w->held = held;
	w->depth = DEPTH + 1;
	__builtin_memset(w->comm, 0, sizeof(w->comm));
	if (way == TASK) {
		struct task_struct *leader = BPF_CORE_READ(task, group_leader); /* threads have names of their own */
		BPF_CORE_READ_STR_INTO(&w->comm, leader, comm);
		belongs(task, w);
	} else if (way == COMM) {
		bpf_get_current_comm(w->comm, sizeof(w->comm));
	}
	bpf_ringbuf_submit(w, 0);
	return ALLOW;
}

SEC("cgroup/sysctl")
int nodetune_task(struct bpf_sysctl *ctx)
{
	return run(ctx, TASK);
}

SEC("cgroup/sysctl")
int nodetune_comm(struct bpf_sysctl *ctx)
{
	return run(ctx, COMM);
}

SEC("cgroup/sysctl")
int nodetune_ids(struct bpf_sysctl *ctx)
{
	return run(ctx, NUMBERS);
}
