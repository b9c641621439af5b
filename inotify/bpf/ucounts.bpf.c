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
#include "loop.h"
#include "accounts.h"

/* GPL compatible, which bpf_probe_read_kernel() requires. */
char _license[] SEC("license") = "Dual BSD/GPL";

#define MAX_ACCOUNTS 512 /* accounts in one run */

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

/* Output: the address of the table. */
__u64 table;

/* The user namespace of the caller, which is the initial one. */
static struct user_namespace *initial_ns;

/* The state of a walk along one bucket. */
struct walk {
	struct ucounts *own;
	void *at; /* an entry */
	__u32 bucket;
	__u32 count; /* of accounts before this bucket */
	__u32 done;
};

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

	if (is_end(u)) {
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
	__u32 first;
	__u32 pad;
};

static long scan_bucket(__u32 i, struct part *t)
{
	struct walk w = {.own = t->own, .bucket = t->first + i, .count = run.count};

	if (w.bucket >= BUCKETS)
		return 1;
	run.next = w.bucket + 1;
	w.at = (void *)heads[w.bucket];
	if (is_end(w.at))
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
	struct part t = {.own = own, .first = from};
	struct walk w = {.at = own};

	run = (struct run){.next = from};
	initial_ns = ns;
	loop(CHAIN, step_back, &w);
	if (!w.done)
		return 1;
	table = (__u64)((void **)w.at - bucket_of((__u64)ns, uid));
	if (bpf_probe_read_kernel(heads, sizeof(heads), (void *)table))
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
	__u32 valid;
};

/* Input: the thresholds of the fullest accounts. The last is for all others. */
struct threshold thresholds[FULLEST + 1];

/*
 * Input: the generation of the thresholds, which the reader sets after them. They
 * are armed while it differs from the last generation that has notified. A CPU that
 * is late with a notification of an older generation stores that one, so the newer
 * thresholds stay armed. A flag that it resets would disarm them for ever.
 */
volatile __u64 generation;
static volatile __u64 notified;

/* Set by a test: check at every hrtimer expiry, and wait for this number of steps
 * between a notification and the store of its generation. */
const volatile __u32 test_delay;

struct notification {
	__u64 at; /* CLOCK_MONOTONIC */
	__s64 instances;
	__s64 watches;
	__u32 uid;
	__u32 by;
	__u64 generation;
};
const struct notification *unused; /* keeps the type for bpf2go */

enum { TICK, TIMER };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} notifications SEC(".maps");

static long wait_step(__u32 i, void *unused)
{
	return i >= test_delay;
}
EACH(wait_step, void)

/* Notifies the reader if an account of the initial user namespace has reached its
 * threshold. */
static __always_inline void check_account(struct ucounts *u, __u32 by)
{
	struct threshold *t = &thresholds[FULLEST];
	struct notification n = {.by = by, .generation = generation};

	n.uid = BPF_CORE_READ(u, uid.val);
	n.instances = counter(&u->ucount, INSTANCES);
	n.watches = counter(&u->ucount, WATCHES);
	for (int i = 0; i < FULLEST; i++)
		if (thresholds[i].valid && thresholds[i].uid == n.uid)
			t = &thresholds[i];
	if (n.generation == notified || (n.instances < t->instances && n.watches < t->watches))
		return;
	/* Once for each generation. Two CPUs may both notify, which the reader
	 * detects. Where the ring buffer has no room, the next check tries again. */
	n.at = bpf_ktime_get_ns();
	if (bpf_ringbuf_output(&notifications, &n, sizeof(n), BPF_RB_FORCE_WAKEUP))
		return;
	if (test_delay)
		loop(test_delay, wait_step, 0);
	notified = n.generation;
}

/* When a CPU has made its last check. */
struct last_check {
	__u64 jiffy;
	__u64 checks;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct last_check);
} last_checks SEC(".maps");

/* Checks the account of the interrupted task, once a jiffy on each CPU. Other
 * hrtimers than the tick can expire a hundred thousand times a second. */
SEC("raw_tp/hrtimer_expire_entry")
int check_current(void *ctx)
{
	struct task_struct *task;
	struct last_check *last;
	struct user_namespace *ns;
	struct ucounts *u;
	__u64 jiffy;
	__u32 zero = 0, uid;

	if (generation == notified)
		return 0;
	last = bpf_map_lookup_elem(&last_checks, &zero);
	if (!last)
		return 0;
	jiffy = bpf_jiffies64();
	if (last->jiffy == jiffy && !test_delay)
		return 0;
	last->jiffy = jiffy;
	last->checks++;
	task = (void *)bpf_get_current_task();
	ns = BPF_CORE_READ(task, cred, user_ns);
	uid = BPF_CORE_READ(task, cred, euid.val);
	for (int i = 0; i < LEVELS && ns != initial_ns; i++) {
		u = BPF_CORE_READ(ns, ucounts);
		ns = BPF_CORE_READ(u, ns);
		uid = BPF_CORE_READ(u, uid.val);
	}
	u = find_account(table, initial_ns, uid);
	if (u && ns == initial_ns)
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

	if (is_end(u))
		return 1;
	*at = word(u);
	if ((counter(&u->ucount, INSTANCES) >= lowest.instances || counter(&u->ucount, WATCHES) >= lowest.watches) &&
	    BPF_CORE_READ(u, ns) == initial_ns)
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
		if (!is_end(at))
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
	if (generation != notified && !bpf_probe_read_kernel(timer_heads, sizeof(timer_heads), (void *)table))
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
