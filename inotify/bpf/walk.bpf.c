//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Finds the processes that hold inotify instances, and on request those that have
 * files below some directories open. It reads the descriptor tables
 * of all processes, which /proc/PID/fd shows, and those of threads with a table of
 * their own. It takes no lock, so no process waits for it. A descriptor that
 * changes during the walk is missed or found twice.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "loop.h"

/* GPL compatible, which bpf_probe_read_kernel() requires. */
char _license[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000
#define RLIMIT_NOFILE 7
#define BPF_TASK_ITER_ALL_THREADS 1

#define MAX_RECORDS 4096 /* holdings, and tables, in one run */
#define OWN_RECORDS 64	 /* of these, for the caller alone */
#define NAMESPACES 512 /* nested user namespaces in one run */
#define CHUNK 16	 /* words of a table that belong to one part: 1,024 descriptors */
#define MAX_CHUNKS (1 << 17) /* of a table */
#define WORK (1 << 18) /* reads in one run: about 8 ms */
#define LEVELS 33      /* of user namespaces, which can be nested 32 deep */
#define DIRS 16	      /* directories whose files are reported */
#define TREE_DEPTH 48 /* directories above a file that are looked at */
#define WANTED 8      /* names of programs that are always reported */
#define MAX_WATCHES 10240 /* of one instance */
#define DEPTH 8	       /* levels of an xarray with int keys, and some to spare */

/* An inotify instance in a descriptor table, with one of its descriptors there. */
struct holding {
	__u64 file;
	__u64 table;
	__u32 pid;
	__u32 fd;
	__u32 userns; /* the account it is charged to */
	__u32 uid;
	__u32 queued; /* events */
	__u32 queue_limit;
	__u32 watches;
	__u32 uncounted; /* the instance has more watches */
	__u32 next; /* the number of the next watch: it changes with each watch that is added */
	__u32 pad;
};

/* A regular file in a descriptor table. */
struct open_file {
	__u64 ino;
	__u64 pos;
	__u64 size;
	__s64 atime;
	__u32 atime_nsec;
	__u32 dev;
	__u32 pid;
	__u32 fd;
	__u32 flags;
	__u32 links;
};

/* What a watch is on. */
struct watched {
	__u64 ino;
	__u32 dev;
	__u32 pad;
};

/* A descriptor table, or one chunk of it. */
struct table {
	__u64 id;
	__u64 start; /* of the process, in ns after boot */
	__u64 cgroup;
	__u64 cgroup_node;
	__u64 nofile_soft;
	__u64 nofile_hard;
	__u32 pid;
	__u32 fds;
	__u32 userns;
	__u32 uid;
	unsigned char comm[16];
	__u32 word; /* the first one of the chunk */
	__u32 terminal; /* the process has a terminal */
};

/* The account that owns a user namespace, which is in the namespace above. */
struct owner {
	__u32 below;
	__u32 userns;
	__u32 uid;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_RECORDS);
	__type(key, __u32);
	__type(value, struct holding);
} holdings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_RECORDS);
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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_RECORDS);
	__type(key, __u32);
	__type(value, struct open_file);
} open_files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_WATCHES);
	__type(key, __u32);
	__type(value, struct watched);
} watches SEC(".maps");

/* Input: the directories whose files are reported, and the programs whose tables are. */
struct directory {
	__u64 ino;
	__u32 dev;
	__u32 pad;
} dirs[DIRS];
__u32 dir_count; /* 0: no files are reported */
struct program_name {
	__u64 word[2];
} wanted[WANTED];

/* Input. */
const volatile __u32 many_fds = 48; /* a table without instances is reported from so many on */
const volatile __u64 anon_inode_fs_magic = 0x09041934;
__u32 parts = 1; /* a power of two */
__u32 part;

/*
 * Input. limit bounds the instances of a chunk and the chunks of a table, if it is
 * not 0. With last_try, a record that has no room is counted and left out. Without
 * it, the run ends, and the caller tries again with more parts or a lower limit.
 */
__u32 limit;
__u32 last_try;

/* The result of a run. */
struct run {
	__u32 holdings;
	__u32 tables;
	__u32 owners;
	__u32 full; /* the part has no room: its records are incomplete */
	__u32 processes;
	__u32 tables_seen;
	__u32 fds;
	__u32 work;
	__u32 self; /* the pid of the caller */
	__u32 left_out;	  /* holdings */
	__u32 cut_tables; /* of which only the first chunks were read */
	__u32 left_out_tables;
	__u32 left_out_owners;
	__u32 stopped; /* the work was done before all tasks were read */
	__u32 files;
	__u32 left_out_files;
	__u32 pad;
} run;

/* The file operations of inotify instances; 0 until the first one is found. */
static __u64 inotify_fops;

/* The table that is being scanned. */
static struct {
	__u64 leader;
	__u64 files;
	__u64 fd;
	__u64 open;
	__u32 tgid;
	__u32 words;
	__u32 chunks;
	__u32 word;	   /* the first one of the next record */
	__u32 fds;	   /* for the next record */
	__u32 holds;	   /* instances for the next record */
	__u32 chunk_holds; /* instances that this chunk has reported */
	__u32 chunk_files; /* files that this chunk has reported */
	__u32 opened;	   /* files for the next record */
	__u32 terminal;	   /* of the standard descriptors */
	__u32 divided;	   /* the table has several chunks */
} at;

static __u64 open_fds[CHUNK];
static __u64 slots[64];

const volatile __u32 old_kernel; /* set by a test: do without bpf_rdonly_cast() */
extern void *bpf_rdonly_cast(const void *at, __u32 type) __ksym __weak;

/*
 * Reads a field of a kernel structure. Since Linux 6.2 it is a load that cannot
 * fault, which is ten times as fast as a helper call.
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

/* Makes a number of a pointer that the verifier knows: it allows no arithmetic on it. */
static volatile __u64 number;
#define NUMBER(pointer) ({ number = (__u64)(pointer); number; })

static __u64 word(__u64 from)
{
	__u64 v = 0;
	bpf_probe_read_kernel(&v, sizeof(v), (void *)from);
	return v;
}

/* The state of a walk through the xarray of an instance's watches. */
static struct {
	__u64 node[DEPTH];
	__u32 slot[DEPTH];
	__u32 left[DEPTH]; /* children that are still to be visited */
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

/* Visits one slot of an inner node. A leaf has its own count. */
static __always_inline long xa_count(__u32 i, void *unused)
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
EACH(xa_count, void)

/*
 * The instances whose watches were counted in this run, and the table that reported
 * each last. To duplicate a descriptor is cheap. To count 100,000 watches again, and
 * to report each duplicate, is not.
 */
#define COUNTED 1024
static struct {
	__u64 file;
	__u64 table;
	__u32 tgid;
	__u32 watches;
	__u32 run;
	__u32 uncounted;
} counted[COUNTED];
static __u32 runs;

/* The user namespaces whose owners were reported in this run. */
#define REPORTED 256
static struct {
	__u32 ns;
	__u32 run;
} reported[REPORTED];

/* Counts the watches of an instance by the leaves of its IDR. */
__noinline int count_watches(__u64 head)
{
	tree.sum = 0;
	tree.done = 1;
	if (!is_node(head))
		return 0; /* the first watch has number 1, so even one watch needs a node */
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
	loop(WORK, xa_count, 0);
	return 0;
}

static __u64 mix(__u64 v)
{
	return (v * 0x61C8864680B583EBULL) >> 32; /* GOLDEN_RATIO_64 */
}

static __u64 account; /* where emit_ns_owners() is */

static __always_inline long emit_ns_owners(__u32 i, void *unused)
{
	struct user_namespace *ns = READ(struct ucounts, account, ns);
	struct owner *o;
	__u32 n = run.owners, inum = READ(struct user_namespace, ns, ns.inum), key = mix(inum) % REPORTED;

	if (READ(struct user_namespace, ns, level) == 0)
		return 1;
	if (reported[key].ns == inum && reported[key].run == runs)
		return 1; /* with all namespaces above */
	o = bpf_map_lookup_elem(&owners, &n);
	if (!o) {
		run.left_out_owners++;
		run.full = !last_try;
		return 1;
	}
	account = (__u64)READ(struct user_namespace, ns, ucounts);
	o->below = inum;
	o->userns = READ(struct user_namespace, READ(struct ucounts, account, ns), ns.inum);
	o->uid = READ(struct ucounts, account, uid.val);
	run.owners = n + 1;
	reported[key].ns = inum;
	reported[key].run = runs;
	return 0;
}
EACH(emit_ns_owners, void)

/* Reports whether n records leave no room for one of the scanned table. */
static int no_room(__u32 n)
{
	return n >= MAX_RECORDS - OWN_RECORDS && at.tgid != run.self;
}

/* Reports an instance that the table holds, once for all of its descriptors. */
__noinline int emit_holding(__u64 file, __u32 fd)
{
	__u64 group = (__u64)READ(struct file, file, private_data);
	__u64 own = word(group + bpf_core_field_offset(struct fsnotify_group, inotify_data) + bpf_core_field_offset(struct inotify_group_private_data, ucounts));
	struct user_namespace *ns = READ(struct ucounts, own, ns);
	__u32 n = run.holdings, key = mix(file) % COUNTED;
	struct holding *h;

	at.holds++;
	if (counted[key].file != file || counted[key].run != runs) {
		count_watches((__u64)BPF_CORE_READ((struct fsnotify_group *)group, inotify_data.idr.idr_rt.xa_head));
		counted[key].file = file;
		counted[key].run = runs;
		counted[key].watches = tree.sum;
		counted[key].uncounted = !tree.done;
		if (READ(struct user_namespace, ns, level) > 0) {
			account = own;
			loop(LEVELS, emit_ns_owners, 0);
		}
	} else if (counted[key].table == at.files && counted[key].tgid == at.tgid) {
		return 0;
	}
	if (limit && at.chunk_holds >= limit && at.tgid != run.self) {
		run.left_out++;
		return 0;
	}
	h = bpf_map_lookup_elem(&holdings, &n);
	if (!h || no_room(n)) {
		run.left_out++;
		run.full = !last_try;
		return 0;
	}
	counted[key].table = at.files;
	counted[key].tgid = at.tgid;
	h->file = file;
	h->table = at.files;
	h->pid = at.tgid;
	h->fd = fd;
	h->userns = READ(struct user_namespace, ns, ns.inum);
	h->uid = READ(struct ucounts, own, uid.val);
	h->queued = READ(struct fsnotify_group, group, q_len);
	h->queue_limit = READ(struct fsnotify_group, group, max_events);
	h->watches = counted[key].watches;
	h->uncounted = counted[key].uncounted;
	h->next = BPF_CORE_READ((struct fsnotify_group *)group, inotify_data.idr.idr_next);
	run.holdings = n + 1;
	at.chunk_holds++;
	return 0;
}

#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_IFCHR 0020000
#define O_PATH 010000000
#define SB_KERNMOUNT (1 << 22)
#define MINOR_BITS 20

/* What kind of file some file operations are of. Those of regular files and of
 * character devices are looked at. */
#define KINDS 64
static struct {
	__u64 fops;
	__u32 run;
	__u32 other;
} kinds[KINDS];

/* Whether a directory is below one of the wanted ones, or is one. */
#define SEEN_DIRS 1024
static struct {
	__u64 dentry;
	__u32 run;
	__u32 below;
} seen_dirs[SEEN_DIRS];

static __u32 wanted_dev(__u32 dev)
{
	for (int i = 0; i < DIRS; i++)
		if (i < dir_count && dirs[i].dev == dev)
			return 1;
	return 0;
}

/* Reports whether the directory is one of the wanted ones. */
__noinline int is_wanted_dir(__u64 dentry, __u32 dev)
{
	__u64 ino = READ(struct inode, READ(struct dentry, dentry, d_inode), i_ino);

	run.work++;
	for (int i = 0; i < DIRS; i++)
		if (i < dir_count && dirs[i].ino == ino && dirs[i].dev == dev)
			return 1;
	return 0;
}

static struct {
	__u64 dentry;
	__u32 dev;
	__u32 found;
} climb;

static __always_inline long climb_tree(__u32 i, void *unused)
{
	__u64 parent;

	if (i >= TREE_DEPTH)
		return 1;
	if (is_wanted_dir(climb.dentry, climb.dev)) {
		climb.found = 1;
		return 1;
	}
	parent = (__u64)READ(struct dentry, climb.dentry, d_parent);
	if (parent == climb.dentry)
		return 1;
	climb.dentry = parent;
	return 0;
}
EACH(climb_tree, void)

/* Reports whether a file is below one of the directories. It compares directories, not
 * names, so the mounts of a container do not matter. */
static __always_inline __u32 below_wanted_dir(__u64 dentry, __u32 dev)
{
	__u64 parent = NUMBER(READ(struct dentry, dentry, d_parent));
	__u32 key = mix(parent) % SEEN_DIRS;

	if (seen_dirs[key].dentry == parent && seen_dirs[key].run == runs)
		return seen_dirs[key].below;
	climb.dentry = parent;
	climb.dev = dev;
	climb.found = 0;
	loop(TREE_DEPTH, climb_tree, 0);
	seen_dirs[key].dentry = parent;
	seen_dirs[key].run = runs;
	seen_dirs[key].below = climb.found;
	return climb.found;
}

/* A terminal, by the number of the device: a pseudo terminal, a virtual or serial one,
 * or /dev/tty. */
static int is_terminal(__u32 rdev)
{
	__u32 major = rdev >> MINOR_BITS;

	return (major >= 136 && major <= 143) || major == 4 || rdev == 5 << MINOR_BITS;
}

/* Reports a regular file below one of the directories, or one that was deleted. Files
 * without a name that no mount of a user shows, as memfd_create(2) makes them, are left out. */
__noinline int emit_file(__u64 file, __u32 fd)
{
	__u64 fops = NUMBER(READ(struct file, file, f_op));
	__u32 key = mix(fops) % KINDS, n = run.files, dev, links, flags;
	__u64 inode, sb, dentry;
	unsigned short mode;
	struct open_file *o;

	if (kinds[key].fops == fops && kinds[key].run == runs && kinds[key].other)
		return 0;
	inode = (__u64)READ(struct file, file, f_inode);
	mode = READ(struct inode, inode, i_mode) & S_IFMT;
	run.work++;
	kinds[key].fops = fops;
	kinds[key].run = runs;
	kinds[key].other = mode != S_IFREG && mode != S_IFCHR;
	if (mode == S_IFCHR && fd <= 2 && is_terminal(READ(struct inode, inode, i_rdev)))
		at.terminal = 1;
	if (mode != S_IFREG)
		return 0;
	sb = (__u64)READ(struct inode, inode, i_sb);
	dev = READ(struct super_block, sb, s_dev);
	links = READ(struct inode, inode, i_nlink);
	if (links) {
		dentry = (__u64)BPF_CORE_READ((struct file *)file, f_path.dentry);
		if (!wanted_dev(dev) || !below_wanted_dir(dentry, dev))
			return 0;
	} else if (READ(struct super_block, sb, s_flags) & SB_KERNMOUNT) {
		return 0;
	}
	flags = READ(struct file, file, f_flags);
	if (flags & O_PATH)
		return 0;
	at.opened++;
	if (limit && at.chunk_files >= limit && at.tgid != run.self) {
		run.left_out_files++;
		return 0;
	}
	o = bpf_map_lookup_elem(&open_files, &n);
	if (!o || (n >= MAX_RECORDS - OWN_RECORDS && at.tgid != run.self)) {
		run.left_out_files++;
		run.full = !last_try;
		return 0;
	}
	o->ino = READ(struct inode, inode, i_ino);
	o->pos = READ(struct file, file, f_pos);
	o->size = READ(struct inode, inode, i_size);
	if (bpf_core_field_exists(struct inode, i_atime_sec)) {
		o->atime = BPF_CORE_READ((struct inode *)inode, i_atime_sec);
		o->atime_nsec = BPF_CORE_READ((struct inode *)inode, i_atime_nsec);
	} else if (bpf_core_field_exists(struct inode___before_6_11, __i_atime)) {
		o->atime = BPF_CORE_READ((struct inode___before_6_11 *)inode, __i_atime.tv_sec);
		o->atime_nsec = BPF_CORE_READ((struct inode___before_6_11 *)inode, __i_atime.tv_nsec);
	} else {
		o->atime = BPF_CORE_READ((struct inode___before_6_7 *)inode, i_atime.tv_sec);
		o->atime_nsec = BPF_CORE_READ((struct inode___before_6_7 *)inode, i_atime.tv_nsec);
	}
	o->dev = dev;
	o->pid = at.tgid;
	o->fd = fd;
	o->flags = flags;
	o->links = links;
	run.files = n + 1;
	at.chunk_files++;
	return 0;
}

/* Recognizes an inotify instance by its name. No process can name files on the file
 * system of anonymous inodes. */
__noinline int detect_fops(__u64 file)
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

static __always_inline __u32 is_wanted_program(__u64 comm)
{
	__u64 word[2] = {};

	bpf_probe_read_kernel_str(word, sizeof(word), (void *)comm);
	for (int i = 0; i < WANTED; i++)
		if (word[0] && wanted[i].word[0] == word[0] && wanted[i].word[1] == word[1])
			return 1;
	return 0;
}

/* Reports the table, or the chunk of it that this part has read, if it holds an
 * instance, a file that is reported, or many descriptors. */
__noinline int emit_table(void)
{
	struct task_struct *leader = (void *)at.leader;
	struct kernfs_node *node;
	const struct cred *cred;
	struct table *t;
	struct signal_struct *signal;
	__u64 soft;
	__u32 n = run.tables, named;

	signal = READ(struct task_struct, leader, signal);
	soft = READ(struct signal_struct, signal, rlim[RLIMIT_NOFILE].rlim_cur);
	named = dir_count && is_wanted_program((__u64)&leader->comm);
	if (!at.fds || (!at.holds && !at.opened && !named && !at.divided && at.fds < many_fds && at.fds < soft / 2))
		return 0;
	t = bpf_map_lookup_elem(&tables, &n);
	if (!t || no_room(n)) {
		run.left_out_tables++;
		run.full = !last_try;
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
	t->terminal = at.terminal || READ(struct signal_struct, signal, tty);
	bpf_probe_read_kernel(t->comm, sizeof(t->comm), &leader->comm);
	run.tables = n + 1;
	return 0;
}

/* Scans 64 descriptors, of which open has the bits. */
__noinline int scan_word(__u32 i, __u64 open)
{
	__u64 fops;
	__u32 j;

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
			detect_fops(slots[j]);
		if (fops && fops == inotify_fops)
			emit_holding(slots[j], i * 64 + j);
		else if (dir_count)
			emit_file(slots[j], i * 64 + j);
	}
	return 0;
}

/* Scans 1,024 descriptors. */
static __always_inline long scan_chunk(__u32 i, void *unused)
{
	__u32 first = i * CHUNK, left, j;

	if (i >= at.chunks)
		return 1;
	if (run.work > WORK) {
		if (last_try)
			run.stopped = 1;
		else
			run.full = 1;
	}
	if (run.full || run.stopped)
		return 1;
	if ((mix(at.tgid + ((__u64)i << 32)) & (parts - 1)) != part)
		return 0;
	if (parts > 1) {
		at.word = first;
		at.fds = at.holds = at.opened = at.terminal = 0;
	}
	at.chunk_holds = at.chunk_files = 0;
	left = at.words - first;
	if (left >= CHUNK) {
		if (bpf_probe_read_kernel(open_fds, sizeof(open_fds), (void *)at.open + (__u64)first * sizeof(open_fds[0])))
			return 0;
	} else {
		for (j = 0; j < CHUNK; j++)
			open_fds[j] = j < left ? word(at.open + (__u64)(first + j) * sizeof(open_fds[0])) : 0;
	}
	run.work++;
	for (j = 0; j < CHUNK; j++)
		if (open_fds[j])
			scan_word(first + j, open_fds[j]);
	if (parts > 1)
		emit_table();
	return 0;
}
EACH(scan_chunk, void)

/* Scans the table of one task. Returns 1 if the walk is to stop. */
__noinline int scan_task(__u64 task)
{
	__u64 files = (__u64)READ(struct task_struct, task, files);
	__u64 leader = (__u64)READ(struct task_struct, task, group_leader);
	__u32 tgid = READ(struct task_struct, task, tgid), chunks, most;
	struct fdtable *fdt;

	if (READ(struct task_struct, task, flags) & PF_KTHREAD)
		return 0;
	if (task == leader)
		run.processes++;
	else if (files == (__u64)READ(struct task_struct, leader, files))
		return 0;
	/* Threads that share a table without their leader usually come one after the
	 * other. The caller recognizes a table that is found twice. */
	if (!files || (files == at.files && tgid == at.tgid))
		return 0;
	fdt = READ(struct files_struct, files, fdt);
	run.tables_seen++;
	at.leader = leader;
	at.files = files;
	at.tgid = tgid;
	at.fd = (__u64)READ(struct fdtable, fdt, fd);
	at.open = (__u64)READ(struct fdtable, fdt, open_fds);
	at.words = READ(struct fdtable, fdt, max_fds) / 64;
	chunks = (at.words + CHUNK - 1) / CHUNK;
	at.divided = parts > 1 && chunks > 1;
	most = limit && tgid != run.self ? limit : MAX_CHUNKS;
	if (chunks > most) {
		chunks = most;
		run.cut_tables++;
	}
	at.chunks = chunks;
	at.word = at.fds = at.holds = at.opened = at.terminal = 0;
	loop(chunks, scan_chunk, 0);
	if (parts == 1)
		emit_table();
	return run.full || run.stopped;
}

static void start_run(void)
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

/* Walks all tasks of the node, since Linux 6.7. */
SEC("syscall")
int walk_tasks(void *ctx)
{
	struct bpf_iter_task it;
	struct task_struct *task;

	start_run();
	bpf_rcu_read_lock();
	bpf_iter_task_new(&it, 0, BPF_TASK_ITER_ALL_THREADS);
	while ((task = bpf_iter_task_next(&it))) {
		__u64 t = 0;
		bpf_probe_read_kernel(&t, sizeof(t), &task);
		if (scan_task(t))
			break;
	}
	bpf_iter_task_destroy(&it);
	bpf_rcu_read_unlock();
	return 0;
}

/* Is called for each task of the pid namespace, on older kernels. */
SEC("iter/task")
int iterate_task(struct bpf_iter__task *ctx)
{
	__u64 task = 0;

	bpf_probe_read_kernel(&task, sizeof(task), &ctx->task);
	if (BPF_CORE_READ(ctx, meta, seq_num) == 0)
		start_run();
	if (task && !run.full && !run.stopped)
		scan_task(task);
	return 0;
}

/* Input of read_watches: a file of an instance. */
__u64 watching_file;

/* Its result. stopped: the instance has more, or the list changed meanwhile. */
struct watch_run {
	__u32 count;
	__u32 stopped;
} watch_run;

static struct {
	__u64 head;
	__u64 entry;
} marks;

static __always_inline long emit_watch(__u32 i, void *unused)
{
	__u64 mark, connector, inode;
	__u32 n = watch_run.count;
	struct watched *w;

	if (i >= MAX_WATCHES || !marks.entry || marks.entry == marks.head)
		return 1;
	mark = marks.entry - bpf_core_field_offset(struct fsnotify_mark, g_list);
	marks.entry = (__u64)READ(struct list_head, marks.entry, next);
	connector = (__u64)READ(struct fsnotify_mark, mark, connector);
	if (!connector)
		return 0; /* it is being removed */
	inode = (__u64)READ(struct fsnotify_mark_connector, connector, obj);
	if (!inode)
		return 0;
	if (!bpf_core_type_exists(struct fsnotify_sb_info))
		inode -= bpf_core_field_offset(struct inode, i_fsnotify_marks);
	w = bpf_map_lookup_elem(&watches, &n);
	if (!w)
		return 1;
	w->ino = READ(struct inode, inode, i_ino);
	w->dev = READ(struct super_block, READ(struct inode, inode, i_sb), s_dev);
	watch_run.count = n + 1;
	return 0;
}
EACH(emit_watch, void)

/* Reads what an instance watches. The memory of the file may belong to another one by
 * now: then it is no instance, or the caller reads the watches of another one. */
SEC("syscall")
int read_watches(void *ctx)
{
	struct file *file = (void *)watching_file;
	struct fsnotify_group *group;

	watch_run.count = 0;
	watch_run.stopped = 1;
	if (!inotify_fops || (__u64)BPF_CORE_READ(file, f_op) != inotify_fops)
		return 1;
	group = BPF_CORE_READ(file, private_data);
	marks.head = (__u64)group + bpf_core_field_offset(struct fsnotify_group, marks_list);
	marks.entry = word(marks.head);
	loop(MAX_WATCHES, emit_watch, 0);
	watch_run.stopped = marks.entry != marks.head;
	return 0;
}

/* Input of read_cgroup_path. */
__u64 cgroup_node;

/* The names in the path of that cgroup, the last one first. */
#define NAMES 16
struct cgroup_path {
	__u64 id;
	__u32 count;
	__u32 pad;
	unsigned char name[NAMES][256]; /* NAME_MAX and a NUL */
} cgroup_path;

static long emit_name(__u32 i, __u64 *node)
{
	struct kernfs_node *n = (void *)*node, *parent = parent_of(n);

	if (!parent || i >= NAMES)
		return 1;
	barrier_var(i); /* the verifier loses the bound */
	bpf_probe_read_kernel_str(cgroup_path.name[i % NAMES], sizeof(cgroup_path.name[0]), BPF_CORE_READ(n, name));
	cgroup_path.count = i + 1;
	*node = (__u64)parent;
	return 0;
}
EACH(emit_name, __u64)

SEC("syscall")
int read_cgroup_path(void *ctx)
{
	__u64 node = cgroup_node;

	cgroup_path.count = 0;
	loop(NAMES, emit_name, &node);
	cgroup_path.id = BPF_CORE_READ((struct kernfs_node *)cgroup_node, id);
	return 0;
}
