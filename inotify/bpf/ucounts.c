//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Reads the table that inotify_init1(2) and inotify_add_watch(2) charge and
 * check, ucounts_hashtable in kernel/ucount.c: one entry for each uid in each
 * user namespace.
 *
 * The table has no address that a program may ask for where the kernel is built
 * without CONFIG_KALLSYMS_ALL. It is found from the entry that the caller's own
 * credentials point to.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "loop.h"

/* Two licences, since bpf_probe_read_kernel() is for GPL programs only. */
char _license[] SEC("license") = "Dual BSD/GPL";

#define BUCKET_BITS 10 /* UCOUNTS_HASHTABLE_BITS */
#define BUCKETS (1 << BUCKET_BITS)
#define ROOM 512 /* accounts in one run */
#define CHAIN 4096 /* entries in one bucket, of which some two are usual */

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

/* Set by the caller. */
__u32 from; /* the bucket to begin with */

/* What a run found. */
struct run {
	__u32 next; /* the bucket to go on with, or BUCKETS */
	__u32 count;
	__u32 entries;
	__u32 misplaced; /* entries that belong in another bucket */
	__u32 own;	 /* times that the caller's entry was met */
} run;
struct account accounts[ROOM];

/* The buckets, read at once: one by one takes ten times as long. */
static __u64 heads[BUCKETS];

/*
 * The entry that is charged for what the caller's user makes. The kernel has two
 * of uid 0, of which the credentials of a process may point to the other one.
 */
struct ucounts *charged;
static struct user_namespace *charged_ns;
static __u32 charged_uid;
static void *table;

/* A walk along one bucket. */
struct walk {
	struct ucounts *own;
	struct user_namespace *own_ns;
	void *at; /* an entry */
	__u32 own_uid;
	__u32 bucket;
	__u32 count; /* when the bucket began */
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

/* Counters and their limits are arrays of longs, of 64 bits where this runs. */
static __s64 counter(const void *array, __u64 type)
{
	__s64 v = 0;
	bpf_probe_read_kernel(&v, sizeof(v), (const __s64 *)array + type);
	return v;
}

/*
 * One step towards the head of the bucket. Whatever is before an entry points
 * to it; what is before the first one is the bucket, whose second word is the
 * next bucket: the entry in there does not point back to this one.
 */
static long back(__u32 i, struct walk *w)
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
EACH(back, struct walk)

static long take(__u32 i, struct walk *w)
{
	struct ucounts *u = w->at;
	struct user_namespace *ns;
	struct account *a;
	__s64 instances, watches;
	__u32 uid, n = run.count;

	/* The end is NULL in an hlist and odd in an hlist_nulls. */
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
	if (n >= ROOM)
		return 1;
	barrier_var(n); /* Linux 6.1 has forgotten the bound */
	a = &accounts[n & (ROOM - 1)];
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
EACH(take, struct walk)

struct part {
	struct ucounts *own;
	struct user_namespace *ns;
	__u32 uid;
	__u32 first;
};

static long bucket(__u32 i, struct part *t)
{
	struct walk w = {.own = t->own, .own_ns = t->ns, .own_uid = t->uid, .bucket = t->first + i, .count = run.count};

	if (w.bucket >= BUCKETS)
		return 1;
	run.next = w.bucket + 1;
	w.at = (void *)heads[w.bucket];
	if (!w.at || (__u64)w.at & 1)
		return 0;
	loop(CHAIN, take, &w);
	if (!w.done) { /* no room: this bucket is for the next run */
		run.count = w.count;
		run.next = w.bucket;
		return 1;
	}
	return 0;
}
EACH(bucket, struct part)

SEC("syscall")
int ucounts(void *ctx)
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
	loop(CHAIN, back, &w);
	if (!w.done)
		return 1;
	table = (void **)w.at - bucket_of((__u64)ns, uid);
	if (bpf_probe_read_kernel(heads, sizeof(heads), table))
		return 1;
	loop(BUCKETS, bucket, &t);
	return 0;
}

/*
 * An alarm, which wakes the reader where an account passes a level.
 *
 * A timer looks at all of them. Whoever takes instances or watches as fast as
 * the kernel gives them would be done before it expires, and keeps a CPU busy,
 * whose tick interrupts it: the tick looks at the account of what it has
 * interrupted. No system call costs anything.
 */
#define LEVELS 33 /* of user namespaces, create_user_ns() in kernel/user_namespace.c */

#define FULLEST 8

/* How many instances or watches of an account wake the reader. */
struct level {
	__s64 instances;
	__s64 watches;
	__u32 uid; /* of the initial user namespace */
	__u32 set; /* how often they were set */
};

/* Set by the reader: of the fullest accounts, and last of all others. */
struct level levels[FULLEST + 1];

struct rung {
	__u64 at; /* CLOCK_MONOTONIC */
	__s64 instances;
	__s64 watches;
	__u32 uid;
	__u32 by;
	__u32 set;
	__u32 pad;
};
const struct rung *unused; /* keeps the type for bpf2go */

enum { TICK, TIMER };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} alarms SEC(".maps");

/* Rings where an account of the initial user namespace has passed its level. */
static __always_inline void look(struct ucounts *u, __u32 by)
{
	struct level *l = &levels[FULLEST];
	struct rung r = {.by = by, .set = l->set};

	r.uid = BPF_CORE_READ(u, uid.val);
	r.instances = counter(&u->ucount, INSTANCES);
	r.watches = counter(&u->ucount, WATCHES);
	for (int i = 0; i < FULLEST; i++)
		if (levels[i].set && levels[i].uid == r.uid)
			l = &levels[i];
	if (!r.set || (r.instances < l->instances && r.watches < l->watches))
		return;
	/* Once, until the reader sets it again. Two CPUs may do it both, which the
	 * reader sees. */
	levels[FULLEST].set = 0;
	r.at = bpf_ktime_get_ns();
	bpf_ringbuf_output(&alarms, &r, sizeof(r), 0);
}

SEC("raw_tp/hrtimer_expire_entry")
int alarm(void *ctx)
{
	struct task_struct *task;
	struct ucounts *u;
	struct user_namespace *ns;

	if (!levels[FULLEST].set)
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
	look(u, TICK);
	return 0;
}

/* The least that any account has for a level, set by the reader. */
struct level least;

static void *seen[BUCKETS];

static long pass(__u32 i, void **at)
{
	struct ucounts *u = *at;

	if (!u || (__u64)u & 1)
		return 1;
	*at = word(u);
	if ((counter(&u->ucount, INSTANCES) >= least.instances || counter(&u->ucount, WATCHES) >= least.watches) &&
	    BPF_CORE_READ(u, ns) == charged_ns)
		look(u, TIMER);
	return 0;
}
EACH(pass, void *)

#define AT_ONCE 8 /* buckets in one call, of which most are empty */

static long passes(__u32 i, void *unused)
{
	void *const *head;
	void *at;

	i *= AT_ONCE;
	barrier_var(i);
	if (i > BUCKETS - AT_ONCE)
		return 1;
	head = &seen[i];
#pragma unroll
	for (int k = 0; k < AT_ONCE; k++) {
		at = head[k];
		if (at && !((__u64)at & 1))
			loop(CHAIN, pass, &at);
	}
	return 0;
}
EACH(passes, void)

#define EVERY 10000000 /* nanoseconds */

struct clock {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock);
} clocks SEC(".maps");

static int expired(void *map, __u32 *key, struct clock *c)
{
	if (levels[FULLEST].set && !bpf_probe_read_kernel(seen, sizeof(seen), table))
		loop(BUCKETS / AT_ONCE, passes, 0);
	bpf_timer_start(&c->timer, EVERY, 0);
	return 0;
}

/* Starts the timer, which ends with the last descriptor of its map. */
SEC("syscall")
int begin(void *ctx)
{
	__u32 zero = 0;
	struct clock *c = bpf_map_lookup_elem(&clocks, &zero);

	return !c || bpf_timer_init(&c->timer, &clocks, CLOCK_MONOTONIC) ||
	       bpf_timer_set_callback(&c->timer, expired) || bpf_timer_start(&c->timer, EVERY, 0);
}
