package text

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func TestRefusedText(t *testing.T) {
	var got strings.Builder
	for _, f := range reportertest.RefusedOfEachKind {
		fmt.Fprintln(&got, SyscallFailureText(f))
	}
	const want = `fluent-bit[7] of logging/fb:fluent-bit 3 times inotify_init1: EMFILE, fs.inotify.max_user_instances of uid 0, 128 of 128
a\nb[8] 1 time inotify_init1: EMFILE, user.max_inotify_instances of uid 1000 in user namespace 5, 3 of 3
tail[9] of tail.service 2 times inotify_init1: EMFILE, its own RLIMIT_NOFILE, 40 of 40
fluent-bit[7] 9 times inotify_add_watch: ENOSPC, fs.inotify.max_user_watches of uid 0, 8192 of 8192
x[7] 1 time inotify_init1: ENFILE, fs.file-max of the node
x[7] 1 time inotify_add_watch: ENOMEM, memory of the kernel or of its cgroup
[7] 1 time inotify_init1: EMFILE, fs.inotify.max_user_instances or its own RLIMIT_NOFILE
x[7] 1 time inotify_add_watch: ENOENT, which is not a limit
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
