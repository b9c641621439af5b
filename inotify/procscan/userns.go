package procscan

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// namespaces resolves user namespaces to whom their creation is charged.
// inotify_init1(2) charges the account in the namespace of the process and
// the owner of that namespace in the one above, up to the initial one. It is
// emptied before each pass: inode numbers of namespaces are reused.
type namespaces struct {
	self  uint64
	chain map[uint64][]inotify.Owner // from the parent upwards
}

func ownUserNS(procfs string) (uint64, error) {
	var st unix.Stat_t
	path := filepath.Join(procfs, "self/ns/user")
	if err := unix.Stat(path, &st); err != nil {
		err = &os.PathError{Op: "stat", Path: path, Err: err}
		return 0, fmt.Errorf("--path.procfs names no procfs with the processes of this machine: %w", err)
	}
	return st.Ino, nil
}

// resolve looks up the owners above the namespace of p. Nothing above our own
// namespace can be seen.
func (n *namespaces) resolve(p *procwalk.Process, inum uint64) error {
	if inum == n.self {
		return nil
	}
	if _, known := n.chain[inum]; known {
		return nil
	}
	ns, err := p.OpenUserNS()
	if err != nil {
		return fmt.Errorf("open user namespace %d: %w", inum, err)
	}
	var chain []inotify.Owner
	for at := inum; at != n.self; {
		var uid uint32
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(ns), unix.NS_GET_OWNER_UID, uintptr(unsafe.Pointer(&uid)))
		if errno != 0 {
			_ = unix.Close(ns)
			return fmt.Errorf("ask for the owner of user namespace %d: %w", at, errno)
		}
		parent, err := unix.IoctlRetInt(ns, unix.NS_GET_PARENT)
		_ = unix.Close(ns)
		if err != nil {
			return fmt.Errorf("ask for the parent of user namespace %d: %w", at, err)
		}
		ns = parent
		var st unix.Stat_t
		if err := unix.Fstat(ns, &st); err != nil {
			_ = unix.Close(ns)
			return fmt.Errorf("stat the parent of user namespace %d: %w", at, err)
		}
		at = st.Ino
		chain = append(chain, inotify.Owner{UserNS: at, UID: uid})
	}
	_ = unix.Close(ns)
	n.chain[inum] = chain
	return nil
}

// charged calls each for every account that an instance of o is charged to.
func (n *namespaces) charged(o inotify.Owner, each func(inotify.Owner)) {
	each(o)
	for _, above := range n.chain[o.UserNS] {
		each(above)
	}
}
