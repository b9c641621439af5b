package reclaim

import (
	"bytes"
	"debug/elf"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// CoreDir is where the kernel itself writes core dumps, and how it calls them.
type CoreDir struct{ Dir, glob string }

// ReadCoreDir reads kernel.core_pattern. ok is false where dumps go to a program
// or to the working directory of the process that crashes.
func ReadCoreDir(procfs string) (c CoreDir, ok bool) {
	b, err := os.ReadFile(filepath.Join(procfs, "sys/kernel/core_pattern"))
	if err != nil {
		return CoreDir{}, false
	}
	return parseCorePattern(string(b))
}

// parseCorePattern understands core(5): %% is a percent sign, any other
// specifier whatever the kernel puts there, and a pid may follow at the end
// (kernel.core_uses_pid).
func parseCorePattern(pattern string) (CoreDir, bool) {
	dir, name := path.Split(strings.TrimSuffix(pattern, "\n"))
	dir = path.Clean(dir)
	if !path.IsAbs(dir) || strings.Contains(dir, "%") || name == "" {
		return CoreDir{}, false
	}
	var glob strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '%' && i+1 < len(name) && name[i+1] == '%':
			glob.WriteByte('%')
			i++
		case c == '%':
			if i++; i < len(name) { // a lone one at the end is dropped
				glob.WriteByte('*')
			}
		case strings.IndexByte(`*?[\`, c) >= 0:
			glob.WriteByte('\\')
			glob.WriteByte(c)
		default:
			glob.WriteByte(c)
		}
	}
	return CoreDir{dir, glob.String()}, true
}

// matches reports whether the kernel may have called a dump so.
func (c CoreDir) matches(name string) bool {
	for _, glob := range []string{c.glob, c.glob + ".*"} {
		if ok, err := path.Match(glob, name); ok && err == nil {
			return true
		}
	}
	return false
}

// Each visits the core dumps in c. Every user may write to the directory, /tmp for
// example. A name is not enough: the file's own header must show a core dump.
func (c CoreDir) Each(rootfs hostfs.Root, visit func(name string, st *unix.Statx_t)) {
	fd, err := rootfs.OpenDir(c.Dir, unix.O_RDONLY)
	if err != nil {
		return // nothing has crashed yet
	}
	d := &logdir.Dir{FD: fd, Path: c.Dir}
	defer d.Close()
	names, err := d.Names()
	if err != nil {
		return
	}
	for _, n := range names {
		if !c.matches(n) {
			continue
		}
		var st unix.Statx_t
		if err := hostfs.Statx(d.FD, []byte(n+"\x00"), &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && isCore(d, n) {
			visit(n, &st)
		}
	}
}

// isCore reports whether name begins as a core dump does, elf(5): ET_CORE.
func isCore(d *logdir.Dir, name string) bool {
	fd, err := unix.Openat(d.FD, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	b := make([]byte, 18)
	n, err := unix.Pread(fd, b, 0)
	return err == nil && isCoreHeader(b[:n])
}

// isCoreHeader reports whether b begins with the header of an ELF core.
func isCoreHeader(b []byte) bool {
	if len(b) < 18 || !bytes.HasPrefix(b, []byte(elf.ELFMAG)) {
		return false
	}
	kind := elf.Type(b[16]) | elf.Type(b[17])<<8
	if elf.Data(b[elf.EI_DATA]) == elf.ELFDATA2MSB {
		kind = elf.Type(b[17]) | elf.Type(b[16])<<8
	}
	return kind == elf.ET_CORE
}

// CoreDumpDirs are where systemd-coredump(8), apport and kdump leave theirs.
var CoreDumpDirs = []string{"/var/lib/systemd/coredump", "/var/crash"}
