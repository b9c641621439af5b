//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Reads the accounts that inotify_init1(2) and inotify_add_watch(2) charge:
 * ucounts_hashtable in kernel/ucount.c, which has one entry for each uid in each
 * user namespace.
 *
 * A kernel without CONFIG_KALLSYMS_ALL does not export the address of the table.
 * The program finds it from the entry that the caller's credentials point to.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "counter.h"
#include "loop.h"

/* GPL compatible, which bpf_probe_read_kernel() requires. */
char _license[] SEC("license") = "Dual BSD/GPL";

#define BUCKET_BITS 10 /* UCOUNTS_HASHTABLE_BITS */
#define BUCKETS (1 << BUCKET_BITS)
#define MAX_ACCOUNTS 512 /* accounts in one run */
#define CHAIN 4096 /* entries in one bucket; about two are usual */

/* GOLDEN_RATIO_64 in linux/hash.h. */
const volatile __u64 golden_ratio = 0x61C8864680B583EBULL;

struct account {
	__u32 userns;
	__u32 uid;
	__s64 instances;
	__s64 instances_limit;
	__s64 watches;
	__s64 watches_limit;
	__u32 level;
	__u32 pad;
};

/* Input: the first bucket to read. */
__u32 from;

/* The result of a run. */
struct run {
	__u32 next; /* the first bucket that was not read, or BUCKETS */
	__u32 count;
	__u32 entries;
	__u32 misplaced; /* entries that hash to another bucket */
	__u32 own;	 /* how often the caller's entry was found */
} run;
struct account accounts[MAX_ACCOUNTS];

/* A copy of the buckets. One read of all is ten times as fast as single reads. */
static __u64 heads[BUCKETS];

/*
 * The entry that the kernel charges for the caller's user. The kernel has two
 * entries for uid 0, and the credentials of a process may point to the other one.
 */
struct ucounts *charged;
static struct user_namespace *charged_ns;
static __u32 charged_uid;
static void *table;

/* The state of a walk along one bucket. */
struct walk {
	struct ucounts *own;
	struct user_namespace *own_ns;
	void *at; /* an entry */
	__u32 own_uid;
	__u32 bucket;
	__u32 count; /* of accounts before this bucket */
	__u32 done;
};

static __u32 bucket_of(__u64 ns, __u32 uid)
{
	return (__u32)(((ns + uid) * golden_ratio) >> (64 - BUCKET_BITS));
}

static void *word(const void *at)
{
	void *v = 0;
	bpf_probe_read_kernel(&v, sizeof(v), at);
	return v;
}

#define INSTANCES bpf_core_enum_value(enum ucount_type, UCOUNT_INOTIFY_INSTANCES)
#define WATCHES bpf_core_enum_value(enum ucount_type, UCOUNT_INOTIFY_WATCHES)

/*
 * Goes one step towards the head of the bucket. The entry before points to this
 * one. Before the first entry is the bucket itself. Its second word is the next
 * bucket, and the entry in that one does not point back to this bucket.
 */
static long step_back(__u32 i, struct walk *w)
{
	void *before = word((char *)w->at + sizeof(void *));
	void *pprev;

	if (!before || word(before) != w->at)
		return 1;
	pprev = word((char *)before + sizeof(void *));
	w->at = before;
	if (!pprev || word(pprev) != before) {
		w->done = 1;
		return 1;
	}
	return 0;
}
EACH(step_back, struct walk)

static long emit_account(__u32 i, struct walk *w)
{
	struct ucounts *u = w->at;
	struct user_namespace *ns;
	struct account *a;
	__s64 instances, watches;
	__u32 uid, n = run.count;

	/* An hlist ends with NULL, an hlist_nulls with an odd value. */
	if (!u || (__u64)u & 1) {
		w->done = 1;
		return 1;
	}
	ns = BPF_CORE_READ(u, ns);
	uid = BPF_CORE_READ(u, uid.val);
	run.entries++;
	run.own += u == w->own;
	run.misplaced += bucket_of((__u64)ns, uid) != w->bucket;
	instances = counter(&u->ucount, INSTANCES);
	watches = counter(&u->ucount, WATCHES);
	w->at = word(u);
	if (!instances && !watches)
		return 0;
	if (ns == w->own_ns && uid == w->own_uid)
		charged = u;
	if (n >= MAX_ACCOUNTS)
		return 1;
	barrier_var(n); /* the verifier of Linux 6.1 loses the bound */
	a = &accounts[n & (MAX_ACCOUNTS - 1)];
	a->userns = BPF_CORE_READ(ns, ns.inum);
	a->level = BPF_CORE_READ(ns, level);
	a->uid = uid;
	a->instances = instances;
	a->watches = watches;
	a->instances_limit = counter(&ns->ucount_max, INSTANCES);
	a->watches_limit = counter(&ns->ucount_max, WATCHES);
	run.count = n + 1;
	return 0;
}
EACH(emit_account, struct walk)

struct part {
	struct ucounts *own;
	struct user_namespace *ns;
	__u32 uid;
	__u32 first;
};

static long scan_bucket(__u32 i, struct part *t)
{
	struct walk w = {.own = t->own, .own_ns = t->ns, .own_uid = t->uid, .bucket = t->first + i, .count = run.count};

	if (w.bucket >= BUCKETS)
		return 1;
	run.next = w.bucket + 1;
	w.at = (void *)heads[w.bucket];
	if (!w.at || (__u64)w.at & 1)
		return 0;
	loop(CHAIN, emit_account, &w);
	if (!w.done) { /* no room: the next run reads this bucket */
		run.count = w.count;
		run.next = w.bucket;
		return 1;
	}
	return 0;
}
EACH(scan_bucket, struct part)

SEC("syscall")
int read_accounts(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct ucounts *own = BPF_CORE_READ(task, cred, ucounts);
	struct user_namespace *ns = BPF_CORE_READ(own, ns);
	__u32 uid = BPF_CORE_READ(own, uid.val);
	struct part t = {.own = own, .ns = ns, .uid = uid, .first = from};
	struct walk w = {.at = own};

	run = (struct run){.next = from};
	charged_ns = ns;
	charged_uid = uid;
	loop(CHAIN, step_back, &w);
	if (!w.done)
		return 1;
	table = (void **)w.at - bucket_of((__u64)ns, uid);
	if (bpf_probe_read_kernel(heads, sizeof(heads), table))
		return 1;
	loop(BUCKETS, scan_bucket, &t);
	return 0;
}

/*
 * The threshold notifier wakes the reader when an account reaches a threshold.
 *
 * A timer checks all accounts. A process that takes instances as fast as the
 * kernel creates them reaches the limit before the timer expires. It also keeps
 * a CPU busy, so the tick of that CPU checks the account of the task that it
 * interrupts. No system call becomes slower.
 */
#define LEVELS 33 /* of user namespaces, create_user_ns() in kernel/user_namespace.c */

#define FULLEST 8

/* How many instances or watches of an account wake the reader. */
struct threshold {
	__s64 instances;
	__s64 watches;
	__u32 uid; /* in the initial user namespace */
	__u32 set; /* which call of Set they are from; 0 is none */
};

/* Input: the thresholds of the fullest accounts. The last is for all others. */
struct threshold thresholds[FULLEST + 1];

struct notification {
	__u64 at; /* CLOCK_MONOTONIC */
	__s64 instances;
	__s64 watches;
	__u32 uid;
	__u32 by;
	__u32 set;
	__u32 pad;
};
const struct notification *unused; /* keeps the type for bpf2go */

enum { TICK, TIMER };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} notifications SEC(".maps");

/* Notifies the reader if an account of the initial user namespace has reached its
 * threshold. */
static __always_inline void check_account(struct ucounts *u, __u32 by)
{
	struct threshold *t = &thresholds[FULLEST];
	struct notification n = {.by = by, .set = t->set};

	n.uid = BPF_CORE_READ(u, uid.val);
	n.instances = counter(&u->ucount, INSTANCES);
	n.watches = counter(&u->ucount, WATCHES);
	for (int i = 0; i < FULLEST; i++)
		if (thresholds[i].set && thresholds[i].uid == n.uid)
			t = &thresholds[i];
	if (!n.set || (n.instances < t->instances && n.watches < t->watches))
		return;
	/* Once, until the reader sets the thresholds again. Two CPUs may both notify,
	 * which the reader detects. */
	thresholds[FULLEST].set = 0;
	n.at = bpf_ktime_get_ns();
	bpf_ringbuf_output(&notifications, &n, sizeof(n), 0);
}

SEC("raw_tp/hrtimer_expire_entry")
int check_current(void *ctx)
{
	struct task_struct *task;
	struct ucounts *u;
	struct user_namespace *ns;

	if (!thresholds[FULLEST].set)
		return 0;
	task = (void *)bpf_get_current_task();
	u = BPF_CORE_READ(task, cred, ucounts);
	for (int i = 0; i < LEVELS; i++) {
		ns = BPF_CORE_READ(u, ns);
		if (ns == charged_ns || !BPF_CORE_READ(ns, level))
			break;
		u = BPF_CORE_READ(ns, ucounts);
	}
	if (charged && BPF_CORE_READ(u, uid.val) == charged_uid)
		u = charged;
	check_account(u, TICK);
	return 0;
}

/* Input: the lowest of all thresholds. */
struct threshold lowest;

/* A copy of the buckets for the timer. */
static void *timer_heads[BUCKETS];

static long check_entry(__u32 i, void **at)
{
	struct ucounts *u = *at;

	if (!u || (__u64)u & 1)
		return 1;
	*at = word(u);
	if ((counter(&u->ucount, INSTANCES) >= lowest.instances || counter(&u->ucount, WATCHES) >= lowest.watches) &&
	    BPF_CORE_READ(u, ns) == charged_ns)
		check_account(u, TIMER);
	return 0;
}
EACH(check_entry, void *)

#define AT_ONCE 8 /* buckets in one call; most are empty */

static long check_buckets(__u32 i, void *unused)
{
	void *const *head;
	void *at;

	i *= AT_ONCE;
	barrier_var(i);
	if (i > BUCKETS - AT_ONCE)
		return 1;
	head = &timer_heads[i];
#pragma unroll
	for (int k = 0; k < AT_ONCE; k++) {
		at = head[k];
		if (at && !((__u64)at & 1))
			loop(CHAIN, check_entry, &at);
	}
	return 0;
}
EACH(check_buckets, void)

#define INTERVAL 10000000 /* of the timer, in nanoseconds */

struct timer_value {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct timer_value);
} timers SEC(".maps");

static int check_all(void *map, __u32 *key, struct timer_value *v)
{
	if (thresholds[FULLEST].set && !bpf_probe_read_kernel(timer_heads, sizeof(timer_heads), table))
		loop(BUCKETS / AT_ONCE, check_buckets, 0);
	bpf_timer_start(&v->timer, INTERVAL, 0);
	return 0;
}

/* Starts the timer. The kernel cancels it with the last descriptor of its map. */
SEC("syscall")
int start_timer(void *ctx)
{
	__u32 zero = 0;
	struct timer_value *v = bpf_map_lookup_elem(&timers, &zero);

	return !v || bpf_timer_init(&v->timer, &timers, CLOCK_MONOTONIC) ||
	       bpf_timer_set_callback(&v->timer, check_all) || bpf_timer_start(&v->timer, INTERVAL, 0);
}
