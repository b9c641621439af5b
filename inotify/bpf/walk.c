//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Finds who holds inotify instances: looks through the descriptor tables of all
 * processes, as /proc/PID/fd would show them, and through those of threads that
 * have their own. Nothing is locked, so that nobody waits; what changes
 * meanwhile is missed or met twice.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "loop.h"

/* Two licences, since bpf_probe_read_kernel() is for GPL programs only. */
char _license[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000
#define RLIMIT_NOFILE 7
#define BPF_TASK_ITER_ALL_THREADS 1

#define ROOM 4096      /* descriptors of instances, and tables, in one run */
#define NAMESPACES 512 /* user namespaces in one run */
#define PART 64	       /* words of a table that are in one part: 4,096 descriptors */
#define WORDS (1 << 17)
#define WORK (1 << 18) /* reads in one run: some 8 ms */
#define LEVELS 33      /* of user namespaces, which may be nested 32 deep */
#define DEPTH 8	       /* of an xarray of ints, and more */

/* A descriptor of an instance. */
struct holding {
	__u64 file;
	__u64 table;
	__u32 pid;
	__u32 fd;
	__u32 userns; /* whom it is charged to */
	__u32 uid;
	__u32 queued; /* events */
	__u32 queue_limit;
	__u32 watches;
	__u32 uncounted; /* there are more watches */
};

/* A table of descriptors, or 4,096 of them. */
struct table {
	__u64 id;
	__u64 start; /* of the process, ns after boot */
	__u64 cgroup;
	__u64 cgroup_node;
	__u64 nofile_soft;
	__u64 nofile_hard;
	__u32 pid;
	__u32 fds;
	__u32 userns;
	__u32 uid;
	unsigned char comm[16];
	__u32 word; /* where it begins */
	__u32 pad;
};

/* Whom the owner of a user namespace is in the one above. */
struct owner {
	__u32 below;
	__u32 userns;
	__u32 uid;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, struct holding);
} holdings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, struct table);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NAMESPACES);
	__type(key, __u32);
	__type(value, struct owner);
} owners SEC(".maps");

/* Set by the caller. */
const volatile __u32 many_fds = 48; /* from which a table is told of that holds nothing */
const volatile __u64 anon_inode_fs_magic = 0x09041934;
__u32 parts = 1;		    /* a power of two */
__u32 part;

/* What a run found. */
struct run {
	__u32 holdings;
	__u32 tables;
	__u32 owners;
	__u32 full; /* this part is too large: nothing of it is of use */
	__u32 processes;
	__u32 tables_seen;
	__u32 fds;
	__u32 work;
	__u32 self; /* the pid of who asked */
} run;

/* Of an inotify instance; 0 until one was met. */
static __u64 inotify_fops;

/* The table that is looked through. */
static struct {
	__u64 leader;
	__u64 files;
	__u64 fd;
	__u64 open;
	__u32 tgid;
	__u32 words;
	__u32 word;  /* that this part begins with */
	__u32 fds;   /* of this part */
	__u32 holds; /* of this part */
	__u32 taken;
	__u32 divided; /* there are more parts */
} at;

static __u64 slots[64];

const volatile __u32 old_kernel; /* for a test of what is done without it */
extern void *bpf_rdonly_cast(const void *at, __u32 type) __ksym __weak;

/*
 * A field of something in the kernel's memory: since Linux 6.2 by a load that
 * cannot fault, which takes a tenth of the time of a call.
 */
#define READ(type, at, field)                                                                                       \
	({                                                                                                          \
		void *at_ = (void *)(at);                                                                           \
		typeof(((type *)0)->field) v_;                                                                      \
		if (bpf_rdonly_cast && !old_kernel)                                                                  \
			v_ = ((type *)bpf_rdonly_cast(at_, bpf_core_type_id_kernel(type)))->field;                  \
		else                                                                                                \
			v_ = BPF_CORE_READ((type *)at_, field);                                                     \
		v_;                                                                                                 \
	})

#include "cgroup.h"

static __u64 word(__u64 from)
{
	__u64 v = 0;
	bpf_probe_read_kernel(&v, sizeof(v), (void *)from);
	return v;
}

/* A walk through the xarray of an instance's watches. */
static struct {
	__u64 node[DEPTH];
	__u32 slot[DEPTH];
	__u32 left[DEPTH]; /* children that were not met yet */
	__u32 depth;
	__u32 sum;
	__u32 done;
} tree;

/* xa_is_node() in linux/xarray.h */
static int is_node(__u64 entry)
{
	return (entry & 3) == 2 && entry > 4096;
}

static __u32 shift_of(__u64 node)
{
	return READ(struct xa_node, node, shift);
}

static __u32 count_of(__u64 node)
{
	return READ(struct xa_node, node, count);
}

/* One slot of an inner node. A leaf says itself how much it has. */
static long climb(__u32 i, void *unused)
{
	__u32 d = tree.depth, slot;
	__u64 child;

	if (d >= DEPTH)
		return 1;
	slot = tree.slot[d];
	if (!tree.left[d] || slot >= bpf_core_field_size(((struct xa_node *)0)->slots) / sizeof(void *)) {
		if (d == 0) {
			tree.done = 1;
			return 1;
		}
		tree.depth = d - 1;
		return 0;
	}
	tree.slot[d] = slot + 1;
	run.work++;
	child = word((__u64)&((struct xa_node *)tree.node[d])->slots + slot * sizeof(void *));
	if (!is_node(child))
		return 0;
	child -= 2;
	tree.left[d]--;
	if (shift_of(child) == 0) {
		tree.sum += count_of(child);
		return 0;
	}
	if (++d >= DEPTH)
		return 1;
	tree.node[d] = child;
	tree.slot[d] = 0;
	tree.left[d] = count_of(child);
	tree.depth = d;
	return 0;
}
EACH(climb, void)

/* Instances whose watches were counted in this run: a descriptor is cheap to
 * duplicate, counting 100,000 watches is not. */
#define COUNTED 256
static struct {
	__u64 file;
	__u32 watches;
	__u32 run;
} counted[COUNTED];
static __u32 runs;

/* The watches of an instance, by the leaves of its IDR. */
__noinline int watches(__u64 head)
{
	tree.sum = 0;
	tree.done = 1;
	if (!is_node(head))
		return 0; /* the first watch has number 1, so that one is a node already */
	head -= 2;
	if (shift_of(head) == 0) {
		tree.sum = count_of(head);
		return 0;
	}
	tree.done = 0;
	tree.depth = 0;
	tree.node[0] = head;
	tree.slot[0] = 0;
	tree.left[0] = count_of(head);
	loop(WORK, climb, 0);
	return 0;
}

static __u64 mix(__u64 v)
{
	return (v * 0x61C8864680B583EBULL) >> 32; /* GOLDEN_RATIO_64 */
}

static __u64 above; /* an account */

static long ascend(__u32 i, void *unused)
{
	struct user_namespace *ns = READ(struct ucounts, above, ns);
	struct owner *o;
	__u32 n = run.owners;

	if (READ(struct user_namespace, ns, level) == 0)
		return 1;
	o = bpf_map_lookup_elem(&owners, &n);
	if (!o) {
		run.full = 1;
		return 1;
	}
	above = (__u64)READ(struct user_namespace, ns, ucounts);
	o->below = READ(struct user_namespace, ns, ns.inum);
	o->userns = READ(struct user_namespace, READ(struct ucounts, above, ns), ns.inum);
	o->uid = READ(struct ucounts, above, uid.val);
	run.owners = n + 1;
	return 0;
}
EACH(ascend, void)

/* Tells of a descriptor of an instance. */
__noinline int hold(__u64 file, __u32 fd)
{
	__u64 group = (__u64)READ(struct file, file, private_data);
	__u64 own = word(group + bpf_core_field_offset(struct fsnotify_group, inotify_data) + bpf_core_field_offset(struct inotify_group_private_data, ucounts));
	struct user_namespace *ns = READ(struct ucounts, own, ns);
	__u32 n = run.holdings, key = mix(file) % COUNTED;
	struct holding *h = bpf_map_lookup_elem(&holdings, &n);

	if (!h) {
		run.full = 1;
		return 0;
	}
	h->file = file;
	h->table = at.files;
	h->pid = at.tgid;
	h->fd = fd;
	h->userns = READ(struct user_namespace, ns, ns.inum);
	h->uid = READ(struct ucounts, own, uid.val);
	h->queued = READ(struct fsnotify_group, group, q_len);
	h->queue_limit = READ(struct fsnotify_group, group, max_events);
	h->uncounted = 0;
	if (counted[key].file == file && counted[key].run == runs) {
		h->watches = counted[key].watches;
	} else {
		watches((__u64)BPF_CORE_READ((struct fsnotify_group *)group, inotify_data.idr.idr_rt.xa_head));
		h->watches = tree.sum;
		h->uncounted = !tree.done;
		counted[key].file = file;
		counted[key].run = runs;
		counted[key].watches = tree.sum;
		if (READ(struct user_namespace, ns, level) > 0) {
			above = own;
			loop(LEVELS, ascend, 0);
		}
	}
	run.holdings = n + 1;
	at.holds++;
	return 0;
}

/* Whether a file is an inotify instance, by its name: the file system of
 * anonymous inodes is nobody's to name files on. */
__noinline int learn(__u64 file)
{
	struct file *f = (void *)file;
	char name[8] = {};

	if (BPF_CORE_READ(f, f_inode, i_sb, s_magic) != anon_inode_fs_magic)
		return 0;
	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(f, f_path.dentry, d_name.name));
	if (name[0] == 'i' && name[1] == 'n' && name[2] == 'o' && name[3] == 't' && name[4] == 'i' && name[5] == 'f' &&
	    name[6] == 'y' && name[7] == 0)
		inotify_fops = (__u64)BPF_CORE_READ(f, f_op);
	return 0;
}

/* Tells of the part of a table that ends, if it is worth it. */
__noinline int tell(void)
{
	struct task_struct *leader = (void *)at.leader;
	struct kernfs_node *node;
	const struct cred *cred;
	struct table *t;
	struct signal_struct *signal;
	__u64 soft;
	__u32 n = run.tables;

	signal = READ(struct task_struct, leader, signal);
	soft = READ(struct signal_struct, signal, rlim[RLIMIT_NOFILE].rlim_cur);
	if (!at.fds || (!at.holds && !at.divided && at.fds < many_fds && at.fds < soft / 2))
		return 0;
	t = bpf_map_lookup_elem(&tables, &n);
	if (!t) {
		run.full = 1;
		return 0;
	}
	node = cgroup_of(leader);
	cred = READ(struct task_struct, leader, real_cred);
	t->id = at.files;
	t->start = READ(struct task_struct, leader, start_boottime);
	t->cgroup = READ(struct kernfs_node, node, id);
	t->cgroup_node = (__u64)node;
	t->nofile_soft = soft;
	t->nofile_hard = READ(struct signal_struct, signal, rlim[RLIMIT_NOFILE].rlim_max);
	t->pid = at.tgid;
	t->fds = at.fds;
	t->userns = READ(struct user_namespace, READ(struct cred, cred, user_ns), ns.inum);
	t->uid = READ(struct cred, cred, euid.val);
	t->word = at.word;
	bpf_probe_read_kernel(t->comm, sizeof(t->comm), &leader->comm);
	run.tables = n + 1;
	return 0;
}

/* 64 descriptors. */
static long look(__u32 i, void *unused)
{
	__u64 open, fops;
	__u32 j;

	if (i >= at.words)
		return 1;
	if (i % PART == 0) {
		if (i)
			tell();
		at.word = i;
		at.fds = 0;
		at.holds = 0;
		at.taken = (mix(at.tgid + ((__u64)i << 32)) & (parts - 1)) == part;
	}
	if (run.work > WORK)
		run.full = 1;
	if (run.full)
		return 1;
	if (!at.taken)
		return 0;
	open = word(at.open + i * sizeof(open));
	if (!open)
		return 0;
	if (bpf_probe_read_kernel(slots, sizeof(slots), (void *)at.fd + i * sizeof(slots)))
		return 0;
	run.work += 4;
	for (j = 0; j < 64; j++) {
		if (!(open >> j & 1))
			continue;
		at.fds++;
		run.fds++;
		run.work++;
		fops = (__u64)READ(struct file, slots[j], f_op);
		if (!inotify_fops)
			learn(slots[j]);
		if (fops && fops == inotify_fops)
			hold(slots[j], i * 64 + j);
	}
	return 0;
}
EACH(look, void)

/* Looks through the table of one task, and reports whether to go no further. */
__noinline int visit(__u64 task)
{
	__u64 files = (__u64)READ(struct task_struct, task, files);
	__u64 leader = (__u64)READ(struct task_struct, task, group_leader);
	__u32 tgid = READ(struct task_struct, task, tgid), words;
	struct fdtable *fdt;

	if (READ(struct task_struct, task, flags) & PF_KTHREAD)
		return 0;
	if (task == leader)
		run.processes++;
	else if (files == (__u64)READ(struct task_struct, leader, files))
		return 0;
	/* Threads that share a table without their leader come one after the
	 * other; what is met twice nevertheless is told apart by the caller. */
	if (!files || (files == at.files && tgid == at.tgid))
		return 0;
	fdt = READ(struct files_struct, files, fdt);
	run.tables_seen++;
	at.leader = leader;
	at.files = files;
	at.tgid = tgid;
	at.fd = (__u64)READ(struct fdtable, fdt, fd);
	at.open = (__u64)READ(struct fdtable, fdt, open_fds);
	words = READ(struct fdtable, fdt, max_fds) / 64;
	at.divided = words > PART;
	if (words > WORDS) {
		run.full = 1;
		return 1;
	}
	at.words = words;
	loop(words, look, 0);
	tell();
	return run.full;
}

static void begin(void)
{
	run = (struct run){};
	run.self = bpf_get_current_pid_tgid() >> 32;
	at.files = 0;
	runs++;
}

struct bpf_iter_task {
	__u64 opaque[3];
};

extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task, unsigned int flags) __ksym;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __ksym;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

/* All tasks of the node, since Linux 6.7. */
SEC("syscall")
int walk(void *ctx)
{
	struct bpf_iter_task it;
	struct task_struct *task;

	begin();
	bpf_rcu_read_lock();
	bpf_iter_task_new(&it, 0, BPF_TASK_ITER_ALL_THREADS);
	while ((task = bpf_iter_task_next(&it))) {
		__u64 t = 0;
		bpf_probe_read_kernel(&t, sizeof(t), &task);
		if (visit(t))
			break;
	}
	bpf_iter_task_destroy(&it);
	bpf_rcu_read_unlock();
	return 0;
}

/* The tasks of the pid namespace, before that. */
SEC("iter/task")
int each(struct bpf_iter__task *ctx)
{
	__u64 task = 0;

	bpf_probe_read_kernel(&task, sizeof(task), &ctx->task);
	if (BPF_CORE_READ(ctx, meta, seq_num) == 0)
		begin();
	if (task && !run.full)
		visit(task);
	return 0;
}

/* Set by the caller. */
__u64 cgroup_node;

/* The path of that cgroup, from its end. */
#define NAMES 16
struct cgroup_path {
	__u64 id;
	__u32 count;
	__u32 pad;
	unsigned char name[NAMES][256]; /* NAME_MAX and a NUL */
} cgroup_path;

static long up(__u32 i, __u64 *node)
{
	struct kernfs_node *n = (void *)*node, *parent = parent_of(n);

	if (!parent || i >= NAMES)
		return 1;
	barrier_var(i); /* the verifier forgets the bound */
	bpf_probe_read_kernel_str(cgroup_path.name[i % NAMES], sizeof(cgroup_path.name[0]), BPF_CORE_READ(n, name));
	cgroup_path.count = i + 1;
	*node = (__u64)parent;
	return 0;
}
EACH(up, __u64)

SEC("syscall")
int path(void *ctx)
{
	__u64 node = cgroup_node;

	cgroup_path.count = 0;
	loop(NAMES, up, &node);
	cgroup_path.id = BPF_CORE_READ((struct kernfs_node *)cgroup_node, id);
	return 0;
}
