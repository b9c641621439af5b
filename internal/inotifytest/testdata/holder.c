// Holds inotify instances and descriptors in all the ways that make counting
// them hard, so that tests know the truth. C, because each process is to be
// one small process: a Go program is several threads, and cannot fork.
//
// holder DIR SPEC... : watches are of the files DIR/0, DIR/1 and so on. It
// prints "SPEC-INDEX PID TID" for every process or thread that holds
// something, then "ready", and ends with its standard input.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *dir;
static int spec, report;
static int uid, instances, watches, copies, other;

static void die(const char *what) {
	fprintf(stderr, "holder: spec %d: %s: %s\n", spec, what, strerror(errno));
	if (report && write(report, "!", 1) != 1) kill(0, SIGKILL);
	_exit(1);
}

static void become(int id) {
	// The raw call: glibc changes all threads, which are few here.
	if (syscall(SYS_setresgid, id, id, id) || syscall(SYS_setresuid, id, id, id)) die("setresuid");
	// A change of uid clears the one, and the other until the next exec.
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 1)) die("prctl");
}

static int instance(void) {
	int fd = inotify_init1(IN_CLOEXEC);
	if (fd < 0) die("inotify_init1");
	char path[4096];
	for (int i = 0; i < watches; i++) {
		snprintf(path, sizeof path, "%s/%d", dir, i);
		if (inotify_add_watch(fd, path, IN_MODIFY) < 0) die(path);
	}
	return fd;
}

static void create(void) {
	for (int i = 0; i < instances; i++) instance();
}

static void say(void) {
	char line[64];
	int n = snprintf(line, sizeof line, "%d %d %d\n", spec, getpid(), (int)syscall(SYS_gettid));
	if (write(report, line, n) != n) die("report");
}

static void rest(void) {
	say();
	for (;;) pause();
}

static void *private_table(void *leader) {
	if (unshare(CLONE_FILES)) die("unshare files");
	create();
	rest();
	return NULL;
}

static void *survivor(void *leader) {
	pthread_join(*(pthread_t *)leader, NULL);
	rest();
	return NULL;
}

// in_flight sends every instance to itself and closes it.
static void in_flight(void) {
	int s[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s)) die("socketpair");
	for (int i = 0; i < instances; i++) {
		int fd = instance();
		char data = 0, control[CMSG_SPACE(sizeof fd)] = {0};
		struct iovec iov = {&data, 1};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
		if (sendmsg(s[0], &m, 0) < 0) die("sendmsg");
		close(fd);
	}
}

// write_map maps uid 0 of a new user namespace, which the parent has to do.
static void write_map(pid_t pid, const char *file, int id) {
	char path[64], line[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	int n = snprintf(line, sizeof line, "0 %d 1\n", id);
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, line, n) != n) die(path);
	close(fd);
}

static void user_namespace(void) {
	int entered[2], mapped[2];
	char c;
	if (pipe(entered) || pipe(mapped)) die("pipe");
	pid_t pid = fork();
	if (pid < 0) die("fork");
	if (pid > 0) {
		if (read(entered[0], &c, 1) != 1) die("wait for the namespace");
		write_map(pid, "uid_map", other);
		write_map(pid, "gid_map", other);
		if (write(mapped[1], "", 1) != 1) die("mapped");
		for (;;) pause();
	}
	become(uid);
	if (unshare(CLONE_NEWUSER)) die("unshare user");
	if (write(entered[1], "", 1) != 1 || read(mapped[0], &c, 1) != 1) die("wait for the map");
	become(0);
	for (int i = 0; i < copies; i++) {
		// Below, by its own means: a process may map itself, if it gives up
		// setgroups(2).
		if (unshare(CLONE_NEWUSER)) die("unshare user again");
		int fd = open("/proc/self/setgroups", O_WRONLY);
		if (fd < 0 || write(fd, "deny", 4) != 4) die("setgroups");
		close(fd);
		write_map(getpid(), "uid_map", 0);
		write_map(getpid(), "gid_map", 0);
	}
	create();
	rest();
}

static void hold(const char *kind) {
	static pthread_t leader, t;
	if (!strcmp(kind, "userns")) return user_namespace();
	if (!strcmp(kind, "setuid")) {
		if (syscall(SYS_setresuid, -1, uid, -1)) die("seteuid");
		create();
		if (syscall(SYS_setresuid, -1, 0, -1)) die("seteuid back");
		become(other);
		rest();
	}
	become(uid);
	if (!strcmp(kind, "plain")) {
		create();
	} else if (!strcmp(kind, "fork")) {
		create();
		for (int i = 0; i < copies; i++)
			if (fork() == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				rest();
			}
	} else if (!strcmp(kind, "dup")) {
		for (int i = 0; i < instances; i++) {
			int fd = instance();
			for (int j = 0; j < copies; j++)
				if (dup(fd) < 0) die("dup");
		}
	} else if (!strcmp(kind, "thread")) {
		if (pthread_create(&t, NULL, private_table, NULL)) die("pthread_create");
		for (;;) pause();
	} else if (!strcmp(kind, "deadleader")) {
		create();
		leader = pthread_self();
		if (pthread_create(&t, NULL, survivor, &leader)) die("pthread_create");
		pthread_exit(NULL);
	} else if (!strcmp(kind, "flight")) {
		in_flight();
	} else if (!strcmp(kind, "fds")) {
		for (int i = 0; i < instances; i++)
			if (open("/dev/null", O_RDONLY) < 0) die("open");
	} else {
		errno = EINVAL;
		die(kind);
	}
	rest();
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IONBF, 0);
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	dir = argv[1];
	int p[2];
	if (pipe(p)) die("pipe");
	report = p[1];
	// Who loses its parent comes to this process, to be waited for.
	if (prctl(PR_SET_CHILD_SUBREAPER, 1)) die("prctl");
	pid_t *children = NULL;
	int expected = 0, started = 0;
	for (spec = 0; spec + 2 < argc; spec++) {
		char kind[32];
		int processes;
		uid = instances = watches = copies = other = 0;
		if (sscanf(argv[spec + 2], "%31s %d %d %d %d %d %d", kind, &processes, &uid, &instances, &watches, &copies, &other) != 7) die(argv[spec + 2]);
		for (int i = 0; i < processes; i++) {
			pid_t pid = fork();
			if (pid < 0) die("fork");
			if (pid == 0) {
				if (prctl(PR_SET_PDEATHSIG, SIGKILL)) die("prctl");
				close(p[0]);
				close(0);
				hold(kind);
			}
			children = realloc(children, (started + 1) * sizeof *children);
			children[started++] = pid;
			expected += 1 + (strcmp(kind, "fork") ? 0 : copies);
			// One after the other: the reports of many fill the pipe.
			char c;
			for (; expected; expected--)
				do {
					// Its own children end with this process.
					if (read(p[0], &c, 1) != 1 || c == '!') exit(1);
					putchar(c);
				} while (c != '\n');
		}
	}
	puts("ready");
	char c;
	while (read(0, &c, 1) > 0) {
	}
	for (int i = 0; i < started; i++) kill(children[i], SIGKILL);
	while (wait(NULL) > 0) {
	}
	return 0;
}
